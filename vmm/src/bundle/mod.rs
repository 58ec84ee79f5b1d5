//! What to run: the bundle, an uncompressed `tar` archive that holds the manifest and every file the
//! manifest names. Anyone can make one: `tar --format=ustar -cf bundle.tar tinyvmm.toml hello.py ...`.
//!
//! Everything here is pure: bytes in, values or errors out. The bytes may be damaged or hostile; no
//! input makes this code panic, or use more stack than a well-formed bundle does.

pub mod image;
pub mod manifest;
mod nesting;
pub mod rom;

#[cfg(test)]
mod tests;

use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use tar_no_std::{CorruptDataError, PosixHeader, TarArchiveRef, TypeFlag};

use manifest::{Manifest, ManifestError};

/// An archive consists of blocks: each entry is a header and its data, filled up to a whole block.
const BLOCK_SIZE: usize = size_of::<PosixHeader>();

/// The files of a bundle, by name.
#[derive(Debug)]
pub struct Bundle<'a> {
    files: Vec<File<'a>>,
}

#[derive(Debug)]
struct File<'a> {
    name: Cow<'a, str>,
    data: &'a [u8],
}

impl<'a> Bundle<'a> {
    /// Reads the table of contents of an archive in ustar or GNU format.
    ///
    /// Bytes after the archive's end mark are ignored: boot loaders pad.
    ///
    /// # Errors
    /// The archive is damaged, incomplete, or holds something other than files and directories.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BundleError> {
        let whole_blocks = bytes.len() - bytes.len() % BLOCK_SIZE;
        let archive = bytes.get(..whole_blocks).unwrap_or_default();
        let tar = TarArchiveRef::new(archive).map_err(|error| BundleError::damaged(archive, error))?;
        let mut files = Vec::new();
        for (block, header) in tar.headers() {
            files.extend(File::read(archive, block, header)?);
        }
        Ok(Self { files })
    }

    /// The file called `name`, with or without a leading `./`. Of two with one name the later one
    /// counts, as for `tar` itself.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&'a [u8]> {
        let name = without_dot_slash(name);
        self.files.iter().rev().find(|file| file.name == name).map(|file| file.data)
    }

    /// The bundle's manifest, after a check that the bundle has every file it names.
    ///
    /// # Errors
    /// There is no manifest, it is wrong, or a file that it names is missing.
    pub fn manifest(&self) -> Result<Manifest, BundleError> {
        let bytes = self.file(manifest::FILE_NAME).ok_or(BundleError::NoManifest)?;
        let text = core::str::from_utf8(bytes)
            .map_err(|error| BundleError::ManifestNotText { offset: error.valid_up_to() })?;
        let manifest = Manifest::parse(text)?;
        manifest.check_files(|name| self.file(name).is_some())?;
        Ok(manifest)
    }
}

impl<'a> File<'a> {
    /// The file that `header` at block number `block` describes; `None` if it is a directory or metadata.
    fn read(archive: &'a [u8], block: usize, header: &'a PosixHeader) -> Result<Option<Self>, BundleError> {
        let name = entry_name(header).ok_or_else(|| BundleError::Name { entry: raw_name(archive, block) })?;
        match header.typeflag.try_to_type_flag() {
            Ok(TypeFlag::REGTYPE | TypeFlag::AREGTYPE | TypeFlag::CONTTYPE) => {}
            Ok(TypeFlag::DIRTYPE | TypeFlag::XHDTYPE | TypeFlag::XGLTYPE) => return Ok(None),
            _ => return Err(BundleError::NotAFile { entry: raw_name(archive, block) }),
        }
        // Archives from before ustar mark a directory by the slash only.
        if name.ends_with('/') {
            return Ok(None);
        }
        let data = entry_data(archive, block, header)
            .ok_or_else(|| BundleError::Size { entry: raw_name(archive, block) })?;
        Ok(Some(Self { name, data }))
    }
}

/// The path of an entry: ustar splits one of more than 100 bytes in two.
fn entry_name(header: &PosixHeader) -> Option<Cow<'_, str>> {
    let name = header.name.as_str().ok()?;
    // Only "ustar" with version "00" has the field; GNU's variant keeps other things there.
    let ustar = header.magic.as_str() == Ok("ustar") && header.version.as_str() == Ok("00");
    if ustar && !header.prefix.is_empty() {
        let path = format!("{}/{name}", header.prefix.as_str().ok()?);
        return Some(Cow::Owned(without_dot_slash(&path).to_owned()));
    }
    Some(Cow::Borrowed(without_dot_slash(name)))
}

fn entry_data<'a>(archive: &'a [u8], block: usize, header: &PosixHeader) -> Option<&'a [u8]> {
    let size: usize = header.size.as_number().ok()?;
    let start = block.checked_add(1)?.checked_mul(BLOCK_SIZE)?;
    archive.get(start..start.checked_add(size)?)
}

fn without_dot_slash(mut name: &str) -> &str {
    while let Some(rest) = name.strip_prefix("./") {
        name = rest.trim_start_matches('/');
    }
    name
}

/// The name field of the header at block number `block`, fit for a message whatever is in it.
fn raw_name(archive: &[u8], block: usize) -> String {
    let header = archive.chunks(BLOCK_SIZE).nth(block).unwrap_or_default();
    let name = header.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = name.get(..name.len().min(100)).unwrap_or_default();
    format!("{}", name.escape_ascii())
}

/// Why a bundle cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleError {
    /// Not an archive at all.
    NotAnArchive,
    /// A damaged or truncated archive.
    Damaged {
        /// Name of the entry where it goes wrong; empty if no entry does.
        entry: String,
        /// What is wrong.
        error: CorruptDataError,
    },
    /// An entry's name is not UTF-8.
    Name {
        /// Name of the entry, escaped.
        entry: String,
    },
    /// An entry's size is not that of its data.
    Size {
        /// Name of the entry.
        entry: String,
    },
    /// An entry is a link, a device or another thing that is not a file.
    NotAFile {
        /// Name of the entry.
        entry: String,
    },
    /// There is no file called [`manifest::FILE_NAME`].
    NoManifest,
    /// The manifest is not UTF-8.
    ManifestNotText {
        /// Offset of the first byte that is wrong.
        offset: usize,
    },
    /// The manifest is wrong.
    Manifest(ManifestError),
}

impl BundleError {
    fn damaged(archive: &[u8], error: CorruptDataError) -> Self {
        let entry = match error {
            CorruptDataError::EmptyArchive | CorruptDataError::InvalidChecksum { block_index: 0 } => {
                return Self::NotAnArchive;
            }
            CorruptDataError::MissingTerminator => String::new(),
            CorruptDataError::InvalidBlockSize | CorruptDataError::TooShort { .. } => raw_name(archive, 0),
            CorruptDataError::InvalidChecksum { block_index }
            | CorruptDataError::InvalidTypeFlag { block_index }
            | CorruptDataError::InvalidPayloadSize { block_index }
            | CorruptDataError::PayloadExtendsBeyondArchive { block_index } => raw_name(archive, block_index),
        };
        Self::Damaged { entry, error }
    }
}

impl From<ManifestError> for BundleError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArchive => f.write_str("bundle: not a tar archive, or a compressed one"),
            Self::Damaged { entry, error: CorruptDataError::InvalidTypeFlag { .. } } => {
                write!(
                    f,
                    "bundle: entry '{entry}' is of an unknown kind: make the archive with `tar --format=ustar`"
                )
            }
            Self::Damaged { entry, error } if entry.is_empty() => write!(f, "bundle: {error}"),
            Self::Damaged { entry, error } => write!(f, "bundle: entry '{entry}': {error}"),
            Self::Name { entry } => write!(f, "bundle: entry '{entry}': its name is not UTF-8"),
            Self::Size { entry } => write!(f, "bundle: entry '{entry}': its size is not that of its data"),
            Self::NotAFile { entry } => write!(
                f,
                "bundle: entry '{entry}' is not a plain file: make the archive with \
                 `tar --dereference --hard-dereference`"
            ),
            Self::NoManifest => write!(f, "bundle: no file '{}' in the archive", manifest::FILE_NAME),
            Self::ManifestNotText { offset } => {
                write!(f, "{}: byte {offset} is not UTF-8 text", manifest::FILE_NAME)
            }
            Self::Manifest(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BundleError {}
