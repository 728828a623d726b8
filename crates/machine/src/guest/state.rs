//! What a connection knows, and what each message of a guest does to it.

use super::event::Event;
use super::room::Room;
use crate::calls::{Incoming, Step};
use crate::{MachineError, Result};
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use ukernel_abi::frame::{FrameError, encode};
use ukernel_abi::message::{FileError, FileReply, GuestMessage, HostMessage, INPUT_WINDOW_BYTES};

/// Why a connection is over.
#[derive(Clone, Debug)]
pub(super) enum Broken {
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

/// An execution as the connection knows it.
pub(super) struct Entry {
    pub(super) events: mpsc::UnboundedSender<(Event, u64)>,
    /// Bytes the guest may still say.
    pub(super) room: u64,
    pub(super) calls: Incoming,
    pub(super) input: Arc<Room>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) next: u32,
    pub(super) executions: HashMap<u32, Entry>,
    pub(super) requests: HashMap<u32, oneshot::Sender<Result<FileReply, FileError>>>,
    pub(super) pings: HashMap<u64, oneshot::Sender<()>>,
    /// Gets what is said before the guest is ready.
    pub(super) greetings: Option<mpsc::Sender<GuestMessage>>,
    pub(super) outgoing: VecDeque<u8>,
    pub(super) broken: Option<Broken>,
}

impl State {
    /// A number nobody has had on this connection.
    pub(super) fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// Queues a message to be written.
    pub(super) fn queue(&mut self, message: &HostMessage) -> Result<(), FrameError> {
        let mut frame = Vec::new();
        encode(message, &mut frame)?;
        self.outgoing.extend(frame);
        Ok(())
    }

    /// Hands a message on. What has to be answered at once, is given back.
    pub(super) fn take(&mut self, message: GuestMessage) -> Result<Option<HostMessage>, Broken> {
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

pub(super) fn broken_by(error: std::io::Error) -> Broken {
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
