// What upstream's threads ask of a port: thread.c has the rest.

#ifndef MPTHREADPORT_H
#define MPTHREADPORT_H

#include <stdint.h>

// Bit n: vCPU n waits. PORT_MUTEX_LOCKED: somebody has it.
typedef struct {
    uint32_t state;
} mp_thread_mutex_t;

// The state of the thread that this vCPU runs is in a register that the build keeps for it (-ffixed-x28). What is
// written in Rust preserves that, as all functions do, and must not call C that needs it.
#ifndef PORT_TRAINING
register struct _mp_state_thread_t *port_thread_state __asm__ ("x28");
#else
// For training, on the developer's machine: there is one thread.
extern struct _mp_state_thread_t *port_thread_state;
#endif

static inline struct _mp_state_thread_t *mp_thread_get_state(void) {
    return port_thread_state;
}

#endif
