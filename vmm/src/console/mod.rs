//! The physical console, shared by all VMs, the log and the monitor.

mod escape;
mod input;
mod line;
mod output;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(target_os = "none")]
mod mini_uart;
#[cfg(target_os = "none")]
mod pl011;

use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};
use spin::Mutex;

pub use escape::{Escape, HELP, Key};
#[cfg(not(target_os = "none"))]
use host::Device;
pub use input::InputQueue;
pub use line::{Edit, Line};
#[cfg(target_os = "none")]
pub use mini_uart::init as init_mini_uart;
pub use output::{EXIT_LINE, LineBuffer, Output, Sink, Speaker, Style, TextWriter, Typed};
#[cfg(target_os = "none")]
pub use pl011::{Device, drain};

/// The console. Its lock is the one that all cores share.
static CONSOLE: Mutex<Output<Device>> = Mutex::new(Output::new(Device::NONE));

/// Finds the hypervisor's keys in what is received.
static ESCAPE: Mutex<Escape> = Mutex::new(Escape::new());

/// Input waits in the UART until there is room for it.
static HELD: AtomicBool = AtomicBool::new(false);

/// Rows and columns of the terminal, until someone says otherwise: what every terminal has had since the VT100.
static SIZE: Mutex<(u16, u16)> = Mutex::new((24, 80));

/// Sets the size of the terminal from `ROWSxCOLUMNS`. Returns whether it was one.
pub fn set_size(size: &str) -> bool {
    let Some((rows, columns)) = size.split_once('x') else { return false };
    let (Ok(rows), Ok(columns)) = (rows.parse(), columns.parse()) else { return false };
    *SIZE.lock() = (rows, columns);
    true
}

/// Rows and columns of the terminal.
#[must_use]
pub fn size() -> (u16, u16) {
    *SIZE.lock()
}

/// Starts the console.
#[cfg(target_os = "none")]
pub fn init(device: Device) {
    *CONSOLE.lock().sink() = device;
}

/// Chooses how VMs' output is told apart.
pub fn set_style(style: Style) {
    CONSOLE.lock().set_style(style);
}

/// Loses what VMs write from now on, or sends it again.
pub fn mute_guests(muted: bool) {
    CONSOLE.lock().mute(muted);
}

/// Sends what a VM wrote.
pub fn write_guest(speaker: Speaker<'_>, line: &mut LineBuffer, bytes: &[u8]) {
    CONSOLE.lock().write_guest(speaker, line, bytes);
}

/// Sends what a VM wrote as text: a line feed also returns the carriage.
pub fn write_guest_text(speaker: Speaker<'_>, line: &mut LineBuffer, text: &[u8]) {
    CONSOLE.lock().write_guest_text(speaker, line, text);
}

/// Shows a VM's unfinished line as it is.
pub fn flush(speaker: Speaker<'_>, line: &mut LineBuffer) {
    CONSOLE.lock().flush(speaker, line);
}

/// Writes lines of the hypervisor's own.
pub fn write_own(message: fmt::Arguments<'_>) {
    CONSOLE.lock().write_own(message);
}

/// Writes the line that says how the run ended, see [`EXIT_LINE`].
pub fn write_exit_line(code: u8) {
    CONSOLE.lock().write_exit_line(code);
}

/// Opens the hypervisor's own prompt, or opens it again after a line was carried out.
pub fn open_prompt() {
    CONSOLE.lock().open_prompt();
}

/// Takes the prompt away.
pub fn close_prompt() {
    CONSOLE.lock().close_prompt();
}

/// Takes what is typed at the prompt.
pub fn type_at_prompt(byte: u8) -> Typed {
    CONSOLE.lock().type_at_prompt(byte)
}

/// Makes Ctrl-A special, or a byte like any other.
pub fn enable_escape(enabled: bool) {
    ESCAPE.lock().enable(enabled);
}

/// Takes what was received, as much as there is and `bytes` holds; returns how much. When there is less, the UART
/// interrupts as soon as there is more.
pub fn receive(bytes: &mut [u8]) -> usize {
    HELD.store(false, Ordering::SeqCst);
    CONSOLE.lock().sink().receive(bytes)
}

/// The key that a received byte is or completes.
pub fn key(byte: u8) -> Option<Key> {
    ESCAPE.lock().key(byte)
}

/// Whether every byte is one for whoever has the input.
pub fn is_transparent() -> bool {
    ESCAPE.lock().is_off()
}

/// Leaves input in the UART, without an interrupt, until the next call of [`receive`].
pub fn hold_input() {
    HELD.store(true, Ordering::SeqCst);
    CONSOLE.lock().sink().hold();
}

/// Whether input waits in the UART because there was no room for it.
#[must_use]
pub fn is_input_held() -> bool {
    HELD.load(Ordering::SeqCst)
}

/// Everywhere that someone may be looking.
#[cfg(target_os = "none")]
struct Everywhere(Device, mini_uart::MiniUart);

#[cfg(target_os = "none")]
impl Sink for Everywhere {
    fn put(&mut self, byte: u8) {
        self.0.put(byte);
        self.1.put(byte);
    }
}

/// Reports a failure and the exit code that goes with it on every UART, whoever holds the console.
///
/// # Safety
/// The caller does not return to what it interrupted.
#[cfg(target_os = "none")]
pub unsafe fn emergency(message: fmt::Arguments<'_>, code: u8) {
    // SAFETY: the caller's promise.
    let console = unsafe { Device::emergency() };
    let mut output = Output::new(Everywhere(console, mini_uart::MiniUart::find()));
    output.write_own(format_args!("\n{message}\n"));
    output.write_exit_line(code);
}
