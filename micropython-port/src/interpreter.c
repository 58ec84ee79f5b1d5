// The interpreter's loop as upstream has it, but that it takes short cuts, and asks for less at each branch: what a
// program has to see to now and then, port_poll() sees to. Other code is compiled with the usual configuration.

// The loop expects by itself that a call returns twice: it declares such variables volatile.
#define PORT_KNOWS_NLR

#include "py/mpstate.h"
#include "py/mpthread.h"
#include "py/objtype.h"

#include "quick.h"

// Not the turn of another thread, nor what was scheduled.
#undef MICROPY_PY_THREAD_GIL
#define MICROPY_PY_THREAD_GIL (0)
#undef MICROPY_ENABLE_SCHEDULER
#define MICROPY_ENABLE_SCHEDULER (0)

// The one thing of a thread that the loop looks at is an exception that is pending: port_poll() raises it.
#undef MP_STATE_THREAD
#define MP_STATE_THREAD(field) (MP_OBJ_NULL)

#define mp_binary_op quick_binary_op
#define mp_load_global quick_load_global
#define mp_map_lookup quick_lookup
#define mp_obj_is_true quick_is_true
#define mp_obj_subscr quick_subscript

#include "py/vm.c"
