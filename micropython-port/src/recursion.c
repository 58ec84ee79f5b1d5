// Where upstream's C code calls itself for objects inside others without a look at the stack: an object that holds
// itself would take it beyond the end. build/port.rs puts these functions between the sources of upstream.

#include "py/cstack.h"
#include "py/runtime.h"

bool upstream_seq_cmp_objs(mp_uint_t op, const mp_obj_t *a, size_t a_length, const mp_obj_t *b, size_t b_length);

// Lists and tuples, compared.
bool mp_seq_cmp_objs(mp_uint_t op, const mp_obj_t *a, size_t a_length, const mp_obj_t *b, size_t b_length) {
    mp_cstack_check();
    return upstream_seq_cmp_objs(op, a, a_length, b, b_length);
}

// Keys and values of dictionaries, compared.
bool port_item_equal(mp_obj_t a, mp_obj_t b) {
    mp_cstack_check();
    return mp_obj_equal(a, b);
}

// Items of tuples, hashed.
mp_obj_t port_item_unary_op(mp_unary_op_t op, mp_obj_t item) {
    mp_cstack_check();
    return mp_unary_op(op, item);
}

// Instances, called.
mp_obj_t port_call_instance(mp_obj_t method, mp_obj_t self, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_cstack_check();
    return mp_call_method_self_n_kw(method, self, n_args, n_kw, args);
}
