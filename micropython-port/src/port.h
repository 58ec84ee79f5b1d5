// What the port's own files know of each other.

#ifndef PORT_H
#define PORT_H

#include <stdint.h>

#include "py/obj.h"

// Ends the VM, after the output that is still gathered.
void port_exit(uint8_t code) __attribute__((noreturn));

// Prints an exception that nobody caught, unless it is a SystemExit without a message, and returns the
// exit code that CPython has for it.
uint8_t port_exit_code(void *exception);

// Mounts the VM's file system as the root directory, and the ROM image, if there is one, as /rom.
void port_mount_files(void);

// A file system object over the hypervisor's calls, and over the ROM image or None.
mp_obj_t port_vfs_new(mp_obj_t rom);

// The flags of FILE_OPEN for a mode as in open(). Raises ValueError for another letter.
uint64_t port_file_flags(const char *mode);

// Opens a file. Returns the file object.
mp_obj_t port_file_open(const char *path, size_t length, uint64_t flags, const char *mode);

// FILE_OPEN, which has one more try after a garbage collection if too many files are open.
int64_t port_open_retrying(const char *path, size_t length, uint64_t flags);

// Sets the clock to nanoseconds since 1970, for this program alone.
void port_set_clock(uint64_t nanoseconds);

// machine.RTC.
extern const mp_obj_type_t port_rtc_type;

// Calls soft_timer_handler() if a timer is due.
void port_timer_poll(void);

// The earlier of a time, as hv_nanoseconds() has it, and that of the next timer.
uint64_t port_timer_limit(uint64_t deadline);

// Makes vCPU 0 the main thread.
void port_threads_init(void);

// Gives the interpreter's lock to a thread that waits for it, now and then.
void port_threads_take_turns(void);

// Keeps scheduled functions, and with them timers, and the turns of other threads away until the release. Returns
// whether they were kept away before, which the release is told.
bool port_threads_hold(void);
void port_threads_release(bool held);

// Ends all other threads. The caller has the interpreter's lock.
void port_threads_stop(void);

// Marks what other threads hold, for the garbage collector.
void port_threads_collect(void);

#endif
