// The files that the VM was given.

#include "extmod/vfs.h"
#include "extmod/vfs_rom.h"
#include "py/objarray.h"
#include "py/runtime.h"

#include "tinyvmm.h"
#include "port.h"

// An object over the ROM image, from which the file system reads in place.
static mp_obj_t rom_bytes(HV_Rom rom) {
    return mp_obj_new_memoryview('B', rom.length, (void *)rom.start);
}

void port_mount_rom(void) {
    HV_Rom rom = hv_rom();
    if (rom.start == NULL) {
        return;
    }
    mp_obj_t bytes = rom_bytes(rom);
    mp_obj_t vfs = MP_OBJ_TYPE_GET_SLOT(&mp_type_vfs_rom, make_new)(&mp_type_vfs_rom, 1, 0, &bytes);
    mp_obj_t args[] = {vfs, MP_OBJ_NEW_QSTR(MP_QSTR__slash_)};
    mp_vfs_mount(MP_ARRAY_SIZE(args), args, (mp_map_t *)&mp_const_empty_map);
}
