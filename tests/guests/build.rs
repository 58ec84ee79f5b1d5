//! Links the guests of the `virt` machine to its memory; `board` starts them.

/// Those guests.
const ON_BOARD: [&str; 2] = ["block", "network"];
/// Where such a guest is, which leaves room for the device tree.
const IMAGE: &str = "0x40080000";

fn main() {
    for guest in ON_BOARD {
        println!("cargo:rustc-link-arg-bin={guest}=--defsym=BOARD_IMAGE={IMAGE}");
        println!("cargo:rustc-link-arg-bin={guest}=--entry=board_start");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
