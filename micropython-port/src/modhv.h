// The functions of the module `hv`, by the files that they are in.

#ifndef MODHV_H
#define MODHV_H

#include "py/obj.h"

// The result of a hypercall: OSError for a negative one.
int64_t hv_checked(int64_t result);

// A time-out in milliseconds as the time at which it is over, as hv_nanoseconds() has it. Negative: never.
uint64_t hv_deadline(mp_obj_t timeout_ms);

// Milliseconds from now on, as mp_hal_wait() has them; 0 when the time has come.
mp_uint_t hv_milliseconds_to(uint64_t deadline);

// The colours, as the terminal numbers them, and the keys that are no byte.
enum { HV_BLACK, HV_RED, HV_GREEN, HV_YELLOW, HV_BLUE, HV_MAGENTA, HV_CYAN, HV_WHITE };
enum { HV_KEY_UP = 0x100, HV_KEY_DOWN, HV_KEY_RIGHT, HV_KEY_LEFT };

// hvconsole.c
MP_DECLARE_CONST_FUN_OBJ_1(hv_putchar_object);
MP_DECLARE_CONST_FUN_OBJ_1(hv_puts_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_clear_object);
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(hv_set_color_object);
MP_DECLARE_CONST_FUN_OBJ_2(hv_set_cursor_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_size_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_has_key_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_getc_object);

// hvdisk.c
extern const mp_obj_type_t hv_disk_type;

// hvsystem.c
MP_DECLARE_CONST_FUN_OBJ_0(hv_ticks_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_uptime_ms_object);
MP_DECLARE_CONST_FUN_OBJ_1(hv_sleep_until_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_yield_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_mem_free_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_mem_used_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_cpu_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_log_object);

// hvboard.c
extern const mp_obj_module_t hv_board_module;

// hvvms.c
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(hv_vm_object);
MP_DECLARE_CONST_FUN_OBJ_0(hv_vms_object);
MP_DECLARE_CONST_FUN_OBJ_1(hv_find_object);
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(hv_spawn_object);
MP_DECLARE_CONST_FUN_OBJ_1(hv_kill_object);
MP_DECLARE_CONST_FUN_OBJ_1(hv_pause_object);
MP_DECLARE_CONST_FUN_OBJ_1(hv_resume_object);
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(hv_wait_object);
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(hv_send_object);
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(hv_recv_object);

#endif
