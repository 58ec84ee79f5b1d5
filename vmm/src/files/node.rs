//! What there is to know about each file and directory.

use crate::pages::{Full, NONE, PAGE_SIZE, PageNumber, Plain, Store, Tree};
use tinyvmm_abi::files::{KIND_DIRECTORY, NAME_SIZE};

/// Number of a file or directory.
pub(super) type NodeId = u32;
/// The root directory. As it is in no directory itself, the number also stands for the end of a list.
pub(super) const ROOT: NodeId = 0;

/// It came with the VM, and cannot be changed.
const READ_ONLY: u32 = 1 << 0;
/// It has no name any more, but is open.
pub(super) const UNLINKED: u32 = 1 << 1;

/// A file or directory.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Node {
    /// One of the ABI's kinds.
    pub(super) kind: u32,
    /// [`READ_ONLY`], [`UNLINKED`].
    pub(super) flags: u32,
    /// The directory that it is in.
    pub(super) parent: NodeId,
    /// The next one in that directory.
    pub(super) next: NodeId,
    /// The first one in a directory.
    pub(super) child: NodeId,
    /// How many times it is open.
    pub(super) opens: u32,
    /// Size of a file in bytes.
    pub(super) size: u64,
    /// When it was last written.
    pub(super) modified: u64,
    /// Where in the ROM image a read-only file starts.
    pub(super) rom_start: u64,
    /// The content of another file.
    pub(super) content: Tree,
    name_length: u32,
    name: [u8; NAME_SIZE],
}

impl Node {
    /// A node without a name.
    pub(super) const fn new(kind: u32, modified: u64) -> Self {
        Self {
            kind,
            flags: 0,
            parent: ROOT,
            next: ROOT,
            child: ROOT,
            opens: 0,
            size: 0,
            modified,
            rom_start: 0,
            content: Tree::EMPTY,
            name_length: 0,
            name: [0; NAME_SIZE],
        }
    }

    /// A node without a name that came with the VM.
    pub(super) const fn read_only(kind: u32) -> Self {
        let mut node = Self::new(kind, 0);
        node.flags = READ_ONLY;
        node
    }

    /// The name.
    pub(super) fn name(&self) -> &[u8] {
        let length = usize::try_from(self.name_length).unwrap_or(0);
        self.name.get(..length).unwrap_or_default()
    }

    /// Gives it a name of fewer than [`NAME_SIZE`] bytes, filled up with NULs.
    pub(super) fn set_name(&mut self, name: &[u8]) {
        self.name = [0; NAME_SIZE];
        if let Some(place) = self.name.get_mut(..name.len()) {
            place.copy_from_slice(name);
        }
        self.name_length = u32::try_from(name.len()).unwrap_or(0);
    }

    /// The name with the NULs after it.
    pub(super) fn padded_name(&self) -> [u8; NAME_SIZE] {
        self.name
    }

    /// Whether it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.kind == KIND_DIRECTORY
    }

    /// Whether it is read-only.
    pub(super) fn is_read_only(&self) -> bool {
        self.flags & READ_ONLY != 0
    }
}

/// A page of nodes.
type NodePage = [Node; NODES_PER_PAGE];
const NODES_PER_PAGE: usize = PAGE_SIZE / size_of::<Node>();

// SAFETY: structures of integers and arrays of them; the page is large enough.
unsafe impl Plain for NodePage {}

/// All files and directories.
pub(super) struct Nodes {
    root: Node,
    pages: Tree,
    /// Numbers up to this one have been in use.
    touched: NodeId,
    /// How many there are, besides the root.
    used: u32,
    /// How many there may be.
    limit: u32,
    /// The first number that is free again; each such node has the next one in `next`.
    free: NodeId,
}

/// Page and place of a node that is not the root.
fn place(id: NodeId) -> (u64, usize) {
    let index = usize::try_from(id - 1).unwrap_or(0);
    ((index / NODES_PER_PAGE) as u64, index % NODES_PER_PAGE)
}

impl Nodes {
    /// The root directory alone.
    pub(super) fn new() -> Self {
        let root = Node::new(KIND_DIRECTORY, 0);
        Self { root, pages: Tree::EMPTY, touched: 0, used: 0, limit: u32::MAX, free: ROOT }
    }

    /// Allows so many more than there are.
    pub(super) fn set_room(&mut self, nodes: u32) {
        self.limit = self.used.saturating_add(nodes);
    }

    /// How many there may be, and are.
    pub(super) fn usage(&self) -> (u32, u32) {
        (self.limit, self.used)
    }

    /// The node with this number; the root for one that is not there.
    pub(super) fn get<'a>(&'a self, store: &'a Store, id: NodeId) -> &'a Node {
        if id == ROOT {
            return &self.root;
        }
        let (page, index) = place(id);
        store.get::<NodePage>(self.page(store, page)).map_or(&self.root, |nodes| &nodes[index])
    }

    /// The node with this number, to be changed.
    pub(super) fn get_mut<'a>(&'a mut self, store: &'a mut Store, id: NodeId) -> &'a mut Node {
        if id == ROOT {
            return &mut self.root;
        }
        let (page, index) = place(id);
        let number = self.page(store, page);
        match store.get_mut::<NodePage>(number) {
            Some(nodes) => &mut nodes[index],
            None => &mut self.root,
        }
    }

    fn page(&self, store: &Store, page: u64) -> PageNumber {
        self.pages.find(store, page)
    }

    /// Adds a node.
    pub(super) fn add(&mut self, store: &mut Store, node: Node) -> Result<NodeId, Full> {
        if self.used == self.limit {
            return Err(Full);
        }
        let id = if self.free == ROOT { self.touched + 1 } else { self.free };
        let (page, index) = place(id);
        let number = self.pages.find_or_make(store, page)?;
        let nodes = store.get_mut::<NodePage>(number).ok_or(Full)?;
        if self.free == ROOT {
            self.touched = id;
        } else {
            self.free = nodes[index].next;
        }
        nodes[index] = node;
        self.used += 1;
        Ok(id)
    }

    /// Removes a node.
    pub(super) fn remove(&mut self, store: &mut Store, id: NodeId) {
        let next = self.free;
        let node = self.get_mut(store, id);
        node.kind = NONE;
        node.next = next;
        self.free = id;
        self.used -= 1;
    }
}
