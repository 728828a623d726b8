//! Standard input of an execution: granted when the program reads, never more than a window.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use ukernel_abi::message::INPUT_WINDOW_BYTES;

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes, at least one.
    Bytes(Vec<u8>),
    /// There will be no more.
    End,
    /// Nothing yet.
    Wait,
}

/// Bytes that came and were not read.
pub struct Input {
    bytes: VecDeque<u8>,
    /// Bytes the host was granted and has not sent.
    granted: u64,
    has_ended: bool,
}

impl Input {
    pub(super) fn new(has_input: bool) -> Self {
        Self {
            bytes: VecDeque::new(),
            granted: 0,
            has_ended: !has_input,
        }
    }

    /// Bytes came. `false`: more than there was room for; they are dropped.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let length = bytes.len() as u64;
        if self.has_ended || length > self.granted {
            return false;
        }
        self.granted -= length;
        self.bytes.extend(bytes);
        true
    }

    /// The end came.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Whether a read gives something: bytes or the end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.bytes.is_empty() || self.has_ended
    }

    /// Takes at most `most` bytes.
    pub fn read(&mut self, most: usize) -> Read {
        if self.bytes.is_empty() {
            return if self.has_ended {
                Read::End
            } else {
                Read::Wait
            };
        }
        let count = most.min(self.bytes.len());
        Read::Bytes(self.bytes.drain(..count).collect())
    }

    /// The program wants input: room to grant the host, if there is any worth a message.
    pub fn grant(&mut self) -> Option<u64> {
        if self.has_ended {
            return None;
        }
        let room = INPUT_WINDOW_BYTES - self.granted - self.bytes.len() as u64;
        if room < INPUT_WINDOW_BYTES / 2 {
            return None;
        }
        self.granted += room;
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn nothing_comes_before_it_is_wanted_and_never_too_much() {
        let mut input = Input::new(true);
        assert!(!input.push(b"x"), "nothing was granted");
        assert_eq!(input.read(10), Read::Wait);
        assert_eq!(input.grant(), Some(INPUT_WINDOW_BYTES));
        assert_eq!(input.grant(), None, "all is granted");
        assert!(input.push(&vec![7; INPUT_WINDOW_BYTES as usize]));
        assert!(!input.push(b"x"));
        assert_eq!(input.read(3), Read::Bytes(vec![7; 3]));
        assert_eq!(input.grant(), None, "not worth a message");
        let half = INPUT_WINDOW_BYTES as usize / 2;
        assert!(matches!(input.read(half), Read::Bytes(_)));
        assert_eq!(input.grant(), Some(half as u64 + 3));
        input.end();
        assert!(!input.push(b"x"), "after the end");
        assert!(matches!(input.read(usize::MAX), Read::Bytes(_)));
        assert_eq!(input.read(1), Read::End);
    }

    #[test]
    fn without_input_there_is_its_end() {
        let mut input = Input::new(false);
        assert!(input.is_ready());
        assert_eq!((input.read(1), input.grant()), (Read::End, None));
    }
}
