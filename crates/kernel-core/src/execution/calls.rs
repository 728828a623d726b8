//! Host calls of an execution: what it asked and the answers.
//!
//! ```text
//!   begin ──> WAITING ── Answer ──> COMING ── last part ──> ANSWERED ──> take
//!                │                    │                         (a bad part: ANSWERED, refused)
//!                └── connection ended ┴──────────────────> CLOSED
//! ```
//! The session's token stays in here: it goes out with every call and no program ever sees it.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ukernel_abi::message::{
    MAX_CALL_BYTES, MAX_CALL_NAME_BYTES, MAX_PENDING_CALL_BYTES, MAX_PENDING_CALLS, SessionToken,
};
use ukernel_abi::parts::{Assembly, PartsError};

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The host says so, or this execution may not ask.
    Refused(String),
    /// The execution was interrupted meanwhile.
    Interrupted,
    /// The connection ended meanwhile.
    Closed,
}

struct Pending {
    /// Length of what was asked with.
    payload_bytes: usize,
    state: State,
}

enum State {
    Waiting,
    Coming { is_result: bool, payload: Assembly },
    Answered(Result<Vec<u8>, String>),
    Closed,
}

/// The calls of one execution.
pub struct Calls {
    /// `None`: it may not call, or not any more.
    token: Option<SessionToken>,
    /// By number.
    pending: BTreeMap<u32, Pending>,
    next: u32,
}

impl Calls {
    pub(super) fn new(token: Option<SessionToken>) -> Self {
        Self {
            token,
            pending: BTreeMap::new(),
            next: 1,
        }
    }

    /// A call begins: its number, and the token it shows.
    ///
    /// # Errors
    /// [`CallError::Refused`].
    pub fn begin(
        &mut self,
        name: &str,
        payload_bytes: usize,
    ) -> Result<(u32, SessionToken), CallError> {
        if name.is_empty() || name.len() > MAX_CALL_NAME_BYTES {
            return Err(refused("the name of a host call has 1 to 64 bytes"));
        }
        if payload_bytes > MAX_CALL_BYTES {
            return Err(refused("a host call carries at most 16 MiB"));
        }
        let Some(token) = self.token else {
            return Err(refused("nobody answers host calls of this execution"));
        };
        let waiting: usize = self.pending.values().map(|call| call.payload_bytes).sum();
        if self.pending.len() >= MAX_PENDING_CALLS
            || waiting + payload_bytes > MAX_PENDING_CALL_BYTES
        {
            return Err(refused("too many host calls wait for answers"));
        }
        let call = self.next;
        self.next = call.wrapping_add(1);
        let pending = Pending {
            payload_bytes,
            state: State::Waiting,
        };
        self.pending.insert(call, pending);
        Ok((call, token))
    }

    /// Whether there is something to be taken.
    #[must_use]
    pub fn is_answered(&self, call: u32) -> bool {
        self.pending
            .get(&call)
            .is_none_or(|pending| matches!(pending.state, State::Answered(_) | State::Closed))
    }

    /// Ends a call: its answer, or why there is none. One that is not answered is given up.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn take(&mut self, call: u32) -> Result<Vec<u8>, CallError> {
        match self.pending.remove(&call).map(|pending| pending.state) {
            Some(State::Answered(answer)) => answer.map_err(CallError::Refused),
            Some(State::Closed) | None => Err(CallError::Closed),
            Some(State::Waiting | State::Coming { .. }) => Err(CallError::Interrupted),
        }
    }

    /// The beginning of an answer. One that nobody waits for is passed over.
    pub(crate) fn answer(&mut self, call: u32, is_result: bool, length: u64, first: Vec<u8>) {
        let coming: u64 = self.pending.values().map(|call| call.answer_bytes()).sum();
        let Some(pending) = self.pending.get_mut(&call) else {
            return;
        };
        if !matches!(pending.state, State::Waiting) {
            return;
        }
        pending.state = if coming.saturating_add(length) > MAX_PENDING_CALL_BYTES as u64 {
            State::Answered(Err("answers that wait have more than 64 MiB".to_string()))
        } else {
            match Assembly::begin(length, first, MAX_CALL_BYTES) {
                Ok(payload) => coming_state(is_result, payload),
                Err(error) => State::Answered(Err(error.to_string())),
            }
        };
    }

    /// What follows of an answer. `push` adds to it where memory may be short.
    pub(crate) fn answer_part(
        &mut self,
        call: u32,
        push: impl FnOnce(&mut Assembly) -> Result<(), PartsError>,
    ) {
        let Some(pending) = self.pending.get_mut(&call) else {
            return;
        };
        let state = core::mem::replace(&mut pending.state, State::Waiting);
        pending.state = match state {
            State::Coming {
                is_result,
                mut payload,
            } => match push(&mut payload) {
                Ok(()) => coming_state(is_result, payload),
                Err(error) => State::Answered(Err(error.to_string())),
            },
            other => other,
        };
    }

    /// Nobody will answer, and no call is taken any more.
    pub(super) fn close(&mut self) {
        self.token = None;
        for pending in self.pending.values_mut() {
            pending.state = State::Closed;
        }
    }
}

impl Pending {
    fn answer_bytes(&self) -> u64 {
        match &self.state {
            State::Coming { payload, .. } => payload.length() as u64,
            State::Answered(Ok(bytes)) => bytes.len() as u64,
            _ => 0,
        }
    }
}

fn refused(reason: &str) -> CallError {
    CallError::Refused(reason.to_string())
}

fn coming_state(is_result: bool, payload: Assembly) -> State {
    if !payload.is_whole() {
        return State::Coming { is_result, payload };
    }
    let bytes = payload.into_bytes();
    State::Answered(if is_result {
        Ok(bytes)
    } else {
        Err(String::from_utf8_lossy(&bytes).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;

    fn calls() -> Calls {
        Calls::new(Some([1; 32]))
    }

    #[test]
    fn an_answer_reaches_its_call() {
        let mut calls = calls();
        let (first, token) = calls.begin("query", 3).expect("a call");
        let (second, _) = calls.begin("query", 3).expect("another");
        assert_eq!(token, [1; 32]);
        calls.answer(second, true, 4, b"ab".to_vec());
        calls.answer(99, true, 1, b"x".to_vec());
        assert!(!calls.is_answered(first) && !calls.is_answered(second));
        calls.answer_part(second, |answer| answer.push(b"cd"));
        assert_eq!(calls.take(second), Ok(b"abcd".to_vec()));
        calls.answer(first, false, 2, b"no".to_vec());
        assert_eq!(calls.take(first), Err(CallError::Refused("no".to_string())));
        assert_eq!(calls.take(first), Err(CallError::Closed), "once");
    }

    #[test]
    fn bytes_that_wait_are_bounded() {
        let mut calls = calls();
        for _ in 0..4 {
            calls.begin("query", MAX_CALL_BYTES).expect("room");
        }
        assert!(calls.begin("query", 1).is_err(), "64 MiB are under way");
        calls.answer(1, true, 0, Vec::new());
        calls.take(1).expect("an answer");
        calls.begin("query", 1).expect("room again");
        for call in 2..=4 {
            calls.answer(call, true, MAX_CALL_BYTES as u64, vec![0; MAX_CALL_BYTES]);
        }
        calls.answer(5, true, 17 << 20, Vec::new());
        assert!(matches!(calls.take(5), Err(CallError::Refused(_))));
    }

    #[test]
    fn without_a_token_or_after_the_end_nobody_calls() {
        assert!(Calls::new(None).begin("query", 1).is_err());
        let mut calls = calls();
        let (call, _) = calls.begin("query", 1).expect("a call");
        calls.close();
        assert_eq!(calls.take(call), Err(CallError::Closed));
        assert!(calls.begin("query", 1).is_err());
    }
}
