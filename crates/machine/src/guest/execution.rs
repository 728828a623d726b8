//! One execution, as its caller sees it.

use super::connection::Link;
use super::event::{Event, Said};
use super::room::Room;
use crate::calls::CallResult;
use crate::{MachineError, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::OwnedSemaphorePermit;
use ukernel_abi::message::{
    HostMessage, MAX_CALL_BYTES, MAX_CHUNK_BYTES, OUTPUT_WINDOW_BYTES, Outcome, Signal,
    TerminalSize,
};
use ukernel_abi::parts::cut;

/// An execution that was begun. One that is dropped before its end goes on in its guest: end the
/// machine, or send [`Signal::Kill`] where the guest knows that.
#[derive(Debug)]
pub struct Execution {
    link: Arc<Link>,
    id: u32,
    events: Said,
    /// Bytes handed on since the guest was last granted room.
    taken: u64,
    room: Arc<Room>,
    is_signalled: Arc<AtomicBool>,
    has_ended: bool,
    /// Its place among those its guest can run at once.
    _slot: OwnedSemaphorePermit,
}

impl Execution {
    pub(super) fn begin(
        link: Arc<Link>,
        slot: OwnedSemaphorePermit,
        has_input: bool,
    ) -> Result<Self> {
        let room = Arc::new(Room::new(has_input));
        let (id, events) = link.begin(Arc::clone(&room))?;
        Ok(Self {
            link,
            id,
            events,
            taken: 0,
            room,
            is_signalled: Arc::default(),
            has_ended: false,
            _slot: slot,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// What it says next. The guest may say more as this is called: whoever does not read stops
    /// this execution, and no other. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Why the connection is over: [`MachineError::Closed`], [`MachineError::Frame`],
    /// [`MachineError::Unexpected`]. [`MachineError::Refused`]: it never began.
    pub async fn next(&mut self) -> Result<Event> {
        if self.taken >= OUTPUT_WINDOW_BYTES / 2 && !self.has_ended {
            self.link.grant(self.id, self.taken).await?;
            self.taken = 0;
        }
        let event = self.events.recv().await;
        let (event, weight) = event.ok_or_else(|| self.link.failure())?;
        self.taken += weight;
        match &event {
            Event::Signalled(Signal::Interrupt, _) => {
                self.is_signalled.store(true, Ordering::Release)
            }
            Event::Ended {
                outcome: Outcome::Refused(refusal),
                ..
            } => {
                self.has_ended = true;
                return Err(MachineError::Refused(refusal.to_string()));
            }
            Event::Ended { .. } => self.has_ended = true,
            _ => {}
        }
        Ok(event)
    }

    /// To send it signals while [`Self::next`] waits.
    #[must_use]
    pub fn signals(&self) -> Signals {
        Signals {
            link: Arc::clone(&self.link),
            id: self.id,
            is_signalled: Arc::clone(&self.is_signalled),
        }
    }

    /// To send it input while [`Self::next`] waits.
    #[must_use]
    pub fn input(&self) -> Input {
        Input {
            link: Arc::clone(&self.link),
            id: self.id,
            room: Arc::clone(&self.room),
        }
    }

    /// To answer its host calls while [`Self::next`] waits.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers {
            link: Arc::clone(&self.link),
            id: self.id,
        }
    }
}

/// Sends signals to an execution. For one that has ended that does nothing.
#[derive(Clone, Debug)]
pub struct Signals {
    link: Arc<Link>,
    id: u32,
    is_signalled: Arc<AtomicBool>,
}

impl Signals {
    /// Sends a signal. [`Event::Signalled`] says when it has reached the program.
    ///
    /// # Errors
    /// As [`Execution::next`].
    pub async fn send(&self, signal: Signal) -> Result<()> {
        self.is_signalled.store(false, Ordering::Release);
        let id = self.id;
        self.link.send(&HostMessage::Signal { id, signal }).await
    }

    /// Whether the last interrupt is known to have reached the program.
    #[must_use]
    pub fn has_reached(&self) -> bool {
        self.is_signalled.load(Ordering::Acquire)
    }

    /// Says that its terminal has another size.
    ///
    /// # Errors
    /// As [`Execution::next`].
    pub async fn resize(&self, size: TerminalSize) -> Result<()> {
        let id = self.id;
        self.link.send(&HostMessage::Resize { id, size }).await
    }
}

/// Answers host calls of an execution.
#[derive(Clone, Debug)]
pub struct Answers {
    link: Arc<Link>,
    id: u32,
}

impl Answers {
    /// Sends the answer to a call; one that is too long is refused for the guest.
    ///
    /// # Errors
    /// As [`Execution::next`].
    pub async fn answer(&self, call: u32, answer: CallResult) -> Result<()> {
        self.link.answered(self.id, call);
        let (is_result, payload) = match answer {
            Ok(payload) if payload.len() > MAX_CALL_BYTES => {
                (false, b"the answer has more than 16 MiB".to_vec())
            }
            Ok(payload) => (true, payload),
            Err(reason) => (false, reason.into_bytes()),
        };
        let id = self.id;
        let (first, rest) = cut(&payload);
        let message = HostMessage::Answer {
            id,
            call,
            is_result,
            length: payload.len() as u64,
            bytes: first.to_vec(),
        };
        self.link.send(&message).await?;
        for part in rest {
            let bytes = part.to_vec();
            let message = HostMessage::AnswerPart { id, call, bytes };
            self.link.send(&message).await?;
        }
        Ok(())
    }
}

/// Sends standard input to an execution, as the program reads it.
#[derive(Clone, Debug)]
pub struct Input {
    link: Arc<Link>,
    id: u32,
    room: Arc<Room>,
}

impl Input {
    /// Waits until the program reads; how many bytes it may be sent. Zero: it takes no input any
    /// more.
    pub async fn wanted(&self) -> usize {
        let bytes = self.room.wait().await;
        usize::try_from(bytes)
            .unwrap_or(MAX_CHUNK_BYTES)
            .min(MAX_CHUNK_BYTES)
    }

    /// Sends bytes, waiting for room. `false`: the program takes no input any more.
    ///
    /// # Errors
    /// As [`Execution::next`].
    pub async fn write(&self, mut bytes: &[u8]) -> Result<bool> {
        while !bytes.is_empty() {
            let count = self.wanted().await.min(bytes.len());
            if count == 0 {
                return Ok(false);
            }
            let (piece, rest) = bytes.split_at(count);
            self.room.take(count as u64);
            let message = HostMessage::Input {
                id: self.id,
                bytes: piece.to_vec(),
            };
            self.link.send(&message).await?;
            bytes = rest;
        }
        Ok(true)
    }

    /// Says that there is no more.
    ///
    /// # Errors
    /// As [`Execution::next`].
    pub async fn end(self) -> Result<()> {
        self.link.send(&HostMessage::InputEnd { id: self.id }).await
    }
}
