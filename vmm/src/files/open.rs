//! Open files and directories.

use super::{
    Error, FileSystem, PAGE, Place,
    node::{Node, NodeId, ROOT, UNLINKED},
};
use crate::pages::{Bytes, NONE};
use core::ops::Range;
use tinyvmm_abi::files::{
    Entry, KIND_FILE, OPEN_APPEND, OPEN_CREATE, OPEN_EXCLUSIVE, OPEN_READ, OPEN_TRUNCATE, OPEN_WRITE,
    SEEK_CUR, SEEK_END, SEEK_SET, SIZE_MAX,
};

/// An open file or directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) node: NodeId,
    flags: u64,
    position: u64,
    /// What is listed next of a directory.
    pub(super) entry: NodeId,
}

/// What is read where nothing was written.
static ZEROS: [u8; 64] = [0; 64];

/// Page of a position, place in it, and how much of `len` bytes is in that page.
fn piece(position: u64, len: u64) -> (u64, Range<usize>) {
    let start = position % PAGE;
    let end = PAGE.min(start + len);
    let place = |offset: u64| usize::try_from(offset).unwrap_or(0);
    (position / PAGE, place(start)..place(end))
}

impl FileSystem {
    /// Opens a file or directory as the flags of the ABI say. Returns its number.
    pub fn open(&mut self, path: &[u8], flags: u64, now: u64) -> Result<u64, Error> {
        check_flags(flags)?;
        let slot = self.open.iter().position(Option::is_none).ok_or(Error::TooManyOpen)?;
        let place = self.place(path)?;
        let node = match place.node {
            Some(_) if flags & OPEN_EXCLUSIVE != 0 => return Err(Error::Exists),
            Some(id) => self.check_open(id, flags)?,
            None if flags & OPEN_CREATE != 0 => self.create(&place, now)?,
            None => return Err(Error::NotFound),
        };
        if flags & OPEN_TRUNCATE != 0 {
            self.cut(node, 0);
            self.node_mut(node).modified = now;
        }
        self.node_mut(node).opens += 1;
        self.open[slot] = Some(Open { node, flags, position: 0, entry: self.node(node).child });
        Ok(slot as u64)
    }

    fn create(&mut self, place: &Place<'_>, now: u64) -> Result<NodeId, Error> {
        self.add(place, Node::new(KIND_FILE, now))
    }

    fn check_open(&self, id: NodeId, flags: u64) -> Result<NodeId, Error> {
        let node = self.node(id);
        match flags & OPEN_WRITE != 0 {
            true if node.is_directory() => Err(Error::IsDirectory),
            true if node.is_read_only() => Err(Error::ReadOnly),
            _ => Ok(id),
        }
    }

    fn open_mut(&mut self, number: u64) -> Result<&mut Open, Error> {
        let index = usize::try_from(number).map_err(|_| Error::NotOpen)?;
        self.open.get_mut(index).and_then(Option::as_mut).ok_or(Error::NotOpen)
    }

    /// An open file, with these flags.
    fn open_file(&mut self, number: u64, flags: u64) -> Result<Open, Error> {
        let open = *self.open_mut(number)?;
        match open.flags & flags == flags {
            true if self.node(open.node).is_directory() => Err(Error::IsDirectory),
            true => Ok(open),
            false => Err(Error::NotOpen),
        }
    }

    /// Closes an open file or directory.
    pub fn close(&mut self, number: u64) -> Result<(), Error> {
        let Open { node: id, .. } = *self.open_mut(number)?;
        if let Some(slot) = usize::try_from(number).ok().and_then(|index| self.open.get_mut(index)) {
            *slot = None;
        }
        let node = self.node_mut(id);
        node.opens -= 1;
        if node.opens == 0 && node.flags & UNLINKED != 0 {
            self.release(id);
        }
        Ok(())
    }

    /// Reads at most `len` bytes, which `each` gets in pieces. Returns how many they are.
    pub fn read(&mut self, number: u64, len: u64, mut each: impl FnMut(&[u8])) -> Result<u64, Error> {
        let open = self.open_file(number, OPEN_READ)?;
        let node = self.node(open.node);
        let count = node.size.saturating_sub(open.position).min(len);
        if let (Some(rom), true) = (&self.rom, node.is_read_only()) {
            each(rom.bytes(node.rom_start + open.position, count));
        } else {
            let mut done = 0;
            while done < count {
                let (page, place) = piece(open.position + done, count - done);
                let page = self.store.get::<Bytes>(node.content.find(&self.store, page));
                let bytes = page.map_or(&ZEROS[..place.len().min(ZEROS.len())], |page| &page[place]);
                done += bytes.len() as u64;
                each(bytes);
            }
        }
        self.open_mut(number)?.position += count;
        Ok(count)
    }

    /// Writes `len` bytes, which `each` puts into pieces. Returns how many fitted: all, or if the quota is used up
    /// some.
    pub fn write(
        &mut self,
        number: u64,
        len: u64,
        now: u64,
        mut each: impl FnMut(&mut [u8]),
    ) -> Result<u64, Error> {
        let Open { node: id, flags, position, .. } = self.open_file(number, OPEN_WRITE)?;
        let Node { size, mut content, .. } = *self.node(id);
        let start = if flags & OPEN_APPEND != 0 { size } else { position };
        let len = SIZE_MAX.saturating_sub(start).min(len);
        let mut done = 0;
        while done < len {
            let (page, place) = piece(start + done, len - done);
            let Ok(page) = content.find_or_make(&mut self.store, page) else { break };
            let Some(page) = self.store.get_mut::<Bytes>(page) else { break };
            done += place.len() as u64;
            each(&mut page[place]);
        }
        let node = self.node_mut(id);
        node.content = content;
        if done == 0 {
            return if len == 0 && start < SIZE_MAX { Ok(0) } else { Err(Error::NoSpace) };
        }
        node.size = size.max(start + done);
        node.modified = now;
        self.open_mut(number)?.position = start + done;
        Ok(done)
    }

    /// Moves the position of an open file. Returns it.
    pub fn seek(&mut self, number: u64, offset: i64, whence: u64) -> Result<u64, Error> {
        let open = self.open_file(number, 0)?;
        let base = match whence {
            SEEK_SET => 0,
            SEEK_CUR => open.position,
            SEEK_END => self.node(open.node).size,
            _ => return Err(Error::Invalid),
        };
        let position = base.checked_add_signed(offset).filter(|position| *position <= SIZE_MAX);
        let position = position.ok_or(Error::Invalid)?;
        self.open_mut(number)?.position = position;
        Ok(position)
    }

    /// Gives an open file another size.
    pub fn truncate(&mut self, number: u64, size: u64, now: u64) -> Result<(), Error> {
        let Open { node: id, .. } = self.open_file(number, OPEN_WRITE)?;
        if size > SIZE_MAX {
            return Err(Error::Invalid);
        }
        if size < self.node(id).size {
            self.cut(id, size);
        }
        let node = self.node_mut(id);
        node.size = size;
        node.modified = now;
        Ok(())
    }

    /// Cuts a file off. What is left of its last page is zero behind it, in case it grows again.
    pub(super) fn cut(&mut self, id: NodeId, size: u64) {
        let mut content = self.node(id).content;
        content.cut(&mut self.store, size.div_ceil(PAGE));
        let (page, place) = piece(size, PAGE);
        let last = if place.start == 0 { NONE } else { content.find(&self.store, page) };
        if let Some(last) = self.store.get_mut::<Bytes>(last) {
            last[place].fill(0);
        }
        let node = self.node_mut(id);
        node.content = content;
        node.size = size;
    }

    /// The next entry of an open directory.
    pub fn next_entry(&mut self, number: u64) -> Result<Option<Entry>, Error> {
        let Open { node: directory, entry: id, .. } = *self.open_mut(number)?;
        if !self.node(directory).is_directory() {
            return Err(Error::NotDirectory);
        }
        if id == ROOT {
            return Ok(None);
        }
        let node = *self.node(id);
        self.open_mut(number)?.entry = node.next;
        Ok(Some(Entry {
            kind: node.kind,
            name_length: u32::try_from(node.name().len()).unwrap_or(0),
            size: node.size,
            inode: u64::from(id),
            name: node.padded_name(),
        }))
    }
}

/// Whether flags make sense together.
fn check_flags(flags: u64) -> Result<(), Error> {
    const WRITING: u64 = OPEN_APPEND | OPEN_CREATE | OPEN_TRUNCATE;
    let known = flags & !(OPEN_READ | OPEN_WRITE | WRITING | OPEN_EXCLUSIVE) == 0;
    let some = flags & (OPEN_READ | OPEN_WRITE) != 0;
    let writing = flags & OPEN_WRITE != 0 || flags & WRITING == 0;
    let exclusive = flags & OPEN_EXCLUSIVE == 0 || flags & OPEN_CREATE != 0;
    if known && some && writing && exclusive { Ok(()) } else { Err(Error::Invalid) }
}
