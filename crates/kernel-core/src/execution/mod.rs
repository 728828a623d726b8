//! One execution, from the moment it is accepted to its end.
//!
//! ```text
//!             source whole          taken by the workload            program ends
//!   COMING ────────────────> QUEUED ────────────────────> RUNNING ───────────────> (removed)
//!      │ an interrupt is latched in every state; the program meets it when it runs
//!      └ the connection ends: it goes on unheard, its calls are closed
//! ```
//! It owns everything that is its own: the code, the token, the interrupt, input, output, calls.

mod calls;
mod input;
mod interrupt;

pub use calls::CallError;
pub use input::Read;

use crate::files::Tree;
use crate::output::Output;
use alloc::rc::Rc;
use alloc::vec::Vec;
use calls::Calls;
use core::cell::{RefCell, RefMut};
use input::Input;
use interrupt::Interrupt;
use ukernel_abi::message::{Exec, OUTPUT_WINDOW_BYTES, Signal, SpilledOutput, Stream};
use ukernel_abi::parts::{Assembly, PartsError};

/// An execution that several hold: the service, the task that runs it, tasks it started.
#[derive(Clone)]
pub struct Running(Rc<RefCell<Execution>>);

impl Running {
    pub(crate) fn new(execution: Execution) -> Self {
        Self(Rc::new(RefCell::new(execution)))
    }

    /// One that nobody asked for and nobody hears: what a component does before it is given
    /// anything to run.
    #[must_use]
    pub fn nobody() -> Self {
        let exec = Exec::program("", Vec::new());
        let mut execution = Execution::new(0, exec, None);
        execution.close();
        Self::new(execution)
    }

    /// The execution. Not to be held across anything that may switch tasks.
    #[must_use]
    pub fn get(&self) -> RefMut<'_, Execution> {
        self.0.borrow_mut()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// One execution.
pub struct Execution {
    /// What the host calls it. Numbers begin anew with every connection.
    pub id: u32,
    /// What is run; taken when it begins.
    exec: Option<Exec>,
    /// Its source, as long as that is not whole.
    source: Option<Assembly>,
    is_heard: bool,
    interrupt: Interrupt,
    /// Its standard input.
    pub input: Input,
    output: Output,
    /// Bytes it may say before the host has granted more.
    room: u64,
    /// Its host calls.
    pub calls: Calls,
}

impl Execution {
    pub(crate) fn new(id: u32, exec: Exec, source: Option<Assembly>) -> Self {
        Self {
            id,
            source,
            is_heard: true,
            interrupt: Interrupt::default(),
            input: Input::new(exec.has_input),
            output: Output::new(id, exec.inline_output_bytes),
            room: OUTPUT_WINDOW_BYTES,
            calls: Calls::new(exec.token),
            exec: Some(exec),
        }
    }

    /// Adds to the source. Whether it is whole now.
    pub(crate) fn add_source(&mut self, part: &[u8]) -> Result<bool, PartsError> {
        let coming = self.source.as_mut().filter(|source| !source.is_whole());
        let source = coming.ok_or(PartsError::TooMany)?;
        source.push(part)?;
        Ok(source.is_whole())
    }

    /// Whether its source is not whole yet.
    pub(crate) fn is_coming(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| !source.is_whole())
    }

    /// Whether it has not begun.
    pub(crate) fn is_waiting(&self) -> bool {
        self.exec.is_some()
    }

    /// What to run, once.
    pub fn take_exec(&mut self) -> Option<Exec> {
        let mut exec = self.exec.take()?;
        if let Some(source) = self.source.take() {
            exec.source = source.into_bytes();
        }
        Some(exec)
    }

    /// Whether the connection that asked for it is still there.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// The connection has ended: nobody will hear, answer or send any more.
    pub(crate) fn close(&mut self) {
        self.is_heard = false;
        self.calls.close();
        self.input.end();
    }

    /// The host wants it to end. Whether the program has met that already, so that the host can
    /// be told.
    pub(crate) fn want_interrupt(&mut self) -> bool {
        self.interrupt.want()
    }

    /// Whether the host wants it to end and the program has not met that yet.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_wanted()
    }

    /// The program meets the interrupt. `is_reached`: it was reached from outside, perhaps before
    /// the host's message. Whether there was one to be met.
    pub fn take_interrupt(&mut self, is_reached: bool) -> bool {
        self.interrupt.take(is_reached)
    }

    /// The message that says that the program has met the interrupt.
    #[must_use]
    pub fn signalled(&self) -> ukernel_abi::message::GuestMessage {
        ukernel_abi::message::GuestMessage::Signalled {
            id: self.id,
            signal: Signal::Interrupt,
            is_supported: true,
        }
    }

    /// The program wrote to a stream. How many of the first bytes are to be sent.
    pub fn print(&mut self, tree: &mut Tree, stream: Stream, bytes: &[u8]) -> usize {
        let sent = self.output.write(tree, stream, bytes);
        if self.is_heard { sent } else { 0 }
    }

    /// Whether it may say something now: there is room, or nobody who counts.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.room > 0 || !self.is_heard
    }

    /// Takes room for at most `bytes`; how much there was.
    pub fn take_room(&mut self, bytes: u64) -> u64 {
        let taken = bytes.min(self.room);
        self.room -= taken;
        taken
    }

    /// Takes room for a message that is not cut, even more than there is.
    pub fn take_room_whole(&mut self, bytes: u64) {
        self.room = self.room.saturating_sub(bytes);
    }

    /// The host grants room.
    pub(crate) fn grant_room(&mut self, bytes: u64) {
        self.room = self.room.saturating_add(bytes).min(OUTPUT_WINDOW_BYTES);
    }

    /// It has ended: what was printed and not sent.
    pub(crate) fn finish(&mut self, tree: &mut Tree) -> Vec<SpilledOutput> {
        self.calls.close();
        self.input.end();
        core::mem::replace(&mut self.output, Output::new(self.id, 0)).finish(tree)
    }
}
