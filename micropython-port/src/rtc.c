// machine.RTC: the clock that time.time() tells. A program that sets it does so for itself: the board's clock stays.

#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/timeutils/timeutils.h"

#include "port.h"

#define NANOSECONDS_PER_SECOND (1000000000)
#define NANOSECONDS_PER_MICROSECOND (1000)

// What datetime() takes and returns.
enum { YEAR, MONTH, DAY, WEEKDAY, HOUR, MINUTE, SECOND, MICROSECOND, ITEMS };

static mp_obj_t rtc_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    static const mp_obj_base_t rtc = {&port_rtc_type};
    (void)type;
    (void)args;
    mp_arg_check_num(n_args, n_kw, 0, 0, false);
    return MP_OBJ_FROM_PTR(&rtc);
}

static mp_obj_t get(void) {
    uint64_t now = mp_hal_time_ns();
    timeutils_struct_time_t time;
    timeutils_seconds_since_epoch_to_struct_time(now / NANOSECONDS_PER_SECOND, &time);
    mp_obj_t items[ITEMS] = {
        [YEAR] = MP_OBJ_NEW_SMALL_INT(time.tm_year),
        [MONTH] = MP_OBJ_NEW_SMALL_INT(time.tm_mon),
        [DAY] = MP_OBJ_NEW_SMALL_INT(time.tm_mday),
        [WEEKDAY] = MP_OBJ_NEW_SMALL_INT(time.tm_wday),
        [HOUR] = MP_OBJ_NEW_SMALL_INT(time.tm_hour),
        [MINUTE] = MP_OBJ_NEW_SMALL_INT(time.tm_min),
        [SECOND] = MP_OBJ_NEW_SMALL_INT(time.tm_sec),
        [MICROSECOND] = MP_OBJ_NEW_SMALL_INT(now % NANOSECONDS_PER_SECOND / NANOSECONDS_PER_MICROSECOND),
    };
    return mp_obj_new_tuple(ITEMS, items);
}

// The day of the week follows from the rest.
static void set(mp_obj_t datetime) {
    mp_obj_t *items;
    mp_obj_get_array_fixed_n(datetime, ITEMS, &items);
    uint64_t seconds = timeutils_mktime(mp_obj_get_int(items[YEAR]), mp_obj_get_int(items[MONTH]),
        mp_obj_get_int(items[DAY]), mp_obj_get_int(items[HOUR]), mp_obj_get_int(items[MINUTE]),
        mp_obj_get_int(items[SECOND]));
    port_set_clock(seconds * NANOSECONDS_PER_SECOND
        + mp_obj_get_int(items[MICROSECOND]) * NANOSECONDS_PER_MICROSECOND);
}

// datetime() tells the time, datetime(tuple) sets it.
static mp_obj_t rtc_datetime(size_t n_args, const mp_obj_t *args) {
    if (n_args == 1) {
        return get();
    }
    set(args[1]);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(rtc_datetime_obj, 1, 2, rtc_datetime);

static const mp_rom_map_elem_t rtc_locals_dict_table[] = {
    {MP_ROM_QSTR(MP_QSTR_datetime), MP_ROM_PTR(&rtc_datetime_obj)},
};
static MP_DEFINE_CONST_DICT(rtc_locals_dict, rtc_locals_dict_table);

MP_DEFINE_CONST_OBJ_TYPE(port_rtc_type, MP_QSTR_RTC, MP_TYPE_FLAG_NONE, make_new, rtc_make_new,
    locals_dict, &rtc_locals_dict);
