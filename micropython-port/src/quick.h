// Short cuts for what programs do most, with the operands that they mostly have: for the interpreter's loop and for
// native code. Everything else goes on to upstream's functions.

#ifndef QUICK_H
#define QUICK_H

#include "py/bc.h"
#include "py/objarray.h"
#include "py/objlist.h"
#include "py/objtuple.h"
#include "py/runtime.h"

// The lowest bit of a small integer is set, the number is above it.
static inline bool quick_are_small(mp_obj_t a, mp_obj_t b) {
    return ((mp_int_t)a & (mp_int_t)b & 1) != 0;
}

static inline bool quick_is_true(mp_obj_t object) {
    if (object == mp_const_true) {
        return true;
    }
    return object != mp_const_false && mp_obj_is_true(object);
}

static inline mp_obj_t quick_binary_op(mp_binary_op_t op, mp_obj_t a, mp_obj_t b) {
    mp_int_t result;
    if (quick_are_small(a, b)) {
        switch (op) {
            case MP_BINARY_OP_ADD:
            case MP_BINARY_OP_INPLACE_ADD:
                if (!__builtin_add_overflow((mp_int_t)a - 1, (mp_int_t)b, &result)) {
                    return (mp_obj_t)result;
                }
                break;
            case MP_BINARY_OP_SUBTRACT:
            case MP_BINARY_OP_INPLACE_SUBTRACT:
                if (!__builtin_sub_overflow((mp_int_t)a, (mp_int_t)b - 1, &result)) {
                    return (mp_obj_t)result;
                }
                break;
            case MP_BINARY_OP_AND:
            case MP_BINARY_OP_INPLACE_AND:
                return (mp_obj_t)((mp_int_t)a & (mp_int_t)b);
            case MP_BINARY_OP_OR:
            case MP_BINARY_OP_INPLACE_OR:
                return (mp_obj_t)((mp_int_t)a | (mp_int_t)b);
            case MP_BINARY_OP_XOR:
            case MP_BINARY_OP_INPLACE_XOR:
                return (mp_obj_t)(((mp_int_t)a ^ (mp_int_t)b) | 1);
            case MP_BINARY_OP_LESS:
                return mp_obj_new_bool((mp_int_t)a < (mp_int_t)b);
            case MP_BINARY_OP_MORE:
                return mp_obj_new_bool((mp_int_t)a > (mp_int_t)b);
            case MP_BINARY_OP_EQUAL:
                return mp_obj_new_bool(a == b);
            case MP_BINARY_OP_LESS_EQUAL:
                return mp_obj_new_bool((mp_int_t)a <= (mp_int_t)b);
            case MP_BINARY_OP_MORE_EQUAL:
                return mp_obj_new_bool((mp_int_t)a >= (mp_int_t)b);
            case MP_BINARY_OP_NOT_EQUAL:
                return mp_obj_new_bool(a != b);
            default:
                break;
        }
    }
    return mp_binary_op(op, a, b);
}

// Items of lists, tuples and bytearrays by small numbers that are not negative.
static inline mp_obj_t quick_subscript(mp_obj_t object, mp_obj_t index_in, mp_obj_t value) {
    if (mp_obj_is_small_int(index_in) && mp_obj_is_obj(object)) {
        const mp_obj_type_t *type = ((mp_obj_base_t *)MP_OBJ_TO_PTR(object))->type;
        size_t index = MP_OBJ_SMALL_INT_VALUE(index_in);
        if (type == &mp_type_list) {
            mp_obj_list_t *list = MP_OBJ_TO_PTR(object);
            if (index < list->len && value == MP_OBJ_SENTINEL) {
                return list->items[index];
            }
            if (index < list->len && value != MP_OBJ_NULL) {
                list->items[index] = value;
                return mp_const_none;
            }
        } else if (type == &mp_type_tuple && value == MP_OBJ_SENTINEL) {
            mp_obj_tuple_t *tuple = MP_OBJ_TO_PTR(object);
            if (index < tuple->len) {
                return tuple->items[index];
            }
        } else if (type == &mp_type_bytearray && value == MP_OBJ_SENTINEL) {
            mp_obj_array_t *bytes = MP_OBJ_TO_PTR(object);
            if (index < bytes->len) {
                return MP_OBJ_NEW_SMALL_INT(((const uint8_t *)bytes->items)[index]);
            }
        }
    }
    return mp_obj_subscr(object, index_in, value);
}

// Upstream's cache remembers where a name was found last, in whatever map that was.
static inline mp_map_elem_t *quick_cached(const mp_map_t *map, mp_obj_t name) {
    size_t place = MP_STATE_VM(map_lookup_cache)[((uintptr_t)name >> 2) % MICROPY_OPT_MAP_LOOKUP_CACHE_SIZE];
    return place < map->alloc && map->table[place].key == name ? &map->table[place] : NULL;
}

static inline mp_map_elem_t *quick_lookup(mp_map_t *map, mp_obj_t name, mp_map_lookup_kind_t kind) {
    mp_map_elem_t *found = quick_cached(map, name);
    return found != NULL ? found : mp_map_lookup(map, name, kind);
}

static inline mp_obj_t quick_load_global(qstr name) {
    mp_map_elem_t *found = quick_cached(&mp_globals_get()->map, MP_OBJ_NEW_QSTR(name));
    return found != NULL ? found->value : mp_load_global(name);
}

#endif
