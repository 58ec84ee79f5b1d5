// The module `hv`: time, memory, the processor, the log.

#include "py/gc.h"
#include "py/mphal.h"
#include "py/mpthread.h"
#include "py/objstr.h"
#include "py/objtuple.h"
#include "py/runtime.h"

#include "modhv.h"

#define NANOSECONDS_PER_MS (1000000)
// Long enough that the wait has begun before it is over.
#define YIELD_NS (10 * 1000)

// ticks(): the counter, which runs at machine.freq().
static mp_obj_t hv_ticks_function(void) {
    return mp_obj_new_int_from_ull(hv_ticks());
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_ticks_object, hv_ticks_function);

// uptime_ms(): milliseconds since the VM was made.
static mp_obj_t hv_uptime_ms_function(void) {
    return mp_obj_new_int_from_ull(hv_nanoseconds() / NANOSECONDS_PER_MS);
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_uptime_ms_object, hv_uptime_ms_function);

// sleep_until(ms): sleeps until uptime_ms() has reached the time.
static mp_obj_t hv_sleep_until_function(mp_obj_t milliseconds) {
    mp_int_t time = mp_obj_get_int(milliseconds);
    if (time > 0) {
        uint64_t last = UINT64_MAX / NANOSECONDS_PER_MS;
        mp_hal_sleep_until(((uint64_t)time < last ? (uint64_t)time : last) * NANOSECONDS_PER_MS);
    }
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_1(hv_sleep_until_object, hv_sleep_until_function);

// yield_(): lets other threads and other VMs of the same priority run first.
static mp_obj_t hv_yield_function(void) {
    mp_event_handle_nowait();
    MP_THREAD_GIL_EXIT();
    hv_wait_until(hv_nanoseconds() + YIELD_NS);
    MP_THREAD_GIL_ENTER();
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_yield_object, hv_yield_function);

static gc_info_t heap(void) {
    gc_info_t info;
    gc_info(&info);
    return info;
}

// mem_free(): bytes of the heap that are free.
static mp_obj_t hv_mem_free_function(void) {
    return mp_obj_new_int_from_uint(heap().free);
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_mem_free_object, hv_mem_free_function);

// mem_used(): bytes of the heap that are in use, or were when garbage was collected last.
static mp_obj_t hv_mem_used_function(void) {
    return mp_obj_new_int_from_uint(heap().used);
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_mem_used_object, hv_mem_used_function);

static mp_obj_t bits(uint64_t value, unsigned low, unsigned count) {
    return MP_OBJ_NEW_SMALL_INT(value >> low & ((1u << count) - 1));
}

// cpu(): the vCPU that this thread runs on, and the processor as MIDR_EL1 (Arm ARM, D19.2.102) names it.
static mp_obj_t hv_cpu_function(void) {
    static const qstr fields[] = {MP_QSTR_vcpu, MP_QSTR_implementer, MP_QSTR_part, MP_QSTR_variant, MP_QSTR_revision};
    uint64_t affinity, model;
    __asm__ ("mrs %0, mpidr_el1" : "=r" (affinity));
    __asm__ ("mrs %0, midr_el1" : "=r" (model));
    mp_obj_t items[] = {bits(affinity, 0, 8), bits(model, 24, 8), bits(model, 4, 12), bits(model, 20, 4), bits(model, 0, 4)};
    return mp_obj_new_attrtuple(fields, MP_ARRAY_SIZE(items), items);
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_cpu_object, hv_cpu_function);

// log(): the end of the hypervisor's log.
static mp_obj_t hv_log_function(void) {
    vstr_t text;
    vstr_init_len(&text, HV_LOG_SIZE);
    text.len = hv_checked(hv_call(HV_LOG_READ, (uint64_t)text.buf, text.len, 0, 0));
    return mp_obj_new_str_from_vstr(&text);
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_log_object, hv_log_function);
