// Threads: one on each vCPU. Only the one that has the interpreter's lock runs Python.

#include <stddef.h>

#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/mpstate.h"
#include "py/mpthread.h"
#include "py/runtime.h"
#include "shared/runtime/gchelper.h"

#include "port.h"

#define MUTEX_LOCKED (1u << 31)
#define MAIN (0)

// Registers that a function preserves, as gchelper.S stores them.
#define REGISTERS (11)

// What the interpreter's own bookkeeping may use of a stack besides.
#define STACK_RESERVE (4 * 1024)
// How often the interpreter polls in one thread's turn. A turn costs an exit.
#define POLLS_PER_TURN (16)
// How long a new thread waits for a vCPU, and how often it looks.
#define PATIENCE_NS (20 * 1000 * 1000)
#define LOOK_NS (50 * 1000)

typedef struct {
    void *(*entry)(void *); // NULL: the vCPU is idle
    void *argument;
    mp_uint_t id;
    // As it was when the thread last gave the interpreter's lock away: the collector looks there. SP is 0 if it
    // never had it.
    uintptr_t registers[REGISTERS];
    uintptr_t sp;
} thread_t;

static thread_t threads[HV_VCPUS_MAX];
static mp_uint_t last_id;
static bool stopping;
static bool held;

// In gchelper.S: stores the registers, and returns SP.
uintptr_t gc_helper_get_regs_and_sp(uintptr_t *registers);

// In threadstart.S: goes on with port_other() on an empty stack.
void port_restart(uintptr_t vcpu, uintptr_t stack) __attribute__((noreturn));

static size_t this_vcpu(void) {
    uint64_t affinity;
    __asm__ ("mrs %0, mpidr_el1" : "=r" (affinity));
    return affinity & 0xff;
}

static uintptr_t stack_top(size_t vcpu) {
    return (uintptr_t)hv_memory().stack_top - vcpu * HV_STACK_SPACING;
}

static bool is_idle(const thread_t *thread) {
    return __atomic_load_n(&thread->entry, __ATOMIC_ACQUIRE) == NULL;
}

void port_threads_init(void) {
    mp_thread_set_state(&mp_state_ctx.thread);
    threads[MAIN].id = last_id = 1;
    held = false;
}

void mp_thread_set_state(struct _mp_state_thread_t *state) {
    port_thread_state = state;
}

mp_uint_t mp_thread_get_id(void) {
    return threads[this_vcpu()].id;
}

void mp_thread_start(void) {
}

void mp_thread_finish(void) {
}

static thread_t *find_idle(void) {
    size_t count = hv_vcpu_count();
    for (size_t i = MAIN + 1; i < count; i++) {
        if (is_idle(&threads[i])) {
            return &threads[i];
        }
    }
    return NULL;
}

// A thread may be about to end when the program thinks that it has: it gets some time for that.
static thread_t *idle_thread(void) {
    uint64_t deadline = hv_nanoseconds() + PATIENCE_NS;
    for (;;) {
        thread_t *thread = find_idle();
        if (thread != NULL) {
            return thread;
        }
        if (hv_vcpu_count() == 1 || hv_nanoseconds() >= deadline) {
            mp_raise_OSError(MP_EAGAIN);
        }
        MP_THREAD_GIL_EXIT();
        hv_wait_until(hv_nanoseconds() + LOOK_NS);
        MP_THREAD_GIL_ENTER();
    }
}

mp_uint_t mp_thread_create(void *(*entry)(void *), void *argument, size_t *stack_size) {
    thread_t *thread = idle_thread();
    *stack_size = HV_STACK_SPACING - STACK_RESERVE;
    thread->argument = argument;
    thread->id = ++last_id;
    __atomic_store_n(&thread->entry, entry, __ATOMIC_RELEASE);
    hv_wake(thread - threads);
    return thread->id;
}

// What all vCPUs but the first do.
void port_other(uint64_t vcpu) {
    thread_t *self = &threads[vcpu];
    for (;;) {
        while (is_idle(self)) {
            hv_wait();
        }
        self->entry(self->argument);
        self->argument = NULL;
        self->sp = 0;
        __atomic_store_n(&self->entry, NULL, __ATOMIC_RELEASE);
    }
}

// Leaves the thread where it is, when Python starts anew.
static void leave_if_stopping(size_t vcpu) {
    if (vcpu != MAIN && __atomic_load_n(&stopping, __ATOMIC_ACQUIRE)) {
        threads[vcpu].argument = NULL;
        threads[vcpu].sp = 0;
        __atomic_store_n(&threads[vcpu].entry, NULL, __ATOMIC_RELEASE);
        port_restart(vcpu, stack_top(vcpu));
    }
}

// All others wait, for the lock or for something else: they look at the flag when the wait ends.
void port_threads_stop(void) {
    __atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
    size_t count = hv_vcpu_count();
    for (size_t i = MAIN + 1; i < count; i++) {
        while (!is_idle(&threads[i])) {
            hv_wake(i);
            hv_wait_until(hv_nanoseconds() + LOOK_NS);
        }
    }
    __atomic_store_n(&stopping, false, __ATOMIC_RELEASE);
}

// What the program has scheduled runs to its end first, and so does what holds the others.
void port_threads_take_turns(void) {
    static unsigned polls;
    bool waits = __atomic_load_n(&MP_STATE_VM(gil_mutex).state, __ATOMIC_RELAXED) != MUTEX_LOCKED;
    if (++polls % POLLS_PER_TURN == 0 && waits && MP_STATE_VM(sched_state) == MP_SCHED_IDLE) {
        MP_THREAD_GIL_EXIT();
        MP_THREAD_GIL_ENTER();
    }
}

bool port_threads_hold(void) {
    bool before = held;
    if (!before) {
        mp_sched_lock();
        held = true;
    }
    return before;
}

void port_threads_release(bool before) {
    if (held && !before) {
        held = false;
        mp_sched_unlock();
    }
}

void port_threads_collect(void) {
    size_t count = hv_vcpu_count();
    for (size_t i = MAIN; i < count; i++) {
        thread_t *thread = &threads[i];
        gc_collect_root(&thread->argument, 1);
        if (i != this_vcpu() && thread->sp != 0) {
            gc_collect_root((void **)thread->registers, REGISTERS);
            gc_collect_root((void **)thread->sp, (stack_top(i) - thread->sp) / sizeof(void *));
        }
    }
}

void mp_thread_mutex_init(mp_thread_mutex_t *mutex) {
    mutex->state = 0;
}

// A mutex that has waiters is never free: it goes from hand to hand.
int mp_thread_mutex_lock(mp_thread_mutex_t *mutex, int wait) {
    size_t vcpu = this_vcpu();
    uint32_t state = 0;
    leave_if_stopping(vcpu);
    while (!__atomic_compare_exchange_n(&mutex->state, &state,
        state == 0 ? MUTEX_LOCKED : state | 1u << vcpu, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        if (state != 0 && !wait) {
            return 0;
        }
    }
    if (state != 0) {
        while (__atomic_load_n(&mutex->state, __ATOMIC_ACQUIRE) & 1u << vcpu) {
            hv_wait();
            leave_if_stopping(vcpu);
        }
    }
    return 1;
}

// The first vCPU after this one that waits, so that all have their turn.
static uint32_t next_waiter(uint32_t state, size_t vcpu) {
    uint32_t waiters = state & ~MUTEX_LOCKED;
    uint32_t later = waiters & ~((2u << vcpu) - 1);
    uint32_t from = later != 0 ? later : waiters;
    return from & -from;
}

void mp_thread_mutex_unlock(mp_thread_mutex_t *mutex) {
    size_t vcpu = this_vcpu();
    if (mutex == &MP_STATE_VM(gil_mutex)) {
        threads[vcpu].sp = gc_helper_get_regs_and_sp(threads[vcpu].registers);
    }
    uint32_t state = __atomic_load_n(&mutex->state, __ATOMIC_RELAXED);
    uint32_t next;
    do {
        next = next_waiter(state, vcpu);
    } while (!__atomic_compare_exchange_n(&mutex->state, &state, next != 0 ? state & ~next : 0, false,
        __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (next != 0) {
        hv_wake(__builtin_ctz(next));
    }
}
