//! The hypervisor: the story of a boot, from the first instruction in Rust to the last VM's end.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod hypervisor {
    use core::panic::PanicInfo;
    use vmm::{
        arch::{cpu, exceptions::Backtrace, power},
        boot,
        platform::Missing,
        vm,
    };

    /// What the entry code calls, on a stack, relocated, with the MMU off. `device_tree` is what the boot
    /// loader left in `X0`.
    #[unsafe(no_mangle)]
    extern "C" fn hypervisor_main(device_tree: usize) -> ! {
        // SAFETY: the entry code passes on what the boot loader left in X0.
        let tree = unsafe { boot::find_device_tree(device_tree) };
        boot::require_el2(tree);
        cpu::adopt(0);
        // SAFETY: nothing has run before.
        unsafe { boot::enable_mmu(tree) };

        let platform = boot::discover(tree);
        let board = match platform.required() {
            Ok(board) => board,
            Err(Missing::Bundle) => refuse(&Missing::Bundle),
            Err(missing) => power::fatal(format_args!("{missing}")),
        };
        boot::take_over(&board, &platform, tree);

        boot::start_vms(&board, &platform).unwrap_or_else(|error| refuse(&error));
        boot::log_memory(&board, tree);
        vm::run_core(boot::interrupts(&board, &platform))
    }

    /// Ends a run that no VM has started in.
    fn refuse(error: &dyn core::fmt::Display) -> ! {
        log::error!("{error}");
        power::end(boot::BAD_BUNDLE_EXIT_CODE)
    }

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        power::fatal(format_args!("{info}{}", Backtrace::here()))
    }
}

/// On the developer's machine there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("vmm runs on bare metal: use `cargo xtask run`");
    std::process::exit(1);
}
