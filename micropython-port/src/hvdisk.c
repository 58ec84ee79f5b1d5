// The module `hv`: disks as block devices, in upstream's standard and extended protocol (docs of `vfs.AbstractBlockDev`).
//
// What goes wrong while data is moved is returned as a negative error number, not raised: that is how file systems want
// it, and an exception would leave them in the middle of what they do.

#include <string.h>

#include "extmod/vfs.h"
#include "py/mperrno.h"
#include "py/runtime.h"

#include "modhv.h"
#include "tinyvmm.h"

#define SECTOR (HV_SECTOR_SIZE)

typedef struct {
    mp_obj_base_t base;
    uint64_t number;
    uint64_t sectors;
    uint8_t sector[SECTOR]; // one of which only a part is read or written
} disk_t;

// BlockDev(n=0): a disk of this VM, by its place in the manifest.
static mp_obj_t disk_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 1, false);
    uint64_t number = n_args == 0 ? 0 : (uint64_t)mp_obj_get_int(args[0]);
    uint64_t sectors = hv_checked(hv_call(HV_BLK_INFO, number, 0, 0, 0));
    disk_t *disk = mp_obj_malloc(disk_t, type);
    disk->number = number;
    disk->sectors = sectors;
    return MP_OBJ_FROM_PTR(disk);
}

// Reads or writes whole sectors, as many as it takes calls for. Returns 0 or a negative error number.
static int64_t transfer(disk_t *disk, uint64_t call, uint64_t sector, uint8_t *data, uint64_t count) {
    while (count > 0) {
        int64_t done = hv_call(call, disk->number, sector, (uint64_t)data, count);
        if (done < 0) {
            return done;
        }
        sector += done;
        data += done * SECTOR;
        count -= done;
    }
    return 0;
}

// Reads or writes a part of one sector.
static int64_t transfer_part(disk_t *disk, uint64_t call, uint64_t sector, size_t offset, uint8_t *data, size_t length) {
    int64_t result = transfer(disk, HV_BLK_READ, sector, disk->sector, 1);
    if (result < 0) {
        return result;
    }
    if (call == HV_BLK_READ) {
        memcpy(data, disk->sector + offset, length);
        return 0;
    }
    memcpy(disk->sector + offset, data, length);
    return transfer(disk, call, sector, disk->sector, 1);
}

// Reads or writes bytes from `offset` in a sector on: the rest of that sector, whole sectors, the start of another.
static int64_t transfer_bytes(disk_t *disk, uint64_t call, uint64_t sector, size_t offset, uint8_t *data, size_t length) {
    int64_t result = 0;
    while (length > 0 && result == 0) {
        size_t part = length;
        if (offset == 0 && length >= SECTOR) {
            part -= length % SECTOR;
            result = transfer(disk, call, sector, data, part / SECTOR);
        } else {
            part = MIN(length, SECTOR - offset);
            result = transfer_part(disk, call, sector, offset, data, part);
        }
        sector += (offset + part) / SECTOR;
        offset = (offset + part) % SECTOR;
        data += part;
        length -= part;
    }
    return result;
}

// The arguments of readblocks() and writeblocks(): sector, buffer, and where in the sector to begin.
static mp_obj_t transfer_function(uint64_t call, mp_uint_t access, size_t n_args, const mp_obj_t *args) {
    disk_t *disk = MP_OBJ_TO_PTR(args[0]);
    mp_int_t sector = mp_obj_get_int(args[1]), offset = n_args > 3 ? mp_obj_get_int(args[3]) : 0;
    mp_buffer_info_t buffer;
    mp_get_buffer_raise(args[2], &buffer, access);
    if (sector < 0 || offset < 0) {
        return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
    }
    int64_t result = transfer_bytes(disk, call, sector + offset / SECTOR, offset % SECTOR, buffer.buf, buffer.len);
    return MP_OBJ_NEW_SMALL_INT(result);
}

// readblocks(block, buffer, offset=0)
static mp_obj_t disk_readblocks(size_t n_args, const mp_obj_t *args) {
    return transfer_function(HV_BLK_READ, MP_BUFFER_WRITE, n_args, args);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(disk_readblocks_object, 3, 4, disk_readblocks);

// writeblocks(block, buffer, offset=0). Nothing has to be erased before.
static mp_obj_t disk_writeblocks(size_t n_args, const mp_obj_t *args) {
    return transfer_function(HV_BLK_WRITE, MP_BUFFER_READ, n_args, args);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(disk_writeblocks_object, 3, 4, disk_writeblocks);

// ioctl(operation, argument)
static mp_obj_t disk_ioctl(mp_obj_t self, mp_obj_t operation, mp_obj_t argument) {
    (void)argument;
    disk_t *disk = MP_OBJ_TO_PTR(self);
    switch (mp_obj_get_int(operation)) {
        case MP_BLOCKDEV_IOCTL_INIT:
        case MP_BLOCKDEV_IOCTL_BLOCK_ERASE:
            return MP_OBJ_NEW_SMALL_INT(0);
        case MP_BLOCKDEV_IOCTL_DEINIT:
        case MP_BLOCKDEV_IOCTL_SYNC:
            return MP_OBJ_NEW_SMALL_INT(hv_call(HV_BLK_FLUSH, disk->number, 0, 0, 0));
        case MP_BLOCKDEV_IOCTL_BLOCK_COUNT:
            return mp_obj_new_int_from_ull(disk->sectors);
        case MP_BLOCKDEV_IOCTL_BLOCK_SIZE:
            return MP_OBJ_NEW_SMALL_INT(SECTOR);
        default:
            return mp_const_none;
    }
}
static MP_DEFINE_CONST_FUN_OBJ_3(disk_ioctl_object, disk_ioctl);

static const mp_rom_map_elem_t disk_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_readblocks), MP_ROM_PTR(&disk_readblocks_object)},
    {MP_ROM_QSTR(MP_QSTR_writeblocks), MP_ROM_PTR(&disk_writeblocks_object)},
    {MP_ROM_QSTR(MP_QSTR_ioctl), MP_ROM_PTR(&disk_ioctl_object)},
};
static MP_DEFINE_CONST_DICT(disk_locals, disk_locals_table);

MP_DEFINE_CONST_OBJ_TYPE(
    hv_disk_type, MP_QSTR_BlockDev, MP_TYPE_FLAG_NONE, make_new, disk_make_new, locals_dict, &disk_locals);
