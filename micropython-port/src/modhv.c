// The module `hv`: the hypervisor's own calls.

#include "py/mphal.h"
#include "py/mperrno.h"
#include "py/objstr.h"
#include "py/runtime.h"

#include "port.h"

// The result of a hypercall: OSError for a negative one.
static int64_t checked(int64_t result) {
    if (result < 0) {
        mp_raise_OSError(-result);
    }
    return result;
}

// exit(code=0): ends the VM at once. Nothing is cleaned up: see sys.exit() for the orderly way.
static mp_obj_t hv_exit_function(size_t n_args, const mp_obj_t *args) {
    port_exit(n_args == 0 ? 0 : mp_obj_get_int_truncated(args[0]));
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_exit_object, 0, 1, hv_exit_function);

// putchar(c): writes a character, given as a number below 256 or as a string of one byte.
static mp_obj_t hv_putchar_function(mp_obj_t character) {
    mp_int_t byte = -1;
    if (mp_obj_is_str_or_bytes(character)) {
        size_t length;
        const char *text = mp_obj_str_get_data(character, &length);
        byte = length == 1 ? (uint8_t)text[0] : -1;
    } else {
        byte = mp_obj_get_int(character);
    }
    if (byte < 0 || byte > 255) {
        mp_raise_ValueError(MP_ERROR_TEXT("not one byte"));
    }
    mp_hal_flush();
    checked(hv_putchar(byte));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(hv_putchar_object, hv_putchar_function);

// puts(text): writes a string and returns its length in bytes. A NUL ends it.
static mp_obj_t hv_puts_function(mp_obj_t text) {
    mp_hal_flush();
    return mp_obj_new_int(checked(hv_puts(mp_obj_str_get_str(text))));
}
static MP_DEFINE_CONST_FUN_OBJ_1(hv_puts_object, hv_puts_function);

// version(): the version of the hypervisor's ABI as (major, minor).
static mp_obj_t hv_version_function(void) {
    int64_t version = checked(hv_version());
    mp_obj_t items[] = {MP_OBJ_NEW_SMALL_INT(version >> 16), MP_OBJ_NEW_SMALL_INT(version & 0xffff)};
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(hv_version_object, hv_version_function);

static const mp_rom_map_elem_t hv_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_hv)},
    {MP_ROM_QSTR(MP_QSTR_exit), MP_ROM_PTR(&hv_exit_object)},
    {MP_ROM_QSTR(MP_QSTR_putchar), MP_ROM_PTR(&hv_putchar_object)},
    {MP_ROM_QSTR(MP_QSTR_puts), MP_ROM_PTR(&hv_puts_object)},
    {MP_ROM_QSTR(MP_QSTR_version), MP_ROM_PTR(&hv_version_object)},
};
static MP_DEFINE_CONST_DICT(hv_globals, hv_globals_table);

const mp_obj_module_t hv_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&hv_globals,
};

MP_REGISTER_MODULE(MP_QSTR_hv, hv_module);
