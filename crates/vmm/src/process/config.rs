//! What a host asks for, and what it gets.

use crate::template::Template;
use std::fs::File;
use std::os::fd::OwnedFd;

/// What to boot.
#[derive(Debug)]
pub struct BootConfig<'a> {
    /// The kernel: an x86-64 ELF with a PVH note.
    pub kernel: &'a File,
    /// The image, placed at the top of memory.
    pub image: Option<&'a File>,
    /// Guest memory with the image, in MiB.
    pub memory_mib: u32,
    /// Added to the kernel's command line.
    pub command_line: &'a str,
    /// The guest's end of the channel.
    pub channel: Option<OwnedFd>,
}

/// What to fork.
#[derive(Debug)]
pub struct ForkConfig<'a> {
    /// Where the VM comes from.
    pub template: &'a Template,
    /// The file of written pages, when restoring a snapshot of a fork, and the state
    /// that goes with it.
    pub snapshot: Option<(&'a File, &'a [u8])>,
    /// The guest's end of the channel.
    pub channel: Option<OwnedFd>,
    /// Wait for [`VmProcess::resume`](crate::VmProcess::resume) before running.
    pub paused: bool,
}

/// A snapshot of a paused VM.
#[derive(Debug)]
pub struct Snapshot {
    /// Registers and devices, encoded.
    pub state: Vec<u8>,
    /// Its memory.
    pub memory: SnapshotMemory,
}

/// The memory of a snapshot.
#[derive(Debug)]
pub enum SnapshotMemory {
    /// All of RAM, of a cold boot: the memfd the VM still runs on.
    Full(File),
    /// The pages a fork wrote; they mean nothing without its template.
    Pages {
        /// Number of pages.
        count: u64,
    },
}
