//! The programs that the project needs on the developer's machine.

use crate::qemu;
use std::fmt;
use std::process::Command;

/// A program that is looked for on `PATH`.
#[derive(Debug)]
pub struct Tool {
    /// The program.
    pub program: &'static str,
    /// The part of it that is needed, where a package of its own brings that.
    pub module: Option<&'static str>,
    /// The oldest version that will do.
    pub minimum: Version,
    /// What it is for.
    pub purpose: &'static str,
    /// The packages of Debian and Ubuntu that bring it.
    pub packages: &'static [&'static str],
}

/// What everything needs.
pub const TOOLS: [Tool; 6] = [
    Tool {
        program: qemu::PROGRAM,
        module: None,
        minimum: Version(9, 0),
        purpose: "emulates the board",
        packages: &["qemu-system-arm"],
    },
    Tool {
        program: "clang",
        module: None,
        minimum: Version(14, 0),
        purpose: "compiles guests in C and assembly",
        // The others are for MicroPython's profile: without them it is slower.
        packages: &["clang", "libclang-rt-dev", "llvm"],
    },
    Tool {
        program: "cc",
        module: None,
        minimum: Version(0, 0),
        purpose: "links programs for this machine",
        packages: &["gcc", "libc6-dev"],
    },
    Tool {
        program: "python3",
        module: None,
        minimum: Version(3, 9),
        purpose: "runs MicroPython's generators",
        packages: &["python3"],
    },
    Tool {
        program: "xz",
        module: None,
        minimum: Version(0, 0),
        purpose: "unpacks MicroPython's source",
        packages: &["xz-utils"],
    },
    Tool {
        program: "bzip2",
        module: None,
        minimum: Version(0, 0),
        purpose: "unpacks Mbed TLS and device trees",
        packages: &["bzip2"],
    },
];

/// What a Raspberry Pi's device tree is made with.
pub const DEVICE_TREE_TOOLS: [Tool; 1] = [Tool {
    program: "dtc",
    module: None,
    minimum: Version(1, 4),
    purpose: "compiles the Raspberry Pi's device tree",
    packages: &["device-tree-compiler"],
}];

/// What tests need besides.
pub const TEST_TOOLS: [Tool; 1] = [Tool {
    program: "python3",
    module: Some("ensurepip"),
    minimum: Version(0, 0),
    purpose: "keeps Python programs for tests apart",
    packages: &["python3-venv"],
}];

/// Major and minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// The first version number in what a program says about itself.
    fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
            let mut numbers = word.split('.').map(str::parse);
            Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
    }
}

impl Tool {
    /// The version that is installed, if the program is there and works.
    pub fn installed(&self) -> Option<Version> {
        let module = self.module.iter().flat_map(|module| ["-m", *module]);
        let output = Command::new(self.program).args(module).arg("--version").output().ok()?;
        // bzip2 keeps its standard output for data.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        output.status.success().then(|| Version::find(&said)).flatten()
    }

    /// What messages call it.
    pub fn name(&self) -> &'static str {
        self.module.unwrap_or(self.program)
    }

    /// The least version in words.
    pub fn needed(&self) -> String {
        if self.minimum > Version(0, 0) { format!(">= {}", self.minimum) } else { "any".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_version() {
        for (text, version) in [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\n", Version(10, 0)),
            ("Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu\n", Version(14, 0)),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", Version(12, 2)),
            ("xz (XZ Utils) 5.4.1\nliblzma 5.4.1", Version(5, 4)),
            ("Python 3.11.7", Version(3, 11)),
        ] {
            assert_eq!(Version::find(text), Some(version), "{text}");
        }
        assert_eq!(Version::find("no version here."), None);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version(10, 0) > Version(9, 2));
        assert!(Version(3, 9) < Version(3, 11));
    }
}
