// The module `hv`: the terminal. Colours and the cursor by the sequences of ECMA-48, which all terminals know.

#include "py/mphal.h"
#include "py/objstr.h"
#include "py/runtime.h"
#include "py/stream.h"

#include "modhv.h"

#define ESCAPE (27)
// What follows an escape in one key press comes within this time; the key itself comes alone.
#define KEY_TIME_NS (50 * 1000 * 1000)
#define NO_BYTE (-1)

// A byte that was read after an escape, but did not belong to it.
static int unread = NO_BYTE;

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
    hv_checked(hv_putchar(byte));
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_1(hv_putchar_object, hv_putchar_function);

// puts(text): writes a string and returns its length in bytes. A NUL ends it.
static mp_obj_t hv_puts_function(mp_obj_t text) {
    mp_hal_flush();
    return mp_obj_new_int(hv_checked(hv_puts(mp_obj_str_get_str(text))));
}
MP_DEFINE_CONST_FUN_OBJ_1(hv_puts_object, hv_puts_function);

// clear(): clears the screen; the cursor goes to its top left corner.
static mp_obj_t hv_clear_function(void) {
    mp_printf(&mp_plat_print, "\x1b[2J\x1b[H");
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_clear_object, hv_clear_function);

// A colour as a parameter of SGR, whose own colours begin at `first`; None: the terminal's usual one.
static int colour(mp_obj_t object, int first) {
    mp_int_t number = object == mp_const_none ? 9 : mp_obj_get_int(object);
    if (number < 0 || (object != mp_const_none && number > HV_WHITE)) {
        mp_raise_ValueError(MP_ERROR_TEXT("no such color"));
    }
    return first + number;
}

// set_color(fg=None, bg=None): the colours of what is written from now on.
static mp_obj_t hv_set_color_function(size_t n_args, const mp_obj_t *args) {
    int foreground = colour(n_args > 0 ? args[0] : mp_const_none, 30);
    int background = colour(n_args > 1 ? args[1] : mp_const_none, 40);
    mp_printf(&mp_plat_print, "\x1b[%d;%dm", foreground, background);
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_set_color_object, 0, 2, hv_set_color_function);

// set_cursor(row, column): counted from 0, from the top left corner.
static mp_obj_t hv_set_cursor_function(mp_obj_t row, mp_obj_t column) {
    int numbers[] = {mp_obj_get_int(row), mp_obj_get_int(column)};
    if (numbers[0] < 0 || numbers[1] < 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("not on the screen"));
    }
    mp_printf(&mp_plat_print, "\x1b[%d;%dH", numbers[0] + 1, numbers[1] + 1);
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_2(hv_set_cursor_object, hv_set_cursor_function);

// size(): rows and columns of the terminal.
static mp_obj_t hv_size_function(void) {
    int64_t size = hv_checked(hv_call(HV_CONSOLE_SIZE, 0, 0, 0, 0));
    mp_obj_t items[] = {MP_OBJ_NEW_SMALL_INT(size >> 16), MP_OBJ_NEW_SMALL_INT(size & 0xffff)};
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_size_object, hv_size_function);

static bool has_key(void) {
    return unread != NO_BYTE || mp_hal_stdio_poll(MP_STREAM_POLL_RD) != 0;
}

// has_key(): whether getc() would return at once.
static mp_obj_t hv_has_key_function(void) {
    mp_event_handle_nowait();
    return mp_obj_new_bool(has_key());
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_has_key_object, hv_has_key_function);

static int take_byte(void) {
    int byte = unread != NO_BYTE ? unread : mp_hal_stdin_rx_chr();
    unread = NO_BYTE;
    return byte;
}

// The next byte of a key press, if it has one.
static int next_byte(void) {
    uint64_t deadline = hv_nanoseconds() + KEY_TIME_NS;
    while (!has_key()) {
        mp_event_handle_nowait();
        if (hv_nanoseconds() >= deadline) {
            return NO_BYTE;
        }
        mp_hal_wait(hv_milliseconds_to(deadline));
    }
    return take_byte();
}

// What follows an escape: CSI or SS3 with a letter for an arrow. Other keys are dropped to their last byte.
static int escaped_key(void) {
    int byte = next_byte();
    if (byte != '[' && byte != 'O') {
        unread = byte;
        return ESCAPE;
    }
    do {
        byte = next_byte();
    } while (byte != NO_BYTE && (byte < '@' || byte > '~'));
    return byte >= 'A' && byte <= 'D' ? HV_KEY_UP + byte - 'A' : ESCAPE;
}

// getc(): waits for a key and returns its byte, or UP, DOWN, RIGHT or LEFT for an arrow.
static mp_obj_t hv_getc_function(void) {
    int key = take_byte();
    return MP_OBJ_NEW_SMALL_INT(key == ESCAPE ? escaped_key() : key);
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_getc_object, hv_getc_function);
