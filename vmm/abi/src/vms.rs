//! Groups 0x50, 0x58 and 0x70: other VMs, the hypervisor's log, and messages between VMs.
//!
//! A VM goes by its number: its place in the manifest, counted from 1. [`VM_SELF`] is the caller. What a VM may
//! do is what its manifest says, see [`CAPABILITY_CONTROL`] and the following; a call without the capability
//! returns `-`[`EPERM`](super::EPERM), whatever its other arguments are.
//!
//! No call waits. One that would have to returns `-`[`EAGAIN`](super::EAGAIN); the caller's `WFI` ends when it is
//! worth while to try again.

/// Writes the [`VmInfo`] of VM `x1` to address `x2`. Returns 0. The caller's own needs no capability.
pub const VM_INFO: u64 = 0x50;
/// Returns the number of VMs in the manifest.
pub const VM_LIST: u64 = 0x51;
/// Starts the VM whose name is at `x1`, `x2`, which does not run. Its arguments are the strings at `x3`, `x4`, each
/// with its NUL, or if `x4` is 0 those of its manifest. Returns its number; it is built a little later.
pub const VM_SPAWN: u64 = 0x52;
/// Ends VM `x1`. Returns 0.
pub const VM_KILL: u64 = 0x53;
/// Returns the exit code of VM `x1`, once it has ended and does not start again by itself.
pub const VM_WAIT_EXIT: u64 = 0x54;
/// Keeps VM `x1` from running. Returns 0.
pub const VM_PAUSE: u64 = 0x55;
/// Lets VM `x1` run again. Returns 0.
pub const VM_RESUME: u64 = 0x56;
/// Returns the number of the VM whose name is at `x1`, `x2`: with [`CAPABILITY_CONTROL`] or
/// [`CAPABILITY_MESSAGES`].
pub const VM_FIND: u64 = 0x57;

/// Copies the end of the hypervisor's log to address `x1`, at most `x2` bytes, from the start of a line if not all
/// of it fits. Returns the bytes written.
pub const LOG_READ: u64 = 0x58;

/// Puts the `x3` bytes at address `x2` into the mailbox of VM `x1`, at most [`MESSAGE_MAX`]. Returns 0.
/// `-`[`EAGAIN`](super::EAGAIN) while there is no room.
pub const SEND: u64 = 0x70;
/// Moves the first message of the caller's mailbox to address `x1`, where `x2` bytes are free. Returns
/// `sender << 32 | length`. A longer message stays and gives `-`[`EMSGSIZE`](super::EMSGSIZE).
pub const RECEIVE: u64 = 0x71;

/// Number of the caller.
pub const VM_SELF: u64 = 0;
/// Longest message in bytes.
pub const MESSAGE_MAX: u64 = 4096;
/// Size of a mailbox in bytes; a message takes [`MESSAGE_HEADER`] more than its length.
pub const MAILBOX_SIZE: u64 = 16 << 10;
/// What a message takes besides its bytes.
pub const MESSAGE_HEADER: u64 = 8;
/// The port of the hypervisor's (`VMADDR_CID_HOST`) at which programs of a `virt` machine find messages, by a stream of
/// [`Record`]s.
pub const CHANNEL_PORT: u32 = 1;
/// Size of the hypervisor's log in bytes: what is older is lost.
pub const LOG_SIZE: u64 = 8 << 10;

/// May see and control all VMs.
pub const CAPABILITY_CONTROL: u32 = 1 << 0;
/// May read the hypervisor's log.
pub const CAPABILITY_LOG: u32 = 1 << 1;
/// Has a mailbox, and may send to others that have one.
pub const CAPABILITY_MESSAGES: u32 = 1 << 2;

/// [`VmInfo::state`]: has not had a core yet.
pub const STATE_CREATED: u32 = 0;
/// [`VmInfo::state`]: runs, or could.
pub const STATE_RUNNING: u32 = 1;
/// [`VmInfo::state`]: is kept from running.
pub const STATE_PAUSED: u32 = 2;
/// [`VmInfo::state`]: has ended, or was never started.
pub const STATE_STOPPED: u32 = 3;
/// [`VmInfo::state`]: did what it may not, and has ended.
pub const STATE_CRASHED: u32 = 4;
/// [`VmInfo::state`]: is about to start.
pub const STATE_RESTARTING: u32 = 5;

/// Room for a VM's name and at least one NUL, in bytes.
pub const VM_NAME_SIZE: usize = 32;

/// A message on its way between a program of a `virt` machine and the hypervisor: this, and the bytes of the message.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Name of the VM that shall get it or has sent it, then NULs.
    pub name: [u8; VM_NAME_SIZE],
    /// Length of the message in bytes, at most [`MESSAGE_MAX`].
    pub length: u32,
    /// To the guest, if it is not 0: why the VM of this name did not get a message. None follows.
    pub error: u32,
}

/// What there is to know about a VM. Times are in ticks of the counter, since its latest start, and like the exits as
/// of the latest turn or interrupt of each of its vCPUs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmInfo {
    /// Its number.
    pub number: u32,
    /// What it does: [`STATE_CREATED`] and the following.
    pub state: u32,
    /// Its vCPUs.
    pub vcpus: u32,
    /// What it may do: [`CAPABILITY_CONTROL`] and the following.
    pub capabilities: u32,
    /// How often it was started again.
    pub restarts: u32,
    /// The exit code that it ended with last.
    pub exit_code: u32,
    /// Its RAM in bytes.
    pub memory: u64,
    /// Time that its vCPUs had a core.
    pub time: u64,
    /// Time that they were ready but had none.
    pub steal: u64,
    /// Times that they came to the hypervisor.
    pub exits: u64,
    /// Its name, then NULs.
    pub name: [u8; VM_NAME_SIZE],
}
