//! What boots a board before TinyVMM does: the Raspberry Pi's firmware, and U-Boot for QEMU's `virt`.

use crate::binary_package::BinaryPackage;
use crate::failure::Failure;
use anyhow::{Context, Result};
use std::env;
use std::path::PathBuf;

/// The files for a Raspberry Pi, which its maker allows everyone to pass on with their licence.
const RASPBERRY_PI: BinaryPackage = BinaryPackage {
    title: "the Raspberry Pi's firmware",
    package: "raspi-firmware",
    version: "1.20240424",
    component: "non-free-firmware",
    sha256: "f95a3d3c41df10bac33580be91b595efa1e126ad5e4b7eca75ce26fbbc69af06",
};
/// Where they are in the package.
const RASPBERRY_PI_FILES: &str = "usr/lib/raspi-firmware";
/// Their licence there.
const RASPBERRY_PI_LICENCE: &str = "usr/share/doc/raspi-firmware/copyright";

/// U-Boot, for tests of disks that it boots.
const U_BOOT: BinaryPackage = BinaryPackage {
    title: "U-Boot for QEMU",
    package: "u-boot-qemu",
    version: "2025.01",
    component: "main",
    sha256: "a3751b5d36a411457b2e7a2834cdce0e5d40493e6588a65d51c5603740a0c71c",
};
/// The image for `virt` in the package.
const U_BOOT_IMAGE: &str = "usr/lib/u-boot/qemu_arm64/u-boot.bin";
/// Names another U-Boot for QEMU's `virt`.
pub const U_BOOT_VARIABLE: &str = "U_BOOT_QEMU";

/// The directory with the Raspberry Pi's firmware, and its licence. Fetched if need be.
pub fn raspberry_pi() -> Result<(PathBuf, PathBuf)> {
    let directory = fetched(&RASPBERRY_PI).map_err(|error| Failure::missing_tools(by_hand(&error)))?;
    Ok((directory.join(RASPBERRY_PI_FILES), directory.join(RASPBERRY_PI_LICENCE)))
}

/// U-Boot for QEMU's `virt`. Fetched if need be.
pub fn u_boot() -> Result<PathBuf> {
    if let Some(file) = env::var_os(U_BOOT_VARIABLE) {
        return std::path::absolute(file).with_context(|| format!("{U_BOOT_VARIABLE} is not a usable path"));
    }
    let directory = fetched(&U_BOOT).map_err(|error| Failure::missing_tools(u_boot_by_hand(&error)))?;
    Ok(directory.join(U_BOOT_IMAGE))
}

/// Fetches what tests need of both.
pub fn ensure() -> Result<()> {
    raspberry_pi()?;
    u_boot().map(drop)
}

fn fetched(package: &BinaryPackage) -> Result<PathBuf> {
    let directory = package.directory()?;
    if !directory.is_dir() {
        package.fetch()?;
    }
    Ok(directory)
}

fn by_hand(error: &anyhow::Error) -> String {
    format!(
        "cannot fetch the Raspberry Pi's firmware (Debian's package {}, {}) with apt: {error:#}\n\
         Copy start4.elf and fixup4.dat, from the boot partition of a Raspberry Pi 4 or from the project \
         raspberrypi/firmware, to a directory and name that:\n  --firmware DIRECTORY",
        RASPBERRY_PI.package, RASPBERRY_PI.version
    )
}

fn u_boot_by_hand(error: &anyhow::Error) -> String {
    format!(
        "cannot fetch U-Boot (Debian's package {}, {}) with apt: {error:#}\n\
         Build U-Boot's qemu_arm64_defconfig and run:\n  export {U_BOOT_VARIABLE}=/path/to/u-boot.bin",
        U_BOOT.package, U_BOOT.version
    )
}
