//! Host calls of one execution, put together as they come, and bounded until they are answered.

use crate::{MachineError, Result};
use std::collections::HashMap;
use ukernel_abi::message::{
    MAX_CALL_BYTES, MAX_CALL_NAME_BYTES, MAX_PENDING_CALL_BYTES, MAX_PENDING_CALLS, SessionToken,
};
use ukernel_abi::parts::Assembly;

/// What a program asks the host for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// Names the call in its execution; its answer carries it.
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

/// What a message about a call leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More parts follow.
    More,
    /// The call is whole.
    Whole(HostCall),
    /// There are too many under way: it is to be refused, by this number.
    Refused(u32),
}

/// Calls that are under way: of which parts have come, and those that are not answered.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    partial: HashMap<u32, Partial>,
    /// Lengths of the payloads of calls that are begun and not answered.
    open: HashMap<u32, usize>,
}

#[derive(Debug)]
enum Partial {
    Coming(HostCall, Assembly),
    /// Refused already; so many bytes of it are still to come.
    Dropped(usize),
}

impl Incoming {
    /// The beginning of a call, whose payload has `length` bytes.
    ///
    /// # Errors
    /// [`MachineError::Unexpected`] for what no guest of ours does.
    pub(crate) fn begin(&mut self, call: HostCall, length: u64, first: Vec<u8>) -> Result<Step> {
        let number = call.number;
        if call.name.len() > MAX_CALL_NAME_BYTES {
            return Err(unexpected("a host call with too long a name"));
        }
        if self.open.contains_key(&number) || self.partial.len() >= MAX_PENDING_CALLS {
            return Err(unexpected("more host calls than there may be"));
        }
        let assembly = Assembly::begin(length, first, MAX_CALL_BYTES).map_err(unexpected)?;
        let bytes: usize = self.open.values().sum();
        // A program that gave calls up at an interrupt may have more under way than it counts.
        if self.open.len() >= MAX_PENDING_CALLS
            || bytes + assembly.length() > MAX_PENDING_CALL_BYTES
        {
            let left = assembly.length() - assembly.into_bytes().len();
            if left > 0 {
                self.partial.insert(number, Partial::Dropped(left));
            }
            return Ok(Step::Refused(number));
        }
        self.open.insert(number, assembly.length());
        self.partial.insert(number, Partial::Coming(call, assembly));
        Ok(self.take_whole(number))
    }

    /// What follows of a call.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(crate) fn push(&mut self, number: u32, part: &[u8]) -> Result<Step> {
        match self.partial.get_mut(&number) {
            Some(Partial::Coming(_, assembly)) => assembly.push(part).map_err(unexpected)?,
            Some(Partial::Dropped(left)) if !part.is_empty() && part.len() <= *left => {
                *left -= part.len();
                if *left == 0 {
                    self.partial.remove(&number);
                }
            }
            _ => return Err(unexpected("a part of a host call that was not begun")),
        }
        Ok(self.take_whole(number))
    }

    /// A call has its answer.
    pub(crate) fn answered(&mut self, number: u32) {
        self.open.remove(&number);
    }

    fn take_whole(&mut self, number: u32) -> Step {
        match self.partial.remove(&number) {
            Some(Partial::Coming(call, assembly)) if assembly.is_whole() => Step::Whole(HostCall {
                payload: assembly.into_bytes(),
                ..call
            }),
            Some(partial) => {
                self.partial.insert(number, partial);
                Step::More
            }
            None => Step::More,
        }
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

    fn whole(step: Step) -> HostCall {
        match step {
            Step::Whole(call) => call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_that_come_in_parts_and_mixed_are_put_together() {
        let mut incoming = Incoming::default();
        let begun = incoming.begin(call(1), 4, b"ab".to_vec());
        assert_eq!(begun.expect("a beginning"), Step::More);
        let second = whole(incoming.begin(call(2), 1, b"x".to_vec()).expect("whole"));
        assert_eq!(second.payload, b"x");
        let first = whole(incoming.push(1, b"cd").expect("a part"));
        assert_eq!((first.number, first.payload), (1, b"abcd".to_vec()));
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
            let begun = incoming.begin(call(number), 2, b"x".to_vec());
            assert_eq!(begun.expect("room"), Step::More);
        }
        assert!(incoming.begin(call(99), 2, b"x".to_vec()).is_err());
        assert!(incoming.begin(call(1), 2, b"x".to_vec()).is_err());
    }

    #[test]
    fn whole_calls_count_until_they_are_answered_by_number_and_bytes() {
        let mut incoming = Incoming::default();
        for number in 0..4 {
            let payload = vec![0; MAX_CALL_BYTES];
            let begun = incoming.begin(call(number), MAX_CALL_BYTES as u64, payload);
            whole(begun.expect("room"));
        }
        let begun = incoming.begin(call(4), 3, b"ab".to_vec());
        assert_eq!(begun.expect("decided"), Step::Refused(4));
        assert_eq!(incoming.push(4, b"c").expect("dropped"), Step::More);
        assert!(incoming.push(4, b"d").is_err(), "that was all of it");
        incoming.answered(0);
        whole(incoming.begin(call(5), 1, b"a".to_vec()).expect("room"));
    }
}
