// What the port adds to the module `os`. Included by upstream's extmod/modos.c.

#include "tinyvmm.h"

// urandom(n): random bytes that are fit for secrets.
static mp_obj_t mp_os_urandom(mp_obj_t count) {
    vstr_t bytes;
    vstr_init_len(&bytes, mp_obj_get_int(count));
    int64_t result = hv_random((uint8_t *)bytes.buf, bytes.len);
    if (result < 0) {
        mp_raise_OSError(-result);
    }
    return mp_obj_new_bytes_from_vstr(&bytes);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mp_os_urandom_obj, mp_os_urandom);
