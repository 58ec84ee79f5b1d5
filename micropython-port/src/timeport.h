// What the port adds to the module `time`. Included by upstream's extmod/modtime.c.

#include <math.h>

#include "shared/timeutils/timeutils.h"

MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(mp_time_localtime_obj);

// About 30 years: no sleep is longer.
#define SLEEP_MAX_S (1e9)

static mp_obj_t mp_time_time_get(void) {
    return mp_obj_new_float((mp_float_t)mp_hal_time_ns() / MICROPY_FLOAT_CONST(1e9));
}

static mp_obj_t mp_time_localtime_get(void) {
    mp_obj_t seconds = mp_obj_new_int_from_ull(mp_hal_time_ns() / 1000000000);
    return mp_call_function_1(MP_OBJ_FROM_PTR(&mp_time_localtime_obj), seconds);
}

static void mp_time_sleep(mp_obj_t argument) {
    mp_float_t seconds = mp_obj_get_float(argument);
    if (!(seconds >= 0)) {
        mp_raise_ValueError(MP_ERROR_TEXT("sleep length must be non-negative"));
    }
    seconds = seconds < SLEEP_MAX_S ? seconds : SLEEP_MAX_S;
    mp_hal_sleep_until(hv_nanoseconds() + (uint64_t)(seconds * MICROPY_FLOAT_CONST(1e9)));
}
