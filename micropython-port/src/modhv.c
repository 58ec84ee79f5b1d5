// The module `hv`: the hypervisor's own calls. docs/hv.md describes it, hv.pyi has its types.

#include "py/mphal.h"
#include "py/runtime.h"

#include "modhv.h"
#include "port.h"

#define NANOSECONDS_PER_MS (1000000)

int64_t hv_checked(int64_t result) {
    if (result < 0) {
        mp_raise_OSError(-result);
    }
    return result;
}

uint64_t hv_deadline(mp_obj_t timeout_ms) {
    mp_int_t timeout = mp_obj_get_int(timeout_ms);
    uint64_t now = hv_nanoseconds();
    return timeout < 0 || (uint64_t)timeout > (UINT64_MAX - now) / NANOSECONDS_PER_MS
        ? UINT64_MAX : now + (uint64_t)timeout * NANOSECONDS_PER_MS;
}

mp_uint_t hv_milliseconds_to(uint64_t deadline) {
    uint64_t now = hv_nanoseconds();
    if (deadline == UINT64_MAX) {
        return (mp_uint_t)-1;
    }
    return deadline <= now ? 0 : (deadline - now - 1) / NANOSECONDS_PER_MS + 1;
}

// exit(code=0): ends the VM at once. Nothing is cleaned up: see sys.exit() for the orderly way.
static mp_obj_t hv_exit_function(size_t n_args, const mp_obj_t *args) {
    port_exit(n_args == 0 ? 0 : mp_obj_get_int_truncated(args[0]));
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_exit_object, 0, 1, hv_exit_function);

// version(): the version of the hypervisor's ABI as (major, minor).
static mp_obj_t hv_version_function(void) {
    int64_t version = hv_checked(hv_version());
    mp_obj_t items[] = {MP_OBJ_NEW_SMALL_INT(version >> 16), MP_OBJ_NEW_SMALL_INT(version & 0xffff)};
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(hv_version_object, hv_version_function);

static const mp_rom_map_elem_t hv_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_hv)},
    {MP_ROM_QSTR(MP_QSTR_exit), MP_ROM_PTR(&hv_exit_object)},
    {MP_ROM_QSTR(MP_QSTR_version), MP_ROM_PTR(&hv_version_object)},

    {MP_ROM_QSTR(MP_QSTR_putchar), MP_ROM_PTR(&hv_putchar_object)},
    {MP_ROM_QSTR(MP_QSTR_puts), MP_ROM_PTR(&hv_puts_object)},
    {MP_ROM_QSTR(MP_QSTR_clear), MP_ROM_PTR(&hv_clear_object)},
    {MP_ROM_QSTR(MP_QSTR_set_color), MP_ROM_PTR(&hv_set_color_object)},
    {MP_ROM_QSTR(MP_QSTR_set_cursor), MP_ROM_PTR(&hv_set_cursor_object)},
    {MP_ROM_QSTR(MP_QSTR_size), MP_ROM_PTR(&hv_size_object)},
    {MP_ROM_QSTR(MP_QSTR_has_key), MP_ROM_PTR(&hv_has_key_object)},
    {MP_ROM_QSTR(MP_QSTR_getc), MP_ROM_PTR(&hv_getc_object)},
    {MP_ROM_QSTR(MP_QSTR_BLACK), MP_ROM_INT(HV_BLACK)},
    {MP_ROM_QSTR(MP_QSTR_RED), MP_ROM_INT(HV_RED)},
    {MP_ROM_QSTR(MP_QSTR_GREEN), MP_ROM_INT(HV_GREEN)},
    {MP_ROM_QSTR(MP_QSTR_YELLOW), MP_ROM_INT(HV_YELLOW)},
    {MP_ROM_QSTR(MP_QSTR_BLUE), MP_ROM_INT(HV_BLUE)},
    {MP_ROM_QSTR(MP_QSTR_MAGENTA), MP_ROM_INT(HV_MAGENTA)},
    {MP_ROM_QSTR(MP_QSTR_CYAN), MP_ROM_INT(HV_CYAN)},
    {MP_ROM_QSTR(MP_QSTR_WHITE), MP_ROM_INT(HV_WHITE)},
    {MP_ROM_QSTR(MP_QSTR_UP), MP_ROM_INT(HV_KEY_UP)},
    {MP_ROM_QSTR(MP_QSTR_DOWN), MP_ROM_INT(HV_KEY_DOWN)},
    {MP_ROM_QSTR(MP_QSTR_RIGHT), MP_ROM_INT(HV_KEY_RIGHT)},
    {MP_ROM_QSTR(MP_QSTR_LEFT), MP_ROM_INT(HV_KEY_LEFT)},

    {MP_ROM_QSTR(MP_QSTR_ticks), MP_ROM_PTR(&hv_ticks_object)},
    {MP_ROM_QSTR(MP_QSTR_uptime_ms), MP_ROM_PTR(&hv_uptime_ms_object)},
    {MP_ROM_QSTR(MP_QSTR_sleep_until), MP_ROM_PTR(&hv_sleep_until_object)},
    {MP_ROM_QSTR(MP_QSTR_yield_), MP_ROM_PTR(&hv_yield_object)},
    {MP_ROM_QSTR(MP_QSTR_mem_free), MP_ROM_PTR(&hv_mem_free_object)},
    {MP_ROM_QSTR(MP_QSTR_mem_used), MP_ROM_PTR(&hv_mem_used_object)},
    {MP_ROM_QSTR(MP_QSTR_cpu), MP_ROM_PTR(&hv_cpu_object)},
    {MP_ROM_QSTR(MP_QSTR_log), MP_ROM_PTR(&hv_log_object)},

    {MP_ROM_QSTR(MP_QSTR_board), MP_ROM_PTR(&hv_board_module)},

    {MP_ROM_QSTR(MP_QSTR_vm), MP_ROM_PTR(&hv_vm_object)},
    {MP_ROM_QSTR(MP_QSTR_vms), MP_ROM_PTR(&hv_vms_object)},
    {MP_ROM_QSTR(MP_QSTR_find), MP_ROM_PTR(&hv_find_object)},
    {MP_ROM_QSTR(MP_QSTR_spawn), MP_ROM_PTR(&hv_spawn_object)},
    {MP_ROM_QSTR(MP_QSTR_kill), MP_ROM_PTR(&hv_kill_object)},
    {MP_ROM_QSTR(MP_QSTR_pause), MP_ROM_PTR(&hv_pause_object)},
    {MP_ROM_QSTR(MP_QSTR_resume), MP_ROM_PTR(&hv_resume_object)},
    {MP_ROM_QSTR(MP_QSTR_wait), MP_ROM_PTR(&hv_wait_object)},
    {MP_ROM_QSTR(MP_QSTR_send), MP_ROM_PTR(&hv_send_object)},
    {MP_ROM_QSTR(MP_QSTR_recv), MP_ROM_PTR(&hv_recv_object)},

    {MP_ROM_QSTR(MP_QSTR_BlockDev), MP_ROM_PTR(&hv_disk_type)},
};
static MP_DEFINE_CONST_DICT(hv_globals, hv_globals_table);

const mp_obj_module_t hv_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&hv_globals,
};

MP_REGISTER_MODULE(MP_QSTR_hv, hv_module);
