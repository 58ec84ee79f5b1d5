//! Text output: `print!` and `println!`.

use core::fmt::{self, Write};

use crate::hypercall::{self, Errno};

/// Prints to the console as `std`'s macro does.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::console::print(::core::format_args!($($argument)*))
    };
}

/// Prints a line to the console as `std`'s macro does.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => {
        $crate::print!("{}\n", ::core::format_args!($($argument)*))
    };
}

/// Prints formatted text, by a single hypercall where it fits in the buffer.
///
/// Output that the hypervisor refuses is dropped: there is no other place to report to.
pub fn print(arguments: fmt::Arguments) {
    let mut buffer = TextBuffer::new();
    let _ = buffer.write_fmt(arguments);
    let _ = buffer.flush();
}

/// Writes all the bytes to the console as they are.
pub fn write_all(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = hypercall::console_write(bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Gathers text, so that one hypercall writes many pieces.
struct TextBuffer {
    bytes: [u8; Self::SIZE],
    used: usize,
}

impl TextBuffer {
    const SIZE: usize = 256;

    const fn new() -> Self {
        Self { bytes: [0; Self::SIZE], used: 0 }
    }

    fn push(&mut self, byte: u8) -> Result<(), Errno> {
        if self.used == Self::SIZE {
            self.flush()?;
        }
        self.bytes[self.used] = byte;
        self.used += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let used = core::mem::take(&mut self.used);
        write_all(&self.bytes[..used])
    }
}

impl Write for TextBuffer {
    /// The console is a terminal: a line ends with a carriage return as well.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.push(b'\r').map_err(|_| fmt::Error)?;
            }
            self.push(byte).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}
