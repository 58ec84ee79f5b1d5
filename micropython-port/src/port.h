// What the port's own files know of each other.

#ifndef PORT_H
#define PORT_H

#include <stdint.h>

// Ends the VM, after the output that is still gathered.
void port_exit(uint8_t code) __attribute__((noreturn));

// Prints an exception that nobody caught, unless it is a SystemExit without a message, and returns the
// exit code that CPython has for it.
uint8_t port_exit_code(void *exception);

// Mounts the ROM image, if the VM has one, as the root directory.
void port_mount_rom(void);

#endif
