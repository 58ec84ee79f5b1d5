// What upstream's threads ask of a port: thread.c has the rest.

#ifndef MPTHREADPORT_H
#define MPTHREADPORT_H

#include <stdint.h>

// Bit n: vCPU n waits. PORT_MUTEX_LOCKED: somebody has it.
typedef struct {
    uint32_t state;
} mp_thread_mutex_t;

// The state of the thread that this vCPU runs is where the architecture has a register for it. Volatile: it must
// not be remembered from before it was set.
static inline struct _mp_state_thread_t *mp_thread_get_state(void) {
    struct _mp_state_thread_t *state;
    __asm__ volatile ("mrs %0, tpidr_el1" : "=r" (state));
    return state;
}

#endif
