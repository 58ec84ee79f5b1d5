// The module `hv.board`: what the board has besides, for VMs with the capability `board`.

#include "py/mphal.h"
#include "py/runtime.h"

#include "modhv.h"

#define ZERO_CELSIUS_MILLIKELVIN (273150)

// led(on): switches the activity LED.
static mp_obj_t board_led_function(mp_obj_t on) {
    hv_checked(hv_call(HV_BOARD_LED, mp_obj_is_true(on), 0, 0, 0));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(board_led_object, board_led_function);

// temperature(): that of the processor, in degrees Celsius.
static mp_obj_t board_temperature_function(void) {
    int64_t millikelvin = hv_checked(hv_call(HV_BOARD_TEMPERATURE, 0, 0, 0, 0));
    return mp_obj_new_float((mp_float_t)(millikelvin - ZERO_CELSIUS_MILLIKELVIN) / 1000);
}
static MP_DEFINE_CONST_FUN_OBJ_0(board_temperature_object, board_temperature_function);

// poweroff(): ends all VMs and switches the machine off.
static mp_obj_t board_poweroff_function(void) {
    hv_checked(hv_call(HV_BOARD_POWER, 0, 0, 0, 0));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_0(board_poweroff_object, board_poweroff_function);

// reboot(): ends all VMs and starts the machine anew.
static mp_obj_t board_reboot_function(void) {
    hv_checked(hv_call(HV_BOARD_POWER, 1, 0, 0, 0));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_0(board_reboot_object, board_reboot_function);

static const mp_rom_map_elem_t board_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_board)},
    {MP_ROM_QSTR(MP_QSTR_led), MP_ROM_PTR(&board_led_object)},
    {MP_ROM_QSTR(MP_QSTR_poweroff), MP_ROM_PTR(&board_poweroff_object)},
    {MP_ROM_QSTR(MP_QSTR_reboot), MP_ROM_PTR(&board_reboot_object)},
    {MP_ROM_QSTR(MP_QSTR_temperature), MP_ROM_PTR(&board_temperature_object)},
};
static MP_DEFINE_CONST_DICT(board_globals, board_globals_table);

const mp_obj_module_t hv_board_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&board_globals,
};
