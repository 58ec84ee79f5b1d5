// The files that the VM was given, and those that it writes.

#include "extmod/vfs.h"
#include "extmod/vfs_rom.h"
#include "py/objarray.h"
#include "py/runtime.h"

#include "tinyvmm.h"
#include "port.h"

// The file system in the ROM image, which is read in place; None if there is none.
static mp_obj_t rom_vfs(void) {
    HV_Rom rom = hv_rom();
    if (rom.start == NULL) {
        return mp_const_none;
    }
    mp_obj_t bytes = mp_obj_new_memoryview('B', rom.length, (void *)rom.start);
    return MP_OBJ_TYPE_GET_SLOT(&mp_type_vfs_rom, make_new)(&mp_type_vfs_rom, 1, 0, &bytes);
}

static void mount(mp_obj_t vfs, mp_obj_t path) {
    mp_obj_t args[] = {vfs, path};
    mp_vfs_mount(MP_ARRAY_SIZE(args), args, (mp_map_t *)&mp_const_empty_map);
}

void port_mount_files(void) {
    mp_obj_t rom = rom_vfs();
    mp_obj_list_append(mp_sys_path, MP_OBJ_NEW_QSTR(MP_QSTR__slash_lib));
    if (rom != mp_const_none) {
        mount(rom, MP_OBJ_NEW_QSTR(MP_QSTR__slash_rom));
        mp_obj_list_append(mp_sys_path, MP_OBJ_NEW_QSTR(MP_QSTR__slash_rom));
        mp_obj_list_append(mp_sys_path, MP_OBJ_NEW_QSTR(MP_QSTR__slash_rom_slash_lib));
    }
    mount(port_vfs_new(rom), MP_OBJ_NEW_QSTR(MP_QSTR__slash_));
}
