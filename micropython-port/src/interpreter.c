// The interpreter's loop as upstream has it, but that it asks for less at each branch: what a program has
// to see to now and then, mp_hal_poll() sees to. Other code is compiled with the usual configuration.

// The loop expects by itself that a call returns twice: it declares such variables volatile.
#define PORT_KNOWS_NLR

#include "py/mpstate.h"
#include "py/mpthread.h"

// Not the turn of another thread, nor what was scheduled.
#undef MICROPY_PY_THREAD_GIL
#define MICROPY_PY_THREAD_GIL (0)
#undef MICROPY_ENABLE_SCHEDULER
#define MICROPY_ENABLE_SCHEDULER (0)

#include "py/vm.c"
