// Console input and output, and waiting for either input or a time.

#include "py/mphal.h"
#include "py/mpthread.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/readline/readline.h"

#include "port.h"

// Longest time that output of an unfinished line waits while the program computes.
#define OUTPUT_DELAY_NS (20 * 1000 * 1000)

#define FOR_EVER (UINT64_MAX)

// Output is gathered to whole lines, so that a line costs one exit to the hypervisor.
static struct {
    char bytes[512];
    size_t used;
    uint64_t since; // when the first of them was written
} output;

// Input is fetched in pieces, so that a file that comes in does not cost an exit a byte.
static struct {
    uint8_t bytes[256];
    size_t next;
    size_t end;
    size_t interrupts; // how many of the bytes that are left are Ctrl-C
} input;

static bool input_flag(uint32_t flag) {
    const volatile HV_InfoPage *info = (const volatile HV_InfoPage *)HV_INFO_PAGE_BASE;
    return info->console_flags & flag;
}

static bool input_waits(void) {
    return input.next != input.end || input_flag(HV_CONSOLE_INPUT);
}

static bool interrupt_waits(void) {
    return input.interrupts != 0 || input_flag(HV_CONSOLE_INTERRUPT);
}

static void fetch_input(void) {
    int64_t count = hv_console_read(input.bytes, sizeof(input.bytes));
    input.next = 0;
    input.end = count < 0 ? 0 : count;
    for (size_t i = 0; i < input.end; i++) {
        input.interrupts += input.bytes[i] == CHAR_CTRL_C;
    }
}

static bool read_byte(uint8_t *byte) {
    if (input.next == input.end) {
        fetch_input();
    }
    if (input.next == input.end) {
        return false;
    }
    *byte = input.bytes[input.next++];
    input.interrupts -= *byte == CHAR_CTRL_C;
    return true;
}

// Drops what was typed before the Ctrl-C, as a terminal does, and raises KeyboardInterrupt.
static void take_interrupt(void) {
    uint8_t byte;
    while (read_byte(&byte) && byte != CHAR_CTRL_C) {
    }
    mp_sched_keyboard_interrupt();
}

// Waits for input, a timer or a time. Other threads run meanwhile.
static void wait_until(uint64_t deadline) {
    deadline = port_timer_limit(deadline);
    MP_THREAD_GIL_EXIT();
    if (deadline == FOR_EVER) {
        hv_wait();
    } else {
        hv_wait_until(deadline);
    }
    MP_THREAD_GIL_ENTER();
}

static void output_byte(char byte) {
    if (output.used == sizeof(output.bytes)) {
        mp_hal_flush();
    }
    if (output.used == 0) {
        output.since = hv_nanoseconds();
    }
    output.bytes[output.used++] = byte;
}

mp_uint_t mp_hal_stdout_tx_strn(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        output_byte(text[i]);
    }
    if (length != 0 && text[length - 1] == '\n') {
        mp_hal_flush();
    }
    return length;
}

void mp_hal_flush(void) {
    if (output.used != 0) {
        hv_console_write(output.bytes, output.used);
        output.used = 0;
    }
}

// Upstream sets mp_interrupt_char while a program runs; at the prompt Ctrl-C is a byte like others.
void mp_hal_poll(void) {
    if (mp_interrupt_char == CHAR_CTRL_C && interrupt_waits()) {
        take_interrupt();
    }
    port_timer_poll();
    if (output.used != 0 && hv_nanoseconds() - output.since > OUTPUT_DELAY_NS) {
        mp_hal_flush();
    }
}

unsigned port_branches_to_poll = PORT_BRANCHES_PER_POLL;

void port_poll(void) {
    port_branches_to_poll = PORT_BRANCHES_PER_POLL;
    mp_hal_poll();
    mp_handle_pending(true);
    port_threads_take_turns();
}

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        uint8_t byte;
        mp_event_handle_nowait();
        if (input_waits() && read_byte(&byte)) {
            return byte;
        }
        mp_hal_flush();
        wait_until(FOR_EVER);
    }
}

// For the line editor, which takes a carriage return alone for the end of a line: a terminal sends one,
// but from a pipe there come line feeds.
int port_readline_chr(void) {
    static int previous;
    int character = mp_hal_stdin_rx_chr();
    bool line_feed = character == '\n' && previous != '\r';
    previous = character;
    return line_feed ? '\r' : character;
}

uintptr_t mp_hal_stdio_poll(uintptr_t wanted) {
    uintptr_t ready = MP_STREAM_POLL_WR;
    if (input_waits()) {
        ready |= MP_STREAM_POLL_RD;
    }
    return ready & wanted;
}

void mp_hal_wait(mp_uint_t milliseconds) {
    mp_hal_flush();
    wait_until(milliseconds == (mp_uint_t)-1 ? FOR_EVER : hv_nanoseconds() + (uint64_t)milliseconds * 1000000);
}

void mp_hal_sleep_until(uint64_t deadline) {
    mp_hal_flush();
    for (;;) {
        mp_event_handle_nowait();
        if (hv_nanoseconds() >= deadline) {
            return;
        }
        wait_until(deadline);
    }
}

void mp_hal_delay_us(mp_uint_t microseconds) {
    mp_hal_sleep_until(hv_nanoseconds() + (uint64_t)microseconds * 1000);
}

void mp_hal_delay_ms(mp_uint_t milliseconds) {
    mp_hal_sleep_until(hv_nanoseconds() + (uint64_t)milliseconds * 1000000);
}

mp_uint_t mp_hal_random_seed(void) {
    mp_uint_t seed = hv_ticks();
    hv_random((uint8_t *)&seed, sizeof(seed));
    return seed;
}
