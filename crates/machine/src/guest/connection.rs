//! One connection to a guest: a task that reads and hands on, and writes what is queued.
//!
//! Nothing a guest sends is kept without a bound. What an execution says is bounded by its window
//! (`ukernel_abi::message`, flow control), its calls by number and bytes, answers to requests by
//! the requests. What is sent waits in one queue of [`OUTGOING_BYTES`].

use super::execution::{Event, Room};
use crate::calls::{Incoming, Step};
use crate::{MachineError, Result};
use rustix::net::Shutdown;
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot};
use ukernel_abi::frame::{Decoder, FrameError, encode};
use ukernel_abi::message::{
    FileError, FileOp, FileReply, GuestMessage, HostMessage, INPUT_WINDOW_BYTES,
    OUTPUT_WINDOW_BYTES,
};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 32 << 10;

/// Bytes that may wait to be written before who sends has to wait.
const OUTGOING_BYTES: usize = 1 << 20;

/// Greetings kept: a guest says two.
const GREETINGS: usize = 2;

/// Why a connection is over.
#[derive(Clone, Debug)]
enum Broken {
    Closed,
    Frame(FrameError),
    Unexpected(String),
}

impl From<Broken> for MachineError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Closed => Self::Closed,
            Broken::Frame(error) => Self::Frame(error),
            Broken::Unexpected(what) => Self::Unexpected(what),
        }
    }
}

/// What an execution says, each with what it takes of the window, in bytes.
pub(super) type Said = mpsc::UnboundedReceiver<(Event, u64)>;

/// An execution as the connection knows it.
struct Entry {
    events: mpsc::UnboundedSender<(Event, u64)>,
    /// Bytes the guest may still say.
    room: u64,
    calls: Incoming,
    input: Arc<Room>,
}

#[derive(Default)]
struct State {
    next: u32,
    executions: HashMap<u32, Entry>,
    requests: HashMap<u32, oneshot::Sender<Result<FileReply, FileError>>>,
    pings: HashMap<u64, oneshot::Sender<()>>,
    /// Gets what is said before the guest is ready.
    greetings: Option<mpsc::Sender<GuestMessage>>,
    outgoing: VecDeque<u8>,
    broken: Option<Broken>,
}

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

impl State {
    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    fn queue(&mut self, message: &HostMessage) -> Result<(), FrameError> {
        let mut frame = Vec::new();
        encode(message, &mut frame)?;
        self.outgoing.extend(frame);
        Ok(())
    }

    /// Hands a message on. What has to be answered at once, is given back.
    fn take(&mut self, message: GuestMessage) -> Result<Option<HostMessage>, Broken> {
        let weight = message.weight().map_or(0, |(_, bytes)| bytes);
        if let Some((id, bytes)) = message.weight()
            && let Some(entry) = self.executions.get_mut(&id)
        {
            let left = entry.room.checked_sub(bytes);
            // A record is not cut: it may end a little beyond the window.
            let is_record = !matches!(message, GuestMessage::Output { .. });
            entry.room = match left {
                Some(left) => left,
                None if is_record && entry.room > 0 => 0,
                None => return Err(broken("more output than there was room for")),
            };
        }
        match message {
            GuestMessage::Output { id, stream, bytes } => {
                self.tell(id, Event::Output(stream, bytes), weight);
            }
            GuestMessage::Log { id, level, message } => {
                self.tell(id, Event::Log(level, message), weight);
            }
            GuestMessage::Trace { id, at_ns, record } => {
                self.tell(id, Event::Trace(at_ns, record), weight);
            }
            GuestMessage::Signalled {
                id,
                signal,
                is_supported,
            } => self.tell(id, Event::Signalled(signal, is_supported), 0),
            GuestMessage::Done {
                id,
                outcome,
                spilled,
            } => {
                if let Some(entry) = self.executions.remove(&id) {
                    entry.input.close();
                    // Nobody listens to one that was given up.
                    let _ = entry.events.send((Event::Ended { outcome, spilled }, 0));
                }
            }
            GuestMessage::InputRoom { id, bytes } => {
                if let Some(entry) = self.executions.get(&id)
                    && !entry.input.grant(bytes, INPUT_WINDOW_BYTES)
                {
                    return Err(broken("more room for input than there may be"));
                }
            }
            GuestMessage::Call {
                id,
                call,
                token,
                name,
                length,
                bytes,
            } => {
                let call = crate::calls::HostCall {
                    number: call,
                    token,
                    name,
                    payload: Vec::new(),
                };
                return self.call(id, |calls| calls.begin(call, length, bytes));
            }
            GuestMessage::CallPart { id, call, bytes } => {
                return self.call(id, |calls| calls.push(call, &bytes));
            }
            GuestMessage::File { request, result } => {
                let Some(request) = self.requests.remove(&request) else {
                    return Err(broken("an answer to no request"));
                };
                // Who asked may have given up.
                let _ = request.send(result);
            }
            GuestMessage::Pong { nonce } => {
                let Some(ping) = self.pings.remove(&nonce) else {
                    return Err(broken("an answer to no ping"));
                };
                let _ = ping.send(());
            }
            GuestMessage::Hello { .. }
            | GuestMessage::Ready { .. }
            | GuestMessage::Refused { .. } => self.greet(message)?,
        }
        Ok(None)
    }

    fn greet(&mut self, message: GuestMessage) -> Result<(), Broken> {
        let is_ready = matches!(message, GuestMessage::Ready { .. });
        let said = match &self.greetings {
            Some(greetings) => greetings.try_send(message).map_err(|error| match error {
                mpsc::error::TrySendError::Full(message)
                | mpsc::error::TrySendError::Closed(message) => message,
            }),
            None => Err(message),
        };
        if is_ready {
            self.greetings = None;
        }
        said.map_err(|message| Broken::Unexpected(shown(&message)))
    }

    fn tell(&self, id: u32, event: Event, weight: u64) {
        // What concerns an execution that has ended or was given up, concerns nobody.
        if let Some(entry) = self.executions.get(&id) {
            let _ = entry.events.send((event, weight));
        }
    }

    fn call(
        &mut self,
        id: u32,
        step: impl FnOnce(&mut Incoming) -> Result<Step>,
    ) -> Result<Option<HostMessage>, Broken> {
        let Some(entry) = self.executions.get_mut(&id) else {
            return Ok(None);
        };
        match step(&mut entry.calls).map_err(|error| Broken::Unexpected(error.to_string()))? {
            Step::More => Ok(None),
            Step::Whole(call) => {
                let _ = entry.events.send((Event::Call(call), 0));
                Ok(None)
            }
            Step::Refused(call) => {
                let reason = b"too many host calls are under way".to_vec();
                Ok(Some(HostMessage::Answer {
                    id,
                    call,
                    is_result: false,
                    length: reason.len() as u64,
                    bytes: reason,
                }))
            }
        }
    }
}

fn broken(what: &str) -> Broken {
    Broken::Unexpected(what.to_owned())
}

fn broken_by(error: std::io::Error) -> Broken {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Broken::Closed,
        _ => Broken::Unexpected(format!("the channel: {error}")),
    }
}

/// The beginning of what a guest said, for people.
fn shown(message: &GuestMessage) -> String {
    format!("{message:?}").chars().take(200).collect()
}

pub(super) fn unexpected(message: &GuestMessage) -> MachineError {
    MachineError::Unexpected(shown(message))
}
