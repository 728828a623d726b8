//! What runs: VMs, and the manager that starts, keeps ready and ends them.

mod manager;
mod metrics;
mod pool;
mod reaper;

pub use manager::VmManager;
pub use metrics::PoolMetrics;

use crate::engine::last_words;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use ukernel_abi::message::{FileEntry, FileOp, FileStatus};
use ukernel_machine::guest::{Guest, follow};
use ukernel_machine::saved::Body;
use ukernel_machine::{Machine, MachineError};

/// A VM with a greeted guest.
pub struct Vm {
    /// Shared with whoever interrupts a program in it.
    machine: Arc<Mutex<Box<dyn Machine>>>,
    /// `None`: its channel was lost, and could not be opened again.
    guest: Option<Guest>,
    /// It was started beside the pool.
    is_overflow: bool,
}

/// Waits for a guest on a thread that may block, and knows the runtime.
fn wait_for<R>(future: impl Future<Output = R>) -> R {
    Handle::current().block_on(future)
}

impl Vm {
    /// Greets the guest of a machine just started. Only on a thread that may block.
    pub(crate) fn greet(mut machine: Box<dyn Machine>) -> Result<Self, MachineError> {
        let guest = wait_for(Guest::greet(machine.connect()?))?;
        Ok(Self {
            machine: Arc::new(Mutex::new(machine)),
            guest: Some(guest),
            is_overflow: false,
        })
    }

    fn machine(&self) -> MutexGuard<'_, Box<dyn Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its guest.
    ///
    /// # Errors
    /// [`MachineError::Closed`] if the channel was lost.
    pub(crate) fn guest(&self) -> Result<&Guest, MachineError> {
        self.guest.as_ref().ok_or(MachineError::Closed)
    }

    /// What reaches a program that computes: see [`Machine::interrupt`].
    pub(crate) fn reach(&self) -> follow::Reach<'static> {
        let machine = Arc::clone(&self.machine);
        follow::reach(move || {
            let mut machine = machine.lock().unwrap_or_else(PoisonError::into_inner);
            machine.interrupt()
        })
    }

    /// Writes a file of the guest. Only on a thread that may block.
    pub(crate) fn write_file(&self, path: &str, content: &[u8]) -> Result<(), MachineError> {
        wait_for(self.guest()?.write_file(path, content))
    }

    /// Reads a file of the guest. Only on a thread that may block.
    pub(crate) fn read_file(&self, path: &str, max: usize) -> Result<Vec<u8>, MachineError> {
        wait_for(self.guest()?.read_file(path, max))
    }

    /// Writes a piece of a file of the guest, at most
    /// [`MAX_CHUNK_BYTES`](ukernel_abi::message::MAX_CHUNK_BYTES) with one message. Only on a
    /// thread that may block.
    pub(crate) fn write_at(
        &self,
        path: &str,
        offset: u64,
        truncate: bool,
        bytes: &[u8],
    ) -> Result<(), MachineError> {
        wait_for(self.guest()?.write_at(path, offset, truncate, bytes))
    }

    /// Reads a piece of a file of the guest. Only on a thread that may block.
    pub(crate) fn read_at(
        &self,
        path: &str,
        offset: u64,
        max: usize,
    ) -> Result<Vec<u8>, MachineError> {
        wait_for(self.guest()?.read_at(path, offset, max))
    }

    /// What is at a path of the guest. Only on a thread that may block.
    pub(crate) fn stat(&self, path: &str) -> Result<FileStatus, MachineError> {
        wait_for(self.guest()?.stat(path))
    }

    /// The entries of a folder of the guest. Only on a thread that may block.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<FileEntry>, MachineError> {
        wait_for(self.guest()?.list(path))
    }

    /// Makes a folder, renames or removes. Only on a thread that may block.
    pub(crate) fn change(&self, path: &str, op: FileOp) -> Result<(), MachineError> {
        wait_for(self.guest()?.change(path, op))
    }

    /// Writes what the machine has become into a folder, and goes on. See [`Machine::snapshot`].
    /// Only on a thread that may block.
    pub(crate) fn snapshot(&mut self, folder: &Path) -> Result<(), MachineError> {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = Body::create(folder).and_then(|mut body| machine.snapshot(&mut body));
        if machine.keeps_channel() {
            return taken;
        }
        // Greeted again whatever came of it. It hears that it is who it was.
        self.guest = None;
        let greeted = machine
            .connect()
            .and_then(|channel| wait_for(Guest::greet(channel)));
        match greeted {
            Ok(guest) => {
                self.guest = Some(guest);
                taken
            }
            Err(error) => taken.and(Err(error)),
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        let ending = self.machine().wait_ending(std::time::Duration::ZERO);
        !matches!(ending, Ok(None))
    }

    /// Ends it and says why it failed.
    pub(crate) fn last_words(&self, error: &MachineError) -> String {
        last_words(self.machine().as_mut(), error)
    }

    /// Its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.machine().process_id()
    }
}
