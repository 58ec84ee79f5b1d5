// What the port adds to the module `machine`. Included by upstream's extmod/modmachine.c.

#include "extmod/modmachine.h"
#include "py/mphal.h"

#include "port.h"

// disable_irq() and enable_irq() are upstream's, in terms of these.
#undef MICROPY_BEGIN_ATOMIC_SECTION
#define MICROPY_BEGIN_ATOMIC_SECTION() port_threads_hold()
#undef MICROPY_END_ATOMIC_SECTION
#define MICROPY_END_ATOMIC_SECTION(held) port_threads_release(held)

// The VM cannot tell a reset from a start.
#define PWRON_RESET (1)
#define UNIQUE_ID_SIZE (8)

#define MICROPY_PY_MACHINE_EXTRA_GLOBALS \
    {MP_ROM_QSTR(MP_QSTR_RTC), MP_ROM_PTR(&port_rtc_type)}, \
    {MP_ROM_QSTR(MP_QSTR_Timer), MP_ROM_PTR(&machine_timer_type)}, \
    {MP_ROM_QSTR(MP_QSTR_PWRON_RESET), MP_ROM_INT(PWRON_RESET)},

static void mp_machine_idle(void) {
    mp_event_wait_ms(1);
}

NORETURN static void mp_machine_reset(void) {
    mp_hal_flush();
    hv_reset();
}

static mp_int_t mp_machine_reset_cause(void) {
    return PWRON_RESET;
}

// Drawn by lot: nothing else tells VMs apart.
static mp_obj_t mp_machine_unique_id(void) {
    static uint8_t id[UNIQUE_ID_SIZE];
    static bool drawn;
    if (!drawn) {
        drawn = hv_random(id, sizeof(id)) == 0;
    }
    return mp_obj_new_bytes(id, sizeof(id));
}

// The counter's: that of the core is not known.
static mp_obj_t mp_machine_get_freq(void) {
    return mp_obj_new_int_from_ull(hv_frequency());
}

static void mp_machine_set_freq(size_t n_args, const mp_obj_t *args) {
    (void)n_args;
    (void)args;
    mp_raise_ValueError(MP_ERROR_TEXT("the frequency is fixed"));
}

static void mp_machine_lightsleep(size_t n_args, const mp_obj_t *args) {
    if (n_args == 0) {
        mp_event_wait_indefinite();
    } else {
        mp_hal_delay_ms(mp_obj_get_int(args[0]));
    }
}

NORETURN static void mp_machine_deepsleep(size_t n_args, const mp_obj_t *args) {
    mp_machine_lightsleep(n_args, args);
    mp_machine_reset();
}
