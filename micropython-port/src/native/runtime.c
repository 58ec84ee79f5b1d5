#include "py/cstack.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "py/smallint.h"

#include "quick.h"
#include "runtime.h"

#define SHORT_CALL_BYTES (128 * 1024 * 1024)

// These functions stand in RAM, and not where VMs share the rest of the code: native code is in RAM, and calls most
// often what is here.
#pragma clang section text = ".near"

void native_poll(void) {
    mp_hal_poll();
    mp_handle_pending(true);
}

void native_check_stack(size_t bytes) {
    if (mp_cstack_usage() + bytes >= MP_STATE_THREAD(stack_limit)) {
        mp_raise_recursion_depth();
    }
}

bool native_call_is_short(const void *function) {
    return (uintptr_t)function < SHORT_CALL_BYTES && (uintptr_t)hv_memory().free_end <= SHORT_CALL_BYTES;
}

// A whole word, which the caller can test at once; of a bool only eight bits count (AAPCS64, 6.8.2).
static mp_uint_t is_true(mp_obj_t object) {
    return quick_is_true(object);
}

static mp_obj_t subscript(mp_obj_t object, mp_obj_t index, mp_obj_t value) {
    return quick_subscript(object, index, value);
}

static mp_obj_t load_global(qstr name) {
    return quick_load_global(name);
}

static mp_uint_t yield_from(mp_obj_t generator, mp_obj_t value, mp_obj_t *result) {
    return ((bool (*)(mp_obj_t, mp_obj_t, mp_obj_t *))mp_fun_table.yield_from)(generator, value, result);
}

const void *native_function(mp_fun_kind_t kind) {
    switch (kind) {
        case MP_F_OBJ_IS_TRUE:
            return is_true;
        case MP_F_OBJ_SUBSCR:
            return subscript;
        case MP_F_LOAD_GLOBAL:
            return load_global;
        case MP_F_NATIVE_YIELD_FROM:
            return yield_from;
        default:
            return ((const void *const *)&mp_fun_table)[kind];
    }
}

// ---- Operations on two objects, quick for small integers.

#define ARITHMETIC(name, op, operation, a_in, b_in) \
    static mp_obj_t name(mp_uint_t unused, mp_obj_t a, mp_obj_t b) { \
        (void)unused; \
        mp_int_t result; \
        if (quick_are_small(a, b) && !operation((mp_int_t)(a_in), (mp_int_t)(b_in), &result)) { \
            return (mp_obj_t)result; \
        } \
        return mp_binary_op(op, a, b); \
    }

#define ADD_TAGGED(name, op) ARITHMETIC(name, op, __builtin_add_overflow, (mp_int_t)a - 1, b)
#define SUBTRACT_TAGGED(name, op) ARITHMETIC(name, op, __builtin_sub_overflow, a, (mp_int_t)b - 1)

ADD_TAGGED(add, MP_BINARY_OP_ADD)
ADD_TAGGED(add_inplace, MP_BINARY_OP_INPLACE_ADD)
SUBTRACT_TAGGED(subtract, MP_BINARY_OP_SUBTRACT)
SUBTRACT_TAGGED(subtract_inplace, MP_BINARY_OP_INPLACE_SUBTRACT)

// A comparison in two forms: one returns an object, the other 0 or 1.
#define COMPARISON(name, op, operator) \
    static mp_obj_t name(mp_uint_t unused, mp_obj_t a, mp_obj_t b) { \
        (void)unused; \
        if (quick_are_small(a, b)) { \
            return mp_obj_new_bool((mp_int_t)a operator (mp_int_t)b); \
        } \
        return mp_binary_op(op, a, b); \
    } \
    static mp_uint_t name##_test(mp_uint_t unused, mp_obj_t a, mp_obj_t b) { \
        (void)unused; \
        if (quick_are_small(a, b)) { \
            return (mp_int_t)a operator (mp_int_t)b; \
        } \
        return is_true(mp_binary_op(op, a, b)); \
    }

COMPARISON(less, MP_BINARY_OP_LESS, <)
COMPARISON(more, MP_BINARY_OP_MORE, >)
COMPARISON(equal, MP_BINARY_OP_EQUAL, ==)
COMPARISON(less_equal, MP_BINARY_OP_LESS_EQUAL, <=)
COMPARISON(more_equal, MP_BINARY_OP_MORE_EQUAL, >=)
COMPARISON(not_equal, MP_BINARY_OP_NOT_EQUAL, !=)

// Whether two objects are the same one.
static mp_obj_t is(mp_uint_t unused, mp_obj_t a, mp_obj_t b) {
    (void)unused;
    return mp_obj_new_bool(a == b);
}

static mp_uint_t is_test(mp_uint_t unused, mp_obj_t a, mp_obj_t b) {
    (void)unused;
    return a == b;
}

const void *native_operator(mp_binary_op_t op) {
    static const void *const functions[MP_BINARY_OP_NUM_BYTECODE] = {
        [MP_BINARY_OP_ADD] = add,
        [MP_BINARY_OP_INPLACE_ADD] = add_inplace,
        [MP_BINARY_OP_SUBTRACT] = subtract,
        [MP_BINARY_OP_INPLACE_SUBTRACT] = subtract_inplace,
        [MP_BINARY_OP_LESS] = less,
        [MP_BINARY_OP_MORE] = more,
        [MP_BINARY_OP_EQUAL] = equal,
        [MP_BINARY_OP_LESS_EQUAL] = less_equal,
        [MP_BINARY_OP_MORE_EQUAL] = more_equal,
        [MP_BINARY_OP_NOT_EQUAL] = not_equal,
        [MP_BINARY_OP_IS] = is,
    };
    return op < MP_BINARY_OP_NUM_BYTECODE ? functions[op] : NULL;
}

const void *native_test(mp_binary_op_t op) {
    static const void *const functions[] = {
        [MP_BINARY_OP_LESS] = less_test,
        [MP_BINARY_OP_MORE] = more_test,
        [MP_BINARY_OP_EQUAL] = equal_test,
        [MP_BINARY_OP_LESS_EQUAL] = less_equal_test,
        [MP_BINARY_OP_MORE_EQUAL] = more_equal_test,
        [MP_BINARY_OP_NOT_EQUAL] = not_equal_test,
        [MP_BINARY_OP_IS] = is_test,
    };
    return op < MP_ARRAY_SIZE(functions) ? functions[op] : NULL;
}
