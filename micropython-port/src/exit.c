// The end of a program, and with it of the VM.

#include "py/gc.h"
#include "py/mphal.h"
#include "py/objexcept.h"
#include "py/runtime.h"
#include "shared/runtime/pyexec.h"

#include "port.h"

// Exit codes of CPython. 128 + SIGINT is what a shell sees of a program that Ctrl-C has ended.
#define EXIT_UNCAUGHT (1)
#define EXIT_INTERRUPTED (128 + 2)

void port_exit(uint8_t code) {
    mp_hal_flush();
    hv_exit(code);
}

static bool is_a(mp_obj_t exception, const mp_obj_type_t *type) {
    return mp_obj_is_subclass_fast(MP_OBJ_FROM_PTR(mp_obj_get_type(exception)), MP_OBJ_FROM_PTR(type));
}

// SystemExit(None) is success, SystemExit(number) is a code, any other argument is a message.
static uint8_t system_exit_code(mp_obj_t exception) {
    mp_obj_t value = mp_obj_exception_get_value(exception);
    mp_int_t code;
    if (value == mp_const_none) {
        return 0;
    }
    if (mp_obj_get_int_maybe(value, &code)) {
        return code;
    }
    mp_obj_print_helper(&mp_plat_print, value, PRINT_STR);
    mp_print_str(&mp_plat_print, "\n");
    return EXIT_UNCAUGHT;
}

uint8_t port_exit_code(void *exception_in) {
    mp_obj_t exception = MP_OBJ_FROM_PTR(exception_in);
    if (is_a(exception, &mp_type_SystemExit)) {
        return system_exit_code(exception);
    }
    mp_obj_print_exception(&mp_plat_print, exception);
    return is_a(exception, &mp_type_KeyboardInterrupt) ? EXIT_INTERRUPTED : EXIT_UNCAUGHT;
}

// Upstream's REPL calls this after each input, with the exception that ended it or NULL. In raw mode a tool is in
// charge: there SystemExit starts Python anew, as on a board, and the tool goes on.
void port_after_exec(void *exception) {
    if (pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL && exception != NULL && is_a(MP_OBJ_FROM_PTR(exception), &mp_type_SystemExit)) {
        port_exit(port_exit_code(exception));
    }
}

// No handler is left for an exception: a fault of the port, for Python code always has one.
void nlr_jump_fail(void *exception) {
    (void)exception;
    mp_print_str(&mp_plat_print, "MicroPython: exception without a handler\n");
    port_exit(EXIT_UNCAUGHT);
}
