// Open files of the VM's file system.

#include <string.h>

#include "py/gc.h"
#include "py/mperrno.h"
#include "py/runtime.h"
#include "py/stream.h"

#include "port.h"
#include "tinyvmm.h"

// What the interpreter reads of a script at a time.
#define READER_BUFFER_SIZE (512)

typedef struct {
    mp_obj_base_t base;
    int64_t number; // -1: closed
} file_t;

static const mp_obj_type_t fileio_type;
static const mp_obj_type_t textio_type;

uint64_t port_file_flags(const char *mode) {
    uint64_t flags = 0;
    for (; *mode != '\0'; mode++) {
        switch (*mode) {
            case 'r':
                flags = HV_OPEN_READ;
                break;
            case 'w':
                flags = HV_OPEN_WRITE | HV_OPEN_CREATE | HV_OPEN_TRUNCATE;
                break;
            case 'x':
                flags = HV_OPEN_WRITE | HV_OPEN_CREATE | HV_OPEN_EXCLUSIVE;
                break;
            case 'a':
                flags = HV_OPEN_WRITE | HV_OPEN_CREATE | HV_OPEN_APPEND;
                break;
            case '+':
                flags |= HV_OPEN_READ | HV_OPEN_WRITE;
                break;
            case 'b':
            case 't':
                break;
            default:
                mp_raise_ValueError(MP_ERROR_TEXT("invalid mode"));
        }
    }
    return flags;
}

// Files that nobody can reach any more may still be open: the collector closes them.
int64_t port_open_retrying(const char *path, size_t length, uint64_t flags) {
    int64_t number = hv_call(HV_FILE_OPEN, (uint64_t)path, length, flags, 0);
    if (number == -HV_EMFILE) {
        gc_collect();
        number = hv_call(HV_FILE_OPEN, (uint64_t)path, length, flags, 0);
    }
    return number;
}

mp_obj_t port_file_open(const char *path, size_t length, uint64_t flags, const char *mode) {
    const mp_obj_type_t *type = strchr(mode, 'b') != NULL ? &fileio_type : &textio_type;
    file_t *file = mp_obj_malloc_with_finaliser(file_t, type);
    file->number = -1;
    int64_t number = port_open_retrying(path, length, flags);
    if (number < 0) {
        mp_raise_OSError(-number);
    }
    file->number = number;
    return MP_OBJ_FROM_PTR(file);
}

// The result of a call as a stream has it.
static mp_uint_t stream_result(int64_t result, int *error) {
    if (result < 0) {
        *error = -result;
        return MP_STREAM_ERROR;
    }
    return result;
}

static mp_uint_t file_read(mp_obj_t self_in, void *buffer, mp_uint_t size, int *error) {
    file_t *self = MP_OBJ_TO_PTR(self_in);
    return stream_result(hv_call(HV_FILE_READ, self->number, (uint64_t)buffer, size, 0), error);
}

// All of it, as far as there is room: callers take a short count for the end.
static mp_uint_t file_write(mp_obj_t self_in, const void *buffer, mp_uint_t size, int *error) {
    file_t *self = MP_OBJ_TO_PTR(self_in);
    mp_uint_t done = 0;
    do {
        int64_t count = hv_call(HV_FILE_WRITE, self->number, (uint64_t)buffer + done, size - done, 0);
        if (count < 0) {
            return stream_result(count, error);
        }
        done += count;
    } while (done < size);
    return done;
}

static mp_uint_t file_seek(file_t *self, struct mp_stream_seek_t *seek, int *error) {
    int64_t position = hv_call(HV_FILE_SEEK, self->number, seek->offset, seek->whence, 0);
    if (position >= 0) {
        seek->offset = position;
    }
    return stream_result(position < 0 ? position : 0, error);
}

static mp_uint_t file_close(file_t *self) {
    if (self->number >= 0) {
        hv_call(HV_FILE_CLOSE, self->number, 0, 0, 0);
        self->number = -1;
    }
    return 0;
}

static mp_uint_t file_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t argument, int *error) {
    file_t *self = MP_OBJ_TO_PTR(self_in);
    switch (request) {
        case MP_STREAM_SEEK:
            return file_seek(self, (struct mp_stream_seek_t *)argument, error);
        case MP_STREAM_FLUSH:
            return stream_result(self->number < 0 ? -HV_EBADF : 0, error);
        case MP_STREAM_CLOSE:
            return file_close(self);
        case MP_STREAM_POLL:
            return argument & (MP_STREAM_POLL_RD | MP_STREAM_POLL_WR);
        case MP_STREAM_GET_BUFFER_SIZE:
            return READER_BUFFER_SIZE;
        default:
            *error = MP_EINVAL;
            return MP_STREAM_ERROR;
    }
}

// truncate(size=None): cuts the file off at its position, or at a size. Returns the size.
static mp_obj_t file_truncate(size_t n_args, const mp_obj_t *args) {
    file_t *self = MP_OBJ_TO_PTR(args[0]);
    int64_t size = n_args > 1 && args[1] != mp_const_none
        ? mp_obj_get_int(args[1]) : hv_call(HV_FILE_SEEK, self->number, 0, HV_SEEK_CUR, 0);
    int64_t result = size < 0 ? size : hv_call(HV_FILE_TRUNCATE, self->number, size, 0, 0);
    if (result < 0) {
        mp_raise_OSError(n_args > 1 && size < 0 ? MP_EINVAL : -result);
    }
    return mp_obj_new_int(size);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(file_truncate_obj, 1, 2, file_truncate);

static const mp_rom_map_elem_t file_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&mp_stream_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_readinto), MP_ROM_PTR(&mp_stream_readinto_obj)},
    {MP_ROM_QSTR(MP_QSTR_readline), MP_ROM_PTR(&mp_stream_unbuffered_readline_obj)},
    {MP_ROM_QSTR(MP_QSTR_readlines), MP_ROM_PTR(&mp_stream_unbuffered_readlines_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&mp_stream_write_obj)},
    {MP_ROM_QSTR(MP_QSTR_seek), MP_ROM_PTR(&mp_stream_seek_obj)},
    {MP_ROM_QSTR(MP_QSTR_tell), MP_ROM_PTR(&mp_stream_tell_obj)},
    {MP_ROM_QSTR(MP_QSTR_truncate), MP_ROM_PTR(&file_truncate_obj)},
    {MP_ROM_QSTR(MP_QSTR_flush), MP_ROM_PTR(&mp_stream_flush_obj)},
    {MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR___enter__), MP_ROM_PTR(&mp_identity_obj)},
    {MP_ROM_QSTR(MP_QSTR___exit__), MP_ROM_PTR(&mp_stream___exit___obj)},
};
static MP_DEFINE_CONST_DICT(file_locals, file_locals_table);

static const mp_stream_p_t fileio_protocol = {
    .read = file_read,
    .write = file_write,
    .ioctl = file_ioctl,
};

static MP_DEFINE_CONST_OBJ_TYPE(
    fileio_type,
    MP_QSTR_FileIO,
    MP_TYPE_FLAG_ITER_IS_STREAM,
    protocol, &fileio_protocol,
    locals_dict, &file_locals
    );

static const mp_stream_p_t textio_protocol = {
    .read = file_read,
    .write = file_write,
    .ioctl = file_ioctl,
    .is_text = true,
};

static MP_DEFINE_CONST_OBJ_TYPE(
    textio_type,
    MP_QSTR_TextIOWrapper,
    MP_TYPE_FLAG_ITER_IS_STREAM,
    protocol, &textio_protocol,
    locals_dict, &file_locals
    );
