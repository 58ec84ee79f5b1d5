// The hardware abstraction that upstream's code asks of a port.

#include "py/mpconfig.h"
#include "shared/runtime/interrupt_char.h"

#include "tinyvmm.h"

// Sees to a Ctrl-C that has arrived, and to output that has waited for long.
void mp_hal_poll(void);

// Waits for console input, but no longer than the given time; (mp_uint_t)-1 is for ever.
void mp_hal_wait(mp_uint_t milliseconds);

// Sleeps until hv_nanoseconds() has reached the deadline. An exception, such as one for Ctrl-C, ends it.
void mp_hal_sleep_until(uint64_t deadline);

// What the line editor takes for mp_hal_stdin_rx_chr().
int port_readline_chr(void);

// Sends the output that is still gathered to the console.
void mp_hal_flush(void);

static inline mp_uint_t mp_hal_ticks_cpu(void) {
    return hv_ticks();
}

// Nanoseconds since 1970.
uint64_t mp_hal_time_ns(void);

static inline mp_uint_t mp_hal_ticks_us(void) {
    return hv_nanoseconds() / 1000;
}

static inline mp_uint_t mp_hal_ticks_ms(void) {
    return hv_nanoseconds() / 1000000;
}
