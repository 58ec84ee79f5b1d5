// The VM's file system, which the hypervisor keeps (group 0x20 of its calls), as one that can be mounted.

#include <string.h>

#include "extmod/vfs.h"
#include "extmod/vfs_rom.h"
#include "py/builtin.h"
#include "py/mperrno.h"
#include "py/objstr.h"
#include "py/runtime.h"

#include "port.h"
#include "tinyvmm.h"

typedef struct {
    mp_obj_base_t base;
    mp_obj_t rom; // the mounted ROM image, or None
    size_t cwd_length;
    char cwd[HV_PATH_MAX];
} vfs_t;

// An absolute path without "." and "..", with room for a NUL behind it.
typedef struct {
    size_t length;
    char bytes[HV_PATH_MAX + 1];
} path_t;

// OSError for a negative result of a hypercall.
static int64_t checked(int64_t result) {
    if (result < 0) {
        mp_raise_OSError(-result);
    }
    return result;
}

static int64_t call(uint64_t number, const path_t *path, uint64_t third, uint64_t fourth) {
    return hv_call(number, (uint64_t)path->bytes, path->length, third, fourth);
}

// Takes the last name away.
static void path_up(path_t *path) {
    while (path->length > 1 && path->bytes[--path->length] != '/') {
    }
}

static bool path_add(path_t *path, const char *name, size_t length) {
    bool slash = path->length > 1;
    if (path->length + slash + length > HV_PATH_MAX) {
        return false;
    }
    path->bytes[path->length] = '/';
    memcpy(path->bytes + path->length + slash, name, length);
    path->length += slash + length;
    return true;
}

// Makes an absolute path of one that may start at the current directory. Returns false if it is too long.
static bool path_resolve(const vfs_t *self, const char *text, path_t *path) {
    path->length = text[0] == '/' ? 1 : self->cwd_length;
    memcpy(path->bytes, self->cwd, path->length);
    while (*text != '\0') {
        const char *end = strchr(text, '/');
        size_t length = end == NULL ? strlen(text) : (size_t)(end - text);
        if (length == 2 && memcmp(text, "..", 2) == 0) {
            path_up(path);
        } else if (length != 0 && !(length == 1 && text[0] == '.') && !path_add(path, text, length)) {
            return false;
        }
        text += length + (end != NULL);
    }
    return true;
}

static path_t path_of(const vfs_t *self, mp_obj_t text) {
    path_t path;
    if (!path_resolve(self, mp_obj_str_get_str(text), &path)) {
        mp_raise_OSError(MP_ENAMETOOLONG);
    }
    return path;
}

// Whether this is a file of the ROM image: nothing can take its place, so that the hypervisor need not be asked.
static bool is_in_rom(const vfs_t *self, path_t *path) {
    size_t size;
    const uint8_t *data;
    path->bytes[path->length] = '\0';
    return self->rom != mp_const_none && mp_vfs_rom_search_filesystem(
        MP_OBJ_TO_PTR(self->rom), path->bytes, &size, &data) == MP_IMPORT_STAT_FILE;
}

static mp_import_stat_t vfs_import_stat(void *self, const char *text) {
    path_t path;
    HV_Status status;
    if (!path_resolve(self, text, &path)) {
        return MP_IMPORT_STAT_NO_EXIST;
    }
    if (is_in_rom(self, &path)) {
        return MP_IMPORT_STAT_FILE;
    }
    if (call(HV_FILE_STAT, &path, (uint64_t)&status, 0) < 0) {
        return MP_IMPORT_STAT_NO_EXIST;
    }
    return status.kind == HV_KIND_DIRECTORY ? MP_IMPORT_STAT_DIR : MP_IMPORT_STAT_FILE;
}

static mp_obj_t vfs_mount(mp_obj_t self, mp_obj_t readonly, mp_obj_t mkfs) {
    (void)self;
    (void)readonly;
    (void)mkfs;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(vfs_mount_obj, vfs_mount);

static mp_obj_t vfs_umount(mp_obj_t self) {
    (void)self;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(vfs_umount_obj, vfs_umount);

// The files of the ROM image are read, and run, where they lie.
static mp_obj_t vfs_open(mp_obj_t self_in, mp_obj_t name, mp_obj_t mode) {
    vfs_t *self = MP_OBJ_TO_PTR(self_in);
    path_t path = path_of(self, name);
    uint64_t flags = port_file_flags(mp_obj_str_get_str(mode));
    if (flags == HV_OPEN_READ && is_in_rom(self, &path)) {
        mp_obj_t in_rom = mp_obj_new_str_copy(&mp_type_str, (const byte *)path.bytes, path.length);
        return mp_vfs_rom_file_open(self->rom, in_rom, mode);
    }
    return port_file_open(path.bytes, path.length, flags, mp_obj_str_get_str(mode));
}
static MP_DEFINE_CONST_FUN_OBJ_3(vfs_open_obj, vfs_open);

static mp_obj_t vfs_chdir(mp_obj_t self_in, mp_obj_t name) {
    vfs_t *self = MP_OBJ_TO_PTR(self_in);
    path_t path = path_of(self, name);
    HV_Status status;
    checked(call(HV_FILE_STAT, &path, (uint64_t)&status, 0));
    if (status.kind != HV_KIND_DIRECTORY) {
        mp_raise_OSError(MP_ENOTDIR);
    }
    memcpy(self->cwd, path.bytes, path.length);
    self->cwd_length = path.length;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(vfs_chdir_obj, vfs_chdir);

static mp_obj_t vfs_getcwd(mp_obj_t self_in) {
    vfs_t *self = MP_OBJ_TO_PTR(self_in);
    return mp_obj_new_str(self->cwd, self->cwd_length);
}
static MP_DEFINE_CONST_FUN_OBJ_1(vfs_getcwd_obj, vfs_getcwd);

static mp_obj_t vfs_mkdir(mp_obj_t self, mp_obj_t name) {
    path_t path = path_of(MP_OBJ_TO_PTR(self), name);
    checked(call(HV_FILE_MKDIR, &path, 0, 0));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(vfs_mkdir_obj, vfs_mkdir);

static mp_obj_t vfs_remove(mp_obj_t self, mp_obj_t name) {
    path_t path = path_of(MP_OBJ_TO_PTR(self), name);
    checked(call(HV_FILE_UNLINK, &path, false, 0));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(vfs_remove_obj, vfs_remove);

static mp_obj_t vfs_rmdir(mp_obj_t self, mp_obj_t name) {
    path_t path = path_of(MP_OBJ_TO_PTR(self), name);
    checked(call(HV_FILE_UNLINK, &path, true, 0));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(vfs_rmdir_obj, vfs_rmdir);

static mp_obj_t vfs_rename(mp_obj_t self, mp_obj_t old_name, mp_obj_t new_name) {
    path_t from = path_of(MP_OBJ_TO_PTR(self), old_name);
    path_t to = path_of(MP_OBJ_TO_PTR(self), new_name);
    checked(call(HV_FILE_RENAME, &from, (uint64_t)to.bytes, to.length));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(vfs_rename_obj, vfs_rename);

static mp_obj_t mode_of(uint32_t kind) {
    return MP_OBJ_NEW_SMALL_INT(kind == HV_KIND_DIRECTORY ? MP_S_IFDIR : MP_S_IFREG);
}

static mp_obj_t vfs_stat(mp_obj_t self, mp_obj_t name) {
    path_t path = path_of(MP_OBJ_TO_PTR(self), name);
    HV_Status status;
    checked(call(HV_FILE_STAT, &path, (uint64_t)&status, 0));
    mp_obj_t time = mp_obj_new_int_from_ull(status.modified / 1000000000);
    mp_obj_t zero = MP_OBJ_NEW_SMALL_INT(0);
    mp_obj_t items[] = {
        mode_of(status.kind), mp_obj_new_int_from_ull(status.inode), zero, zero, zero, zero,
        mp_obj_new_int_from_ull(status.size), time, time, time,
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_2(vfs_stat_obj, vfs_stat);

static mp_obj_t vfs_statvfs(mp_obj_t self, mp_obj_t name) {
    (void)self;
    (void)name;
    HV_Space space;
    checked(hv_call(HV_FILE_SPACE, (uint64_t)&space, 0, 0, 0));
    mp_obj_t block_size = mp_obj_new_int_from_ull(space.block_size);
    mp_obj_t free = mp_obj_new_int_from_ull(space.blocks_free);
    mp_obj_t nodes_free = mp_obj_new_int_from_ull(space.nodes_free);
    mp_obj_t items[] = {
        block_size, block_size, mp_obj_new_int_from_ull(space.blocks), free, free,
        mp_obj_new_int_from_ull(space.nodes), nodes_free, nodes_free,
        MP_OBJ_NEW_SMALL_INT(0), MP_OBJ_NEW_SMALL_INT(HV_NAME_MAX),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_2(vfs_statvfs_obj, vfs_statvfs);

// What ilistdir() goes through.
typedef struct {
    mp_obj_base_t base;
    mp_fun_1_t iternext;
    mp_fun_1_t finaliser;
    int64_t directory; // -1: at its end
    bool is_str;
} listing_t;

static mp_obj_t listing_close(mp_obj_t self_in) {
    listing_t *self = MP_OBJ_TO_PTR(self_in);
    if (self->directory >= 0) {
        hv_call(HV_FILE_CLOSE, self->directory, 0, 0, 0);
        self->directory = -1;
    }
    return mp_const_none;
}

static mp_obj_t listing_next(mp_obj_t self_in) {
    listing_t *self = MP_OBJ_TO_PTR(self_in);
    HV_Entry entry;
    if (self->directory < 0 || checked(hv_call(HV_FILE_READDIR, self->directory, (uint64_t)&entry, 0, 0)) == 0) {
        listing_close(self_in);
        return MP_OBJ_STOP_ITERATION;
    }
    mp_obj_t (*new_name)(const char *, size_t) = self->is_str ? mp_obj_new_str : (mp_obj_t (*)(const char *, size_t))mp_obj_new_bytes;
    mp_obj_t items[] = {
        new_name((const char *)entry.name, entry.name_length), mode_of(entry.kind),
        mp_obj_new_int_from_ull(entry.inode), mp_obj_new_int_from_ull(entry.size),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}

static mp_obj_t vfs_ilistdir(mp_obj_t self, mp_obj_t name) {
    path_t path = path_of(MP_OBJ_TO_PTR(self), name);
    HV_Status status;
    checked(call(HV_FILE_STAT, &path, (uint64_t)&status, 0));
    if (status.kind != HV_KIND_DIRECTORY) {
        mp_raise_OSError(MP_ENOTDIR);
    }
    listing_t *listing = mp_obj_malloc_with_finaliser(listing_t, &mp_type_polymorph_iter_with_finaliser);
    listing->iternext = listing_next;
    listing->finaliser = listing_close;
    listing->is_str = mp_obj_get_type(name) == &mp_type_str;
    listing->directory = -1;
    listing->directory = checked(port_open_retrying(path.bytes, path.length, HV_OPEN_READ));
    return MP_OBJ_FROM_PTR(listing);
}
static MP_DEFINE_CONST_FUN_OBJ_2(vfs_ilistdir_obj, vfs_ilistdir);

static const mp_rom_map_elem_t vfs_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_mount), MP_ROM_PTR(&vfs_mount_obj)},
    {MP_ROM_QSTR(MP_QSTR_umount), MP_ROM_PTR(&vfs_umount_obj)},
    {MP_ROM_QSTR(MP_QSTR_open), MP_ROM_PTR(&vfs_open_obj)},
    {MP_ROM_QSTR(MP_QSTR_chdir), MP_ROM_PTR(&vfs_chdir_obj)},
    {MP_ROM_QSTR(MP_QSTR_getcwd), MP_ROM_PTR(&vfs_getcwd_obj)},
    {MP_ROM_QSTR(MP_QSTR_ilistdir), MP_ROM_PTR(&vfs_ilistdir_obj)},
    {MP_ROM_QSTR(MP_QSTR_mkdir), MP_ROM_PTR(&vfs_mkdir_obj)},
    {MP_ROM_QSTR(MP_QSTR_remove), MP_ROM_PTR(&vfs_remove_obj)},
    {MP_ROM_QSTR(MP_QSTR_rename), MP_ROM_PTR(&vfs_rename_obj)},
    {MP_ROM_QSTR(MP_QSTR_rmdir), MP_ROM_PTR(&vfs_rmdir_obj)},
    {MP_ROM_QSTR(MP_QSTR_stat), MP_ROM_PTR(&vfs_stat_obj)},
    {MP_ROM_QSTR(MP_QSTR_statvfs), MP_ROM_PTR(&vfs_statvfs_obj)},
};
static MP_DEFINE_CONST_DICT(vfs_locals, vfs_locals_table);

static const mp_vfs_proto_t vfs_protocol = {
    .import_stat = vfs_import_stat,
};

static MP_DEFINE_CONST_OBJ_TYPE(
    vfs_type,
    MP_QSTR_VfsTiny,
    MP_TYPE_FLAG_NONE,
    protocol, &vfs_protocol,
    locals_dict, &vfs_locals
    );

mp_obj_t port_vfs_new(mp_obj_t rom) {
    vfs_t *self = mp_obj_malloc(vfs_t, &vfs_type);
    self->rom = rom;
    self->cwd_length = 1;
    self->cwd[0] = '/';
    return MP_OBJ_FROM_PTR(self);
}
