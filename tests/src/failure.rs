//! When the hypervisor itself is broken, it says so and stops.
//!
//! A good hypervisor does not fail, so these boot a damaged one: an image in which the first instructions
//! of the world switch are others.

use anyhow::{Context, Result};
use elf::{ElfBytes, endian::LittleEndian};
use libtest_mimic::Trial;
use xtask::paths::target_dir;

use crate::boot::{Vm, bundle, command_for, products, run_command};
use crate::console::Console;
use crate::matrix::board;
use crate::test;

/// Exit code of a failed hypervisor.
const FATAL: u8 = 101;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("failure::undefined_instruction", undefined_instruction),
        test("failure::stack_overflow", stack_overflow),
        test("failure::write_to_code", write_to_code),
        test("failure::execution_of_data", execution_of_data),
    ]
}

fn undefined_instruction() -> Result<()> {
    const UDF: u32 = 0;
    let console = boot_damaged(&[UDF])?;
    console.shows("[tinyvmm error] synchronous exception in the hypervisor: undefined instruction")?;
    console.shows("\n  x28 ")?.shows("\n  sp ")?.shows("backtrace (offsets in the image):\n    0x")?;
    let at = format!("\n    {:#x}\n", symbol("enter_guest")?);
    console.shows(&at)?.ends_with(FATAL).map(drop)
}

/// The guard page stops a stack that grows without end, and the report has a stack of its own.
fn stack_overflow() -> Result<()> {
    const SUB_SP_4080: u32 = 0xd13f_c3ff;
    const STR_XZR_SP: u32 = 0xf900_03ff;
    const BACK_TO_START: u32 = 0x17ff_fffe;
    boot_damaged(&[SUB_SP_4080, STR_XZR_SP, BACK_TO_START])?
        .shows("data abort on a write, translation fault at level 3")?
        .ends_with(FATAL)
        .map(drop)
}

fn write_to_code() -> Result<()> {
    const ADR_X0_HERE: u32 = 0x1000_0000;
    const STR_X0_X0: u32 = 0xf900_0000;
    boot_damaged(&[ADR_X0_HERE, STR_X0_X0])?
        .shows("data abort on a write, permission fault at level 3")?
        .ends_with(FATAL)
        .map(drop)
}

fn execution_of_data() -> Result<()> {
    const MOV_X0_SP: u32 = 0x9100_03e0;
    const BR_X0: u32 = 0xd61f_0000;
    boot_damaged(&[MOV_X0_SP, BR_X0])?
        .shows("instruction abort, permission fault at level 3")?
        .ends_with(FATAL)
        .map(drop)
}

/// Boots a hypervisor that executes `code` instead of entering a guest.
fn boot_damaged(code: &[u32]) -> Result<Console> {
    let mut image = std::fs::read(products()?.hypervisor())?;
    let bytes: Vec<u8> = code.iter().flat_map(|instruction| instruction.to_le_bytes()).collect();
    let at = usize::try_from(symbol("enter_guest")?)?;
    image.get_mut(at..at + bytes.len()).context("enter_guest is not in the image")?.copy_from_slice(&bytes);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("damaged.img");
    std::fs::write(&path, image)?;
    let (command, _files) = command_for(&path, &board(1), &bundle(&[Vm::new("a", "witness.elf")])?, "")?;
    run_command(command, b"")
}

/// The address of a symbol of the hypervisor, which is its offset in the image.
fn symbol(name: &str) -> Result<u64> {
    let path = target_dir()?.join("aarch64-unknown-none-softfloat/release/vmm");
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(&bytes)?;
    let (symbols, names) = elf.symbol_table()?.context("the hypervisor has no symbols")?;
    let symbol = symbols
        .iter()
        .find(|symbol| usize::try_from(symbol.st_name).ok().and_then(|at| names.get(at).ok()) == Some(name));
    symbol.map(|symbol| symbol.st_value).with_context(|| format!("the hypervisor has no symbol {name}"))
}
