//! The file system of a VM: directories and files in memory, and below them the files that the VM was given,
//! which are read where they lie.
//!
//! All that a guest writes, and what is needed to find it, is in pages, of which there is a limited number.
//! Nothing here knows guest memory: data goes in and out by pieces, through closures.

mod node;
mod open;

#[cfg(test)]
mod tests;

use crate::{
    memory::frames::{FrameAllocator, SharedBlock},
    pages::{Full, PAGE_SIZE, Store},
};
use alloc::{sync::Arc, vec::Vec};
use node::{Node, NodeId, Nodes, ROOT, UNLINKED};
use open::Open;
use tinyvmm_abi::{
    self as abi,
    files::{KIND_DIRECTORY, KIND_FILE, NAME_MAX, OPEN_MAX, Space, Status},
};

/// Files and directories that a VM can make: a name is looked for one by one.
const NODES_MAX: u32 = 4096;
const PAGE: u64 = PAGE_SIZE as u64;

/// What went wrong, by the numbers of the ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Error {
    /// It is not there.
    NotFound = abi::ENOENT,
    /// No such open file, or it is not open for that.
    NotOpen = abi::EBADF,
    /// There is one already.
    Exists = abi::EEXIST,
    /// What has to be a directory is a file.
    NotDirectory = abi::ENOTDIR,
    /// What has to be a file is a directory.
    IsDirectory = abi::EISDIR,
    /// An argument makes no sense.
    Invalid = abi::EINVAL,
    /// Too many open files.
    TooManyOpen = abi::EMFILE,
    /// The quota is used up.
    NoSpace = abi::ENOSPC,
    /// It came with the VM.
    ReadOnly = abi::EROFS,
    /// A name is too long.
    NameTooLong = abi::ENAMETOOLONG,
    /// The directory is not empty.
    NotEmpty = abi::ENOTEMPTY,
}

impl Error {
    /// The number that the guest gets.
    #[must_use]
    pub const fn number(self) -> i64 {
        self as i64
    }
}

impl From<Full> for Error {
    fn from(_: Full) -> Self {
        Self::NoSpace
    }
}

/// A ROM image in memory, which VMs with the same files share.
pub struct Rom {
    /// Its memory: blocks that follow each other, and that nobody changes.
    pub blocks: Vec<SharedBlock>,
    /// Its length in bytes.
    pub length: u64,
    /// Where in it the content of each file starts.
    pub starts: Vec<u64>,
}

impl Rom {
    fn bytes(&self, start: u64, len: u64) -> &[u8] {
        let inside = start.checked_add(len).is_some_and(|end| end <= self.length);
        match (self.blocks.first(), usize::try_from(start), usize::try_from(len), inside) {
            // SAFETY: the blocks follow each other and are not changed; the range is inside.
            (Some(first), Ok(start), Ok(len), true) => unsafe {
                core::slice::from_raw_parts(first.as_ptr().wrapping_add(start), len)
            },
            _ => &[],
        }
    }
}

/// The files and directories of a VM.
pub struct FileSystem {
    store: Store,
    nodes: Nodes,
    open: [Option<Open>; OPEN_MAX],
    rom: Option<Arc<Rom>>,
}

/// Where a path leads: a directory, a name in it, and what has the name there.
struct Place<'p> {
    parent: NodeId,
    name: &'p [u8],
    node: Option<NodeId>,
}

impl Place<'_> {
    fn existing(&self) -> Result<NodeId, Error> {
        self.node.ok_or(Error::NotFound)
    }

    fn vacant(&self) -> Result<(), Error> {
        if self.node.is_none() { Ok(()) } else { Err(Error::Exists) }
    }
}

impl FileSystem {
    /// A file system with room for `quota` bytes, and the files of a ROM image with their paths and sizes, in the
    /// order of the image.
    pub fn new<'a>(
        frames: &'static FrameAllocator,
        quota: u64,
        rom: Option<Arc<Rom>>,
        files: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<Self, Error> {
        let mut system = Self { store: Store::new(frames), nodes: Nodes::new(), open: [None; OPEN_MAX], rom };
        for (index, (path, size)) in files.enumerate() {
            let start = system.rom.as_ref().and_then(|rom| rom.starts.get(index).copied()).unwrap_or(0);
            system.add_rom_file(path.as_bytes(), start, size)?;
        }
        system.store.set_room(usize::try_from(quota / PAGE).unwrap_or(0));
        system.nodes.set_room(NODES_MAX);
        Ok(system)
    }

    fn add_rom_file(&mut self, path: &[u8], rom_start: u64, size: u64) -> Result<(), Error> {
        let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        for (end, _) in slashes {
            let place = self.place(&path[..end])?;
            if place.node.is_none() {
                self.add(&place, Node::read_only(KIND_DIRECTORY))?;
            }
        }
        let mut file = Node::read_only(KIND_FILE);
        (file.rom_start, file.size) = (rom_start, size);
        self.add(&self.place(path)?, file).map(drop)
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(&self.store, id)
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&mut self.store, id)
    }

    /// Follows a path. All of it but the last name has to be there.
    fn place<'p>(&self, path: &'p [u8]) -> Result<Place<'p>, Error> {
        let names = path.strip_prefix(b"/").ok_or(Error::Invalid)?.split(|byte| *byte == b'/');
        let root = Place { parent: ROOT, name: b"", node: Some(ROOT) };
        names.filter(|name| !name.is_empty()).try_fold(root, |place, name| {
            let parent = place.existing()?;
            if !self.node(parent).is_directory() {
                return Err(Error::NotDirectory);
            }
            check_name(name)?;
            Ok(Place { parent, name, node: self.child(parent, name) })
        })
    }

    fn children(&self, directory: NodeId) -> impl Iterator<Item = NodeId> {
        let present = |id: NodeId| Some(id).filter(|id| *id != ROOT);
        core::iter::successors(present(self.node(directory).child), move |id| present(self.node(*id).next))
    }

    fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.children(directory).find(|id| self.node(*id).name() == name)
    }

    /// Puts a new node at a place where there is none.
    fn add(&mut self, place: &Place<'_>, node: Node) -> Result<NodeId, Error> {
        let id = self.nodes.add(&mut self.store, node)?;
        self.link(place, id);
        Ok(id)
    }

    fn link(&mut self, place: &Place<'_>, id: NodeId) {
        let next = core::mem::replace(&mut self.node_mut(place.parent).child, id);
        let node = self.node_mut(id);
        node.parent = place.parent;
        node.next = next;
        node.set_name(place.name);
    }

    /// Takes a node out of its directory. Whoever is listing that goes on with the next one.
    fn unlink(&mut self, id: NodeId) {
        let Node { parent, next, .. } = *self.node(id);
        let previous = self.children(parent).find(|other| self.node(*other).next == id);
        match previous {
            Some(previous) => self.node_mut(previous).next = next,
            None => self.node_mut(parent).child = next,
        }
        for open in self.open.iter_mut().flatten().filter(|open| open.entry == id) {
            open.entry = next;
        }
    }

    /// Frees a node that has no name and is not open.
    fn release(&mut self, id: NodeId) {
        self.cut(id, 0);
        self.nodes.remove(&mut self.store, id);
    }

    /// Removes a name, and with it what it names, unless that is open.
    fn discard(&mut self, id: NodeId) {
        self.unlink(id);
        if self.node(id).opens == 0 {
            self.release(id);
        } else {
            self.node_mut(id).flags |= UNLINKED;
        }
    }

    /// What has a path, if it can be changed.
    fn writable(&self, place: &Place<'_>) -> Result<NodeId, Error> {
        match place.existing()? {
            ROOT => Err(Error::Invalid),
            id if self.node(id).is_read_only() => Err(Error::ReadOnly),
            id => Ok(id),
        }
    }

    /// Makes a directory.
    pub fn make_directory(&mut self, path: &[u8], now: u64) -> Result<(), Error> {
        let place = self.place(path)?;
        place.vacant()?;
        self.add(&place, Node::new(KIND_DIRECTORY, now)).map(drop)
    }

    /// Removes a file, or an empty directory.
    pub fn remove(&mut self, path: &[u8], directory: bool) -> Result<(), Error> {
        let id = self.writable(&self.place(path)?)?;
        self.check_replaceable(id, directory)?;
        self.discard(id);
        Ok(())
    }

    /// Whether a file, or an empty directory, is what is there.
    fn check_replaceable(&self, id: NodeId, directory: bool) -> Result<(), Error> {
        let node = self.node(id);
        match (directory, node.is_directory()) {
            (true, false) => Err(Error::NotDirectory),
            (false, true) => Err(Error::IsDirectory),
            (true, true) if node.child != ROOT => Err(Error::NotEmpty),
            _ => Ok(()),
        }
    }

    /// Gives a file or directory another path.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let id = self.writable(&self.place(from)?)?;
        let place = self.place(to)?;
        if place.node == Some(id) {
            return Ok(());
        }
        if self.is_inside(place.parent, id) {
            return Err(Error::Invalid);
        }
        if place.node.is_some() {
            let old = self.writable(&place)?;
            self.check_replaceable(old, self.node(id).is_directory())?;
            self.discard(old);
        }
        self.unlink(id);
        self.link(&place, id);
        Ok(())
    }

    /// Whether a directory is another one, or below it.
    fn is_inside(&self, directory: NodeId, other: NodeId) -> bool {
        let parent = |id: &NodeId| Some(self.node(*id).parent).filter(|_| *id != ROOT);
        core::iter::successors(Some(directory), parent).any(|id| id == other)
    }

    /// What there is to know about a file or directory.
    pub fn status(&self, path: &[u8]) -> Result<Status, Error> {
        let id = self.place(path)?.existing()?;
        let node = self.node(id);
        Ok(Status {
            kind: node.kind,
            read_only: u32::from(node.is_read_only()),
            size: node.size,
            modified: node.modified,
            inode: u64::from(id),
        })
    }

    /// How much room there is.
    #[must_use]
    pub fn space(&self) -> Space {
        let (pages, pages_used) = self.store.usage();
        let (nodes, nodes_used) = self.nodes.usage();
        Space {
            block_size: PAGE,
            blocks: pages as u64,
            blocks_free: (pages - pages_used) as u64,
            nodes: u64::from(nodes),
            nodes_free: u64::from(nodes - nodes_used),
        }
    }
}

fn check_name(name: &[u8]) -> Result<(), Error> {
    match name {
        b"." | b".." => Err(Error::Invalid),
        name if name.contains(&0) => Err(Error::Invalid),
        name if name.len() > NAME_MAX => Err(Error::NameTooLong),
        _ => Ok(()),
    }
}
