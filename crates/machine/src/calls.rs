//! Host calls of a guest: put together as they come, and answered from other threads.

use crate::{Channel, MachineError, Result};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use ukernel_abi::message::{
    HostMessage, MAX_CALL_BYTES, MAX_CALL_NAME_BYTES, MAX_PENDING_CALLS, SessionToken,
};
use ukernel_abi::parts::{Assembly, cut};

/// What a program asks the host for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// Names the call; its answer carries it.
    pub number: u32,
    /// What the guest shows for it. To be compared with the session's own.
    pub token: SessionToken,
    /// What is asked for.
    pub name: String,
    /// With what.
    pub payload: Vec<u8>,
}

/// What the host says to a call: a result, or why there is none.
pub type CallResult = std::result::Result<Vec<u8>, String>;

/// Answers on their way to a guest. Pushed by any thread, taken by the one that follows the
/// execution.
#[derive(Debug)]
pub struct Answers {
    queue: Mutex<VecDeque<(u32, CallResult)>>,
    wake: OwnedFd,
}

impl Answers {
    /// None yet.
    ///
    /// # Errors
    /// The host has no file descriptor left.
    pub fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = eventfd(0, flags).map_err(|error| MachineError::io("eventfd", error))?;
        Ok(Self {
            queue: Mutex::default(),
            wake,
        })
    }

    /// Adds the answer to a call.
    pub fn push(&self, number: u32, answer: CallResult) {
        self.queue().push_back((number, answer));
        // Fails only where the counter is full: then it is readable already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<(u32, CallResult)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Queues all answers there are on the channel.
    pub(crate) fn send(&self, channel: &mut Channel) -> Result<()> {
        // Empty if another answer was taken with the last wake-up.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        loop {
            let Some((number, answer)) = self.queue().pop_front() else {
                return Ok(());
            };
            let (is_result, payload) = match answer {
                Ok(payload) if payload.len() > MAX_CALL_BYTES => {
                    (false, b"the answer has more than 16 MiB".to_vec())
                }
                Ok(payload) => (true, payload),
                Err(reason) => (false, reason.into_bytes()),
            };
            let (first, rest) = cut(&payload);
            channel.queue(&HostMessage::Answer {
                call: number,
                is_result,
                length: payload.len() as u64,
                bytes: first.to_vec(),
            })?;
            for part in rest {
                channel.queue(&HostMessage::AnswerPart {
                    call: number,
                    bytes: part.to_vec(),
                })?;
            }
        }
    }
}

/// Calls of which parts have come.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    calls: HashMap<u32, (HostCall, Assembly)>,
}

impl Incoming {
    /// The beginning of a call; the call, if that is all of it.
    pub(crate) fn begin(
        &mut self,
        call: HostCall,
        length: u64,
        first: Vec<u8>,
    ) -> Result<Option<HostCall>> {
        if call.name.len() > MAX_CALL_NAME_BYTES {
            return Err(unexpected("a host call with too long a name"));
        }
        if self.calls.len() >= MAX_PENDING_CALLS || self.calls.contains_key(&call.number) {
            return Err(unexpected("more host calls than there may be"));
        }
        let assembly = Assembly::begin(length, first).map_err(unexpected)?;
        let number = call.number;
        self.calls.insert(number, (call, assembly));
        Ok(self.take_whole(number))
    }

    /// What follows of a call; the call, if that is the last of it.
    pub(crate) fn push(&mut self, number: u32, part: &[u8]) -> Result<Option<HostCall>> {
        let Some((_, assembly)) = self.calls.get_mut(&number) else {
            return Err(unexpected("a part of a host call that was not begun"));
        };
        assembly.push(part).map_err(unexpected)?;
        Ok(self.take_whole(number))
    }

    fn take_whole(&mut self, number: u32) -> Option<HostCall> {
        if !self.calls.get(&number)?.1.is_whole() {
            return None;
        }
        let (call, assembly) = self.calls.remove(&number)?;
        Some(HostCall {
            payload: assembly.into_bytes(),
            ..call
        })
    }
}

fn unexpected(what: impl std::fmt::Display) -> MachineError {
    MachineError::Unexpected(what.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u32) -> HostCall {
        HostCall {
            number,
            token: [1; 32],
            name: "query".to_owned(),
            payload: Vec::new(),
        }
    }

    #[test]
    fn calls_that_come_in_parts_and_mixed_are_put_together() {
        let mut incoming = Incoming::default();
        let begun = incoming.begin(call(1), 4, b"ab".to_vec());
        assert_eq!(begun.expect("a beginning"), None);
        let whole = incoming.begin(call(2), 1, b"x".to_vec()).expect("whole");
        assert_eq!(whole.expect("whole").payload, b"x");
        let whole = incoming.push(1, b"cd").expect("a part").expect("whole");
        assert_eq!((whole.number, whole.payload), (1, b"abcd".to_vec()));
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let mut incoming = Incoming::default();
        assert!(incoming.push(7, b"x").is_err());
        assert!(incoming.begin(call(1), u64::MAX, b"x".to_vec()).is_err());
        let mut long = call(1);
        long.name = "x".repeat(65);
        assert!(incoming.begin(long, 1, b"x".to_vec()).is_err());
        for number in 0..16 {
            incoming
                .begin(call(number), 2, b"x".to_vec())
                .expect("room");
        }
        assert!(incoming.begin(call(99), 2, b"x".to_vec()).is_err());
        assert!(incoming.begin(call(1), 2, b"x".to_vec()).is_err());
    }
}
