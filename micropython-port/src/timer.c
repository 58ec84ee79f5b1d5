// The clock, and timers for machine.Timer. A timer is due where the interpreter polls, and ends waits.

#include "lib/oofatfs/ff.h"
#include "py/mphal.h"
#include "shared/runtime/softtimer.h"
#include "shared/timeutils/timeutils.h"

#include "port.h"

#define NEVER (UINT64_MAX)
#define MILLISECOND (1000000)
#define NANOSECONDS_PER_SECOND (1000000000)

// When the first timer is due, as hv_nanoseconds() has it.
static uint64_t due = NEVER;

// Nanoseconds from 1970 to when hv_nanoseconds() was zero; 0 until somebody asks for the time.
static uint64_t epoch;

void port_set_clock(uint64_t nanoseconds) {
    epoch = nanoseconds - hv_nanoseconds();
}

uint64_t mp_hal_time_ns(void) {
    if (epoch == 0) {
        epoch = hv_wall_clock() - hv_nanoseconds();
    }
    return epoch + hv_nanoseconds();
}

uint32_t soft_timer_get_ms(void) {
    return mp_hal_ticks_ms();
}

void soft_timer_schedule_at_ms(uint32_t ticks_ms) {
    uint64_t now = hv_nanoseconds() / MILLISECOND;
    int32_t delay = soft_timer_ticks_diff(ticks_ms, now);
    due = (now + (delay > 0 ? delay : 0)) * MILLISECOND;
}

void port_timer_poll(void) {
    if (due != NEVER && hv_nanoseconds() >= due) {
        due = NEVER;
        soft_timer_handler();
    }
}

uint64_t port_timer_limit(uint64_t deadline) {
    return due < deadline ? due : deadline;
}

// The time in the format of FAT file systems.
DWORD get_fattime(void) {
    timeutils_struct_time_t now;
    timeutils_seconds_since_epoch_to_struct_time(mp_hal_time_ns() / NANOSECONDS_PER_SECOND, &now);
    return (uint32_t)(now.tm_year - 1980) << 25 | now.tm_mon << 21 | now.tm_mday << 16
        | now.tm_hour << 11 | now.tm_min << 5 | now.tm_sec / 2;
}
