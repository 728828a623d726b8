//! What runs: VMs, and the manager that starts, keeps ready and ends them.

mod manager;
mod metrics;
mod pool;
mod reaper;

pub use manager::VmManager;
pub use metrics::PoolMetrics;

use crate::engine::last_words;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;
use ukernel_machine::calls::Answers;
use ukernel_machine::guest::{Ended, Event, Guest, Program, Until};
use ukernel_machine::saved::Body;
use ukernel_machine::{Machine, MachineError};

/// A VM with a greeted guest.
pub struct Vm {
    machine: Box<dyn Machine>,
    /// `None`: its channel was lost, and could not be opened again.
    guest: Option<Guest>,
    /// It was started beside the pool.
    is_overflow: bool,
}

impl Vm {
    /// Greets the guest of a machine just started.
    pub(crate) fn greet(mut machine: Box<dyn Machine>) -> Result<Self, MachineError> {
        let guest = Guest::greet(machine.connect()?)?;
        Ok(Self {
            machine,
            guest: Some(guest),
            is_overflow: false,
        })
    }

    /// See [`Guest::exec`].
    pub(crate) fn exec(
        &mut self,
        program: &Program<'_>,
        deadline: Instant,
        stop: BorrowedFd<'_>,
        answers: &Answers,
        events: &mut dyn FnMut(Event) -> Result<(), MachineError>,
    ) -> Result<Ended, MachineError> {
        let until = Until {
            deadline: Some(deadline),
            cancel: Some(stop),
            answers: Some(answers),
        };
        self.guest()?.exec(program, until, events)
    }

    /// See [`Guest::interrupt`].
    pub(crate) fn interrupt(
        &mut self,
        deadline: Instant,
        answers: &Answers,
        events: &mut dyn FnMut(Event) -> Result<(), MachineError>,
    ) -> Result<Ended, MachineError> {
        let until = Until {
            deadline: Some(deadline),
            cancel: None,
            answers: Some(answers),
        };
        let guest = self.guest.as_mut().ok_or(MachineError::Closed)?;
        guest.interrupt(self.machine.as_mut(), until, events)
    }

    /// Writes a file of the guest.
    pub(crate) fn write_file(&mut self, path: &str, content: &[u8]) -> Result<(), MachineError> {
        self.guest()?.write_file(path, content)
    }

    /// Reads a file of the guest.
    pub(crate) fn read_file(&mut self, path: &str, max: usize) -> Result<Vec<u8>, MachineError> {
        self.guest()?.read_file(path, max)
    }

    /// Writes what the machine has become into a folder, and goes on. See [`Machine::snapshot`].
    pub(crate) fn snapshot(&mut self, folder: &Path) -> Result<(), MachineError> {
        let taken = Body::create(folder).and_then(|mut body| self.machine.snapshot(&mut body));
        if self.machine.keeps_channel() {
            return taken;
        }
        // Greeted again whatever came of it. It hears that it is who it was.
        self.guest = None;
        match self.machine.connect().and_then(Guest::greet) {
            Ok(guest) => {
                self.guest = Some(guest);
                taken
            }
            Err(error) => taken.and(Err(error)),
        }
    }

    fn guest(&mut self) -> Result<&mut Guest, MachineError> {
        self.guest.as_mut().ok_or(MachineError::Closed)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(
            self.machine.wait_ending(std::time::Duration::ZERO),
            Ok(None)
        )
    }

    /// Ends it and says why it failed.
    pub(crate) fn last_words(&mut self, error: &MachineError) -> String {
        last_words(self.machine.as_mut(), error)
    }

    /// Its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.machine.process_id()
    }
}
