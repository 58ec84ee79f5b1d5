// The module `hv`: other VMs, and messages between VMs. A VM goes by its number or its name.

#include <string.h>

#include "py/mphal.h"
#include "py/objlist.h"
#include "py/objstr.h"
#include "py/objtuple.h"
#include "py/runtime.h"

#include "modhv.h"

#define NEVER (UINT64_MAX)
#define TICKS_PER_MS (hv_frequency() / 1000)

// find(name): the number of the VM with this name.
static mp_obj_t hv_find_function(mp_obj_t name) {
    size_t length;
    const char *text = mp_obj_str_get_data(name, &length);
    return mp_obj_new_int(hv_checked(hv_call(HV_VM_FIND, (uint64_t)text, length, 0, 0)));
}
MP_DEFINE_CONST_FUN_OBJ_1(hv_find_object, hv_find_function);

static mp_int_t vm_number(mp_obj_t vm) {
    return mp_obj_get_int(mp_obj_is_str(vm) ? hv_find_function(vm) : vm);
}

// Makes a call again and again while it answers EAGAIN, up to the deadline. Other threads run meanwhile.
static int64_t call_until(uint64_t deadline, uint64_t number, uint64_t first, uint64_t second, uint64_t third) {
    for (;;) {
        mp_event_handle_nowait();
        int64_t result = hv_call(number, first, second, third, 0);
        mp_uint_t milliseconds = hv_milliseconds_to(deadline);
        if (result != -HV_EAGAIN || milliseconds == 0) {
            return result;
        }
        mp_hal_wait(milliseconds);
    }
}

static mp_obj_t state_name(uint32_t state) {
    static const uint16_t names[] = {
        [HV_STATE_CREATED] = MP_QSTR_created,
        [HV_STATE_RUNNING] = MP_QSTR_running,
        [HV_STATE_PAUSED] = MP_QSTR_paused,
        [HV_STATE_STOPPED] = MP_QSTR_stopped,
        [HV_STATE_CRASHED] = MP_QSTR_crashed,
        [HV_STATE_RESTARTING] = MP_QSTR_restarting,
    };
    return state < MP_ARRAY_SIZE(names) ? MP_OBJ_NEW_QSTR(names[state]) : mp_const_none;
}

static mp_obj_t capability_names(uint32_t bits) {
    static const struct { uint16_t bit, name; } known[] = {
        {HV_CAPABILITY_BOARD, MP_QSTR_board},
        {HV_CAPABILITY_CONTROL, MP_QSTR_control},
        {HV_CAPABILITY_LOG, MP_QSTR_log},
        {HV_CAPABILITY_MESSAGES, MP_QSTR_messages},
    };
    mp_obj_t names[MP_ARRAY_SIZE(known)];
    size_t count = 0;
    for (size_t i = 0; i < MP_ARRAY_SIZE(known); i++) {
        if (bits & known[i].bit) {
            names[count++] = MP_OBJ_NEW_QSTR(known[i].name);
        }
    }
    return mp_obj_new_tuple(count, names);
}

static mp_obj_t vm_info(mp_int_t number) {
    static const qstr fields[] = {
        MP_QSTR_id, MP_QSTR_name, MP_QSTR_state, MP_QSTR_vcpus, MP_QSTR_memory, MP_QSTR_capabilities,
        MP_QSTR_time_ms, MP_QSTR_steal_ms, MP_QSTR_exits, MP_QSTR_restarts, MP_QSTR_exit_code,
    };
    HV_VmInfo info;
    hv_checked(hv_call(HV_VM_INFO, number, (uint64_t)&info, 0, 0));
    mp_obj_t items[] = {
        mp_obj_new_int(info.number),
        mp_obj_new_str_from_cstr((const char *)info.name),
        state_name(info.state),
        mp_obj_new_int(info.vcpus),
        mp_obj_new_int_from_ull(info.memory),
        capability_names(info.capabilities),
        mp_obj_new_int_from_ull(info.time / TICKS_PER_MS),
        mp_obj_new_int_from_ull(info.steal / TICKS_PER_MS),
        mp_obj_new_int_from_ull(info.exits),
        mp_obj_new_int(info.restarts),
        mp_obj_new_int(info.exit_code),
    };
    return mp_obj_new_attrtuple(fields, MP_ARRAY_SIZE(items), items);
}

// vm(vm=0): what there is to know about a VM; without an argument about this one.
static mp_obj_t hv_vm_function(size_t n_args, const mp_obj_t *args) {
    return vm_info(n_args == 0 ? (mp_int_t)HV_VM_SELF : vm_number(args[0]));
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_vm_object, 0, 1, hv_vm_function);

// vms(): what there is to know about all VMs, in the order of the manifest.
static mp_obj_t hv_vms_function(void) {
    int64_t count = hv_checked(hv_call(HV_VM_LIST, 0, 0, 0, 0));
    mp_obj_t list = mp_obj_new_list(0, NULL);
    for (int64_t number = 1; number <= count; number++) {
        mp_obj_list_append(list, vm_info(number));
    }
    return list;
}
MP_DEFINE_CONST_FUN_OBJ_0(hv_vms_object, hv_vms_function);

// Argument strings one after another, each with its NUL.
static void join(vstr_t *joined, mp_obj_t args) {
    mp_obj_iter_buf_t buffer;
    mp_obj_t iterable = mp_getiter(args, &buffer), arg;
    while ((arg = mp_iternext(iterable)) != MP_OBJ_STOP_ITERATION) {
        size_t length;
        const char *text = mp_obj_str_get_data(arg, &length);
        if (memchr(text, 0, length) != NULL) {
            mp_raise_ValueError(MP_ERROR_TEXT("an argument has a NUL inside"));
        }
        vstr_add_strn(joined, text, length);
        vstr_add_byte(joined, 0);
    }
}

// spawn(name, args=None): starts a VM that does not run, and returns its number. Without arguments it gets those of
// the manifest.
static mp_obj_t hv_spawn_function(size_t n_args, const mp_obj_t *args) {
    size_t length;
    const char *name = mp_obj_str_get_data(args[0], &length);
    vstr_t joined;
    vstr_init(&joined, 64);
    if (n_args > 1 && args[1] != mp_const_none) {
        join(&joined, args[1]);
    }
    return mp_obj_new_int(hv_checked(
        hv_call(HV_VM_SPAWN, (uint64_t)name, length, (uint64_t)joined.buf, joined.len)));
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_spawn_object, 1, 2, hv_spawn_function);

static mp_obj_t act(uint64_t call, mp_obj_t vm) {
    hv_checked(hv_call(call, vm_number(vm), 0, 0, 0));
    return mp_const_none;
}

// kill(vm): ends a VM with exit code 137; it does not start again by itself.
static mp_obj_t hv_kill_function(mp_obj_t vm) {
    return act(HV_VM_KILL, vm);
}
MP_DEFINE_CONST_FUN_OBJ_1(hv_kill_object, hv_kill_function);

// pause(vm): keeps a VM from running.
static mp_obj_t hv_pause_function(mp_obj_t vm) {
    return act(HV_VM_PAUSE, vm);
}
MP_DEFINE_CONST_FUN_OBJ_1(hv_pause_object, hv_pause_function);

// resume(vm): lets it run again.
static mp_obj_t hv_resume_function(mp_obj_t vm) {
    return act(HV_VM_RESUME, vm);
}
MP_DEFINE_CONST_FUN_OBJ_1(hv_resume_object, hv_resume_function);

// wait(vm, timeout_ms=-1): waits until a VM has ended and does not start again by itself. Returns its exit code, or
// None if that takes longer.
static mp_obj_t hv_wait_function(size_t n_args, const mp_obj_t *args) {
    mp_int_t number = vm_number(args[0]);
    uint64_t deadline = n_args > 1 ? hv_deadline(args[1]) : NEVER;
    int64_t code = call_until(deadline, HV_VM_WAIT_EXIT, number, 0, 0);
    return code == -HV_EAGAIN ? mp_const_none : mp_obj_new_int(hv_checked(code));
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_wait_object, 1, 2, hv_wait_function);

// send(vm, data, timeout_ms=0): puts a message into the mailbox of a VM. OSError EAGAIN if there is no room for so long.
static mp_obj_t hv_send_function(size_t n_args, const mp_obj_t *args) {
    mp_int_t number = vm_number(args[0]);
    mp_buffer_info_t data;
    mp_get_buffer_raise(args[1], &data, MP_BUFFER_READ);
    uint64_t deadline = n_args > 2 ? hv_deadline(args[2]) : 0;
    hv_checked(call_until(deadline, HV_SEND, number, (uint64_t)data.buf, data.len));
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_send_object, 2, 3, hv_send_function);

// recv(timeout_ms=-1): takes the first message out of this VM's mailbox. Returns the number of the VM that sent it and its
// bytes, or None if none comes in this time.
static mp_obj_t hv_recv_function(size_t n_args, const mp_obj_t *args) {
    uint64_t deadline = n_args > 0 ? hv_deadline(args[0]) : NEVER;
    vstr_t message;
    vstr_init_len(&message, HV_MESSAGE_MAX);
    int64_t result = call_until(deadline, HV_RECEIVE, (uint64_t)message.buf, message.len, 0);
    if (result == -HV_EAGAIN) {
        vstr_clear(&message);
        return mp_const_none;
    }
    message.len = hv_checked(result) & 0xffffffff;
    mp_obj_t items[] = {mp_obj_new_int(result >> 32), mp_obj_new_bytes_from_vstr(&message)};
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hv_recv_object, 0, 1, hv_recv_function);
