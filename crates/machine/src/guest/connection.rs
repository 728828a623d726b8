//! One connection to a guest: a task that reads and hands on, and writes what is queued.
//!
//! Nothing a guest sends is kept without a bound. What an execution says is bounded by its window
//! (`ukernel_abi::message`, flow control), its calls by number and bytes, answers to requests by
//! the requests. What is sent waits in one queue of [`OUTGOING_BYTES`].

use super::event::Said;
use super::room::Room;
use super::state::{Broken, Entry, State, broken_by};
use crate::calls::Incoming;
use crate::{MachineError, Result};
use rustix::net::Shutdown;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot};
use ukernel_abi::frame::Decoder;
use ukernel_abi::message::{
    FileError, FileOp, FileReply, GuestMessage, HostMessage, OUTPUT_WINDOW_BYTES,
};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 32 << 10;

/// Bytes that may wait to be written before who sends has to wait.
const OUTGOING_BYTES: usize = 1 << 20;

/// Greetings kept: a guest says two.
const GREETINGS: usize = 2;

/// A connection. Shared by the guest, its executions and the task.
pub(super) struct Connection {
    stream: UnixStream,
    state: Mutex<State>,
    /// Told when there is something to write.
    queued: Notify,
    /// Told when there is room in the queue.
    written: Notify,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A user of a connection. When the last is gone the connection is closed, at once: its task may
/// be polled much later.
#[derive(Debug)]
pub(super) struct Link(Arc<Connection>);

impl std::ops::Deref for Link {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

impl Link {
    /// Takes the stream over; gives what the guest says until it is ready.
    pub(super) fn open(stream: StdStream) -> Result<(Arc<Self>, mpsc::Receiver<GuestMessage>)> {
        let failed = |error| MachineError::io("opening the channel", error);
        stream.set_nonblocking(true).map_err(failed)?;
        let stream = UnixStream::from_std(stream).map_err(failed)?;
        let (greetings, said) = mpsc::channel(GREETINGS);
        let state = State {
            next: 1,
            greetings: Some(greetings),
            ..State::default()
        };
        let connection = Arc::new(Connection {
            stream,
            state: Mutex::new(state),
            queued: Notify::new(),
            written: Notify::new(),
        });
        tokio::spawn(Arc::clone(&connection).drive());
        Ok((Arc::new(Self(connection)), said))
    }
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hang_up(&self) {
        // Fails only where the other end is gone already.
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Both);
    }

    /// Reads, hands on and writes, until the connection is over.
    async fn drive(self: Arc<Self>) {
        let broken = self.converse().await;
        // A guest that goes on sending hears that nobody reads.
        self.hang_up();
        let mut state = self.state();
        state.broken = Some(broken);
        // Everybody who waits hears of it.
        for entry in state.executions.values() {
            entry.input.close();
        }
        state.executions.clear();
        state.requests.clear();
        state.pings.clear();
        state.greetings = None;
        state.outgoing.clear();
        drop(state);
        self.written.notify_waiters();
    }

    async fn converse(&self) -> Broken {
        let mut decoder = Decoder::new();
        loop {
            let has_outgoing = !self.state().outgoing.is_empty();
            let done = tokio::select! {
                ready = self.stream.readable() => ready.map_err(broken_by).and_then(|()| self.read(&mut decoder)),
                ready = self.stream.writable(), if has_outgoing => ready.map_err(broken_by).and_then(|()| self.write()),
                () = self.queued.notified() => Ok(()),
            };
            if let Err(broken) = done {
                return broken;
            }
        }
    }

    /// Takes what has come off the socket and hands it on.
    fn read(&self, decoder: &mut Decoder<GuestMessage>) -> Result<(), Broken> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => return Err(Broken::Closed),
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(broken_by(error)),
        }
        let mut state = self.state();
        while let Some(message) = decoder.next_message().map_err(Broken::Frame)? {
            let refused = state.take(message)?;
            if let Some(answer) = refused {
                state.queue(&answer).map_err(Broken::Frame)?;
                self.queued.notify_one();
            }
        }
        Ok(())
    }

    /// Writes what is queued, as far as the socket takes it.
    fn write(&self) -> Result<(), Broken> {
        let mut state = self.state();
        while !state.outgoing.is_empty() {
            match self.stream.try_write(state.outgoing.as_slices().0) {
                Ok(count) => drop(state.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(broken_by(error)),
            }
        }
        drop(state);
        self.written.notify_waiters();
        Ok(())
    }

    /// Queues a message, waiting for room. Queued whole or not at all, also when this future is
    /// dropped.
    ///
    /// # Errors
    /// [`MachineError::Frame`] if it is too large; else why the connection is over.
    pub(super) async fn send(&self, message: &HostMessage) -> Result<()> {
        loop {
            let room = self.written.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.state();
                if let Some(broken) = &state.broken {
                    return Err(broken.clone().into());
                }
                if state.outgoing.len() < OUTGOING_BYTES {
                    let was_empty = state.outgoing.is_empty();
                    state.queue(message)?;
                    drop(state);
                    // Most messages fit the socket at once, without a turn of the task.
                    if was_empty && self.write().is_ok() && self.state().outgoing.is_empty() {
                        return Ok(());
                    }
                    self.queued.notify_one();
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Why the connection is over.
    pub(super) fn failure(&self) -> MachineError {
        let broken = self.state().broken.clone();
        broken.unwrap_or(Broken::Closed).into()
    }

    /// What the guest says next on its way to be ready.
    pub(super) async fn greeting(
        &self,
        said: &mut mpsc::Receiver<GuestMessage>,
    ) -> Result<GuestMessage> {
        said.recv().await.ok_or_else(|| self.failure())
    }

    /// A number for a new execution, and what it says.
    pub(super) fn begin(&self, input: Arc<Room>) -> Result<(u32, Said)> {
        let (events, said) = mpsc::unbounded_channel();
        let mut state = self.state();
        if let Some(broken) = &state.broken {
            return Err(broken.clone().into());
        }
        let id = state.number();
        let entry = Entry {
            events,
            room: OUTPUT_WINDOW_BYTES,
            calls: Incoming::default(),
            input,
        };
        state.executions.insert(id, entry);
        Ok((id, said))
    }

    /// Lets an execution say more.
    pub(super) async fn grant(&self, id: u32, bytes: u64) -> Result<()> {
        if let Some(entry) = self.state().executions.get_mut(&id) {
            entry.room += bytes;
        }
        self.send(&HostMessage::OutputRoom { id, bytes }).await
    }

    /// A call of an execution has its answer.
    pub(super) fn answered(&self, id: u32, call: u32) {
        if let Some(entry) = self.state().executions.get_mut(&id) {
            entry.calls.answered(call);
        }
    }

    /// Has something done with files, and waits for it.
    pub(super) async fn file(&self, op: FileOp) -> Result<Result<FileReply, FileError>> {
        let (answer, answered) = oneshot::channel();
        let request = {
            let mut state = self.state();
            let request = state.number();
            state.requests.insert(request, answer);
            request
        };
        self.send(&HostMessage::File { request, op }).await?;
        answered.await.map_err(|_| self.failure())
    }

    /// Asks for a sign of life, and waits for it.
    pub(super) async fn ping(&self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        let nonce = {
            let mut state = self.state();
            let nonce = state.number().into();
            state.pings.insert(nonce, answer);
            nonce
        };
        self.send(&HostMessage::Ping { nonce }).await?;
        answered.await.map_err(|_| self.failure())
    }
}
