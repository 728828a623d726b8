//! A template: the memory and state of a paused VM that forks start from.

use crate::memory::MemoryLayout;
use crate::process::config::{Snapshot, SnapshotMemory};
use crate::process::host::VmProcess;
use crate::snapshot::VmState;
use crate::snapshot::working_set::WorkingSet;
use crate::{Result, VmmError, sparse, wait};
use rustix::fs::{SealFlags, fcntl_add_seals};
use rustix::io::Errno;
use std::fs::File;
use std::time::{Duration, Instant};

/// How long the memory of a VM that has ended may stay in use.
const SEAL_TIMEOUT: Duration = Duration::from_secs(5);

/// What forks share. Its memory cannot change any more: a sealed memfd, or a file that
/// its owner must leave alone.
#[derive(Debug)]
pub struct Template {
    memory: File,
    image: Option<File>,
    state: Vec<u8>,
    layout: MemoryLayout,
    working_set: WorkingSet,
}

impl Template {
    /// Makes the paused cold boot `vm`, whose channel is closed, a template. The VM ends:
    /// its memory can be sealed only when nothing can write to it any more. `image` is
    /// the image it was booted with.
    ///
    /// # Errors
    /// Those of [`VmProcess::snapshot`]; [`VmmError::WrongMoment`] if `vm` is a fork.
    pub fn from_vm(mut vm: VmProcess, image: Option<File>) -> Result<Self> {
        let Snapshot { state, memory } = vm.snapshot(None)?;
        let SnapshotMemory::Full(memory) = memory else {
            return Err(VmmError::WrongMoment {
                command: "making a template",
                cause: "the VM is a fork of one",
            });
        };
        vm.kill()?;
        drop(vm);
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        // Who reads /proc of a process holds its memory for a moment longer than it lives.
        let deadline = Instant::now() + SEAL_TIMEOUT;
        let sealed = wait::until(
            deadline,
            Duration::from_millis(5),
            || match fcntl_add_seals(&memory, seals) {
                Err(Errno::BUSY) => Ok(None),
                other => other.map(Some),
            },
        );
        sealed
            .and_then(|sealed| sealed.ok_or(Errno::BUSY))
            .map_err(|error| VmmError::os("sealing a template", error))?;
        Self::from_parts(memory, image, state)
    }

    /// A template from files, as [`Self::save_memory`] and [`Self::state`] gave them.
    ///
    /// # Errors
    /// [`VmmError::BadState`], [`VmmError::Memory`] if the files do not fit the state.
    pub fn from_parts(memory: File, image: Option<File>, state: Vec<u8>) -> Result<Self> {
        let layout = VmState::decode(&state)?.layout;
        let length = |file: &File| {
            file.metadata()
                .map(|metadata| metadata.len())
                .map_err(|error| VmmError::os("fstat", error))
        };
        let image_bytes = image.as_ref().map(length).transpose()?.unwrap_or(0);
        if length(&memory)? != layout.ram_bytes() || image_bytes != layout.image_bytes() {
            return Err(VmmError::Memory {
                cause: "memory or image of a template is not of the size its state says".to_owned(),
            });
        }
        Ok(Self {
            memory,
            image,
            state,
            layout,
            working_set: WorkingSet::default(),
        })
    }

    /// Sets the pages made present in every fork before it runs.
    pub fn set_working_set(&mut self, set: WorkingSet) {
        self.working_set = set;
    }

    /// Pages made present in every fork before it runs.
    #[must_use]
    pub fn working_set(&self) -> &WorkingSet {
        &self.working_set
    }

    /// RAM.
    #[must_use]
    pub fn memory(&self) -> &File {
        &self.memory
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> Option<&File> {
        self.image.as_ref()
    }

    /// The encoded state.
    #[must_use]
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// Sizes of RAM and image.
    #[must_use]
    pub fn layout(&self) -> MemoryLayout {
        self.layout
    }

    /// Copies RAM to the empty file `target`, leaving out what was never used.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn save_memory(&self, target: &File) -> Result<()> {
        sparse::copy(&self.memory, target)
            .map_err(|error| VmmError::os("copying guest memory", error))
    }
}
