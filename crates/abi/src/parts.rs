//! Payloads longer than a frame: cut into parts by who sends, put together by who receives.
//!
//! The first message says how long the whole is. Nothing is set aside on the strength of that
//! word: memory grows with the bytes that came.

use crate::message::MAX_CHUNK_BYTES;
use alloc::vec::Vec;

/// Parts that do not make what was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// More was announced than is allowed.
    #[error("{length} bytes announced, allowed are {most}")]
    TooLong {
        /// What was announced.
        length: u64,
        /// What is allowed.
        most: usize,
    },
    /// More came than was announced.
    #[error("more bytes came than were announced")]
    TooMany,
    /// A part without bytes, where some are missing: the whole might never end.
    #[error("an empty part")]
    Empty,
    /// There is no memory for it.
    #[error("no memory")]
    NoMemory,
}

/// A payload of which parts have come.
#[derive(Debug)]
pub struct Assembly {
    length: usize,
    bytes: Vec<u8>,
}

impl Assembly {
    /// The beginning of a payload of this length, which may have at most `most` bytes.
    ///
    /// # Errors
    /// [`PartsError`].
    pub fn begin(length: u64, first: Vec<u8>, most: usize) -> Result<Self, PartsError> {
        let whole = usize::try_from(length).ok();
        let whole = whole.filter(|whole| *whole <= most);
        let length = whole.ok_or(PartsError::TooLong { length, most })?;
        let assembly = Self {
            length,
            bytes: first,
        };
        assembly.check(&assembly.bytes)?;
        Ok(assembly)
    }

    /// Adds a part.
    ///
    /// # Errors
    /// [`PartsError`].
    pub fn push(&mut self, part: &[u8]) -> Result<(), PartsError> {
        if self.bytes.try_reserve(part.len()).is_err() {
            return Err(PartsError::NoMemory);
        }
        self.bytes.extend_from_slice(part);
        self.check(part)
    }

    fn check(&self, part: &[u8]) -> Result<(), PartsError> {
        if self.bytes.len() > self.length {
            return Err(PartsError::TooMany);
        }
        if part.is_empty() && !self.is_whole() {
            return Err(PartsError::Empty);
        }
        Ok(())
    }

    /// Whether all of it has come.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.bytes.len() == self.length
    }

    /// Length of the whole, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// What has come.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A payload as its first part and the parts that follow.
pub fn cut(payload: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let (first, rest) = payload.split_at(payload.len().min(MAX_CHUNK_BYTES));
    (first, rest.chunks(MAX_CHUNK_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn a_payload_of_any_length_is_put_together_again() {
        for length in [
            0,
            1,
            MAX_CHUNK_BYTES,
            MAX_CHUNK_BYTES + 1,
            3 * MAX_CHUNK_BYTES,
        ] {
            let payload = vec![7; length];
            let (first, rest) = cut(&payload);
            let mut assembly =
                Assembly::begin(length as u64, first.to_vec(), length).expect("a beginning");
            for part in rest {
                assert!(!assembly.is_whole());
                assembly.push(part).expect("a part");
            }
            assert!(assembly.is_whole());
            assert_eq!(assembly.into_bytes(), payload);
        }
    }

    #[test]
    fn what_makes_no_whole_is_refused() {
        let begin = |length, first: &[u8]| Assembly::begin(length, first.to_vec(), 8);
        let too_long = PartsError::TooLong { length: 9, most: 8 };
        assert_eq!(begin(9, b"x").err(), Some(too_long));
        assert!(begin(u64::MAX, b"x").is_err());
        assert_eq!(begin(1, b"xy").err(), Some(PartsError::TooMany));
        assert_eq!(begin(1, b"").err(), Some(PartsError::Empty));
        let mut assembly = begin(3, b"x").expect("a beginning");
        assert_eq!(assembly.push(b""), Err(PartsError::Empty));
        assert_eq!(assembly.push(b"abc"), Err(PartsError::TooMany));
    }

    proptest! {
        /// Any parts make a whole of the announced length, or an error.
        #[test]
        fn any_parts_are_decided(
            length in 0u64..64,
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..16), 1..8),
        ) {
            let mut parts = parts.into_iter();
            let first = parts.next().unwrap_or_default();
            if let Ok(mut assembly) = Assembly::begin(length, first, 64) {
                for part in parts {
                    if assembly.push(&part).is_err() {
                        return Ok(());
                    }
                }
                let is_whole = assembly.is_whole();
                prop_assert_eq!(is_whole, assembly.into_bytes().len() as u64 == length);
            }
        }
    }
}
