//! Frames: how messages are laid on a byte stream.
//!
//! A frame is the length of its body (u32, little endian, `1..=`[`MAX_FRAME_BYTES`])
//! followed by the body, one message in postcard. [`Decoder`] takes bytes in any pieces:
//!
//! ```text
//!          push(bytes)                 4 bytes there                body there
//!   LENGTH ───────────> LENGTH ... ──────────────────> BODY ... ────────────────> message, LENGTH
//!      └─ length 0 or over the bound, body not a message, bytes left over ─> error, for good
//! ```

use alloc::vec::Vec;
use core::marker::PhantomData;
use serde::{Serialize, de::DeserializeOwned};

/// Largest body of a frame, in bytes. A peer that announces more is hostile or broken.
pub const MAX_FRAME_BYTES: usize = 512 << 10;

/// Bytes before the body.
pub const HEADER_BYTES: usize = 4;

/// A byte stream that is not a sequence of frames. There is no way to resynchronise:
/// the connection, and with it the VM, has to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced length is zero or over the bound.
    #[error("frame of {length} bytes announced, allowed are 1 to {MAX_FRAME_BYTES}")]
    BadLength {
        /// What was announced.
        length: usize,
    },
    /// The body is not a message of the expected type.
    #[error("frame body is not a message of this protocol")]
    Malformed,
    /// A message to be sent does not fit a frame.
    #[error("message of {length} bytes does not fit a frame of {MAX_FRAME_BYTES}")]
    TooLarge {
        /// Its encoded size.
        length: usize,
    },
}

/// Appends `message` as one frame to `out`.
///
/// # Errors
/// [`FrameError::TooLarge`], with `out` unchanged.
pub fn encode<M: Serialize>(message: &M, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let body = postcard::to_allocvec(message).map_err(|_| FrameError::Malformed)?;
    if body.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge { length: body.len() });
    }
    // The bound above fits u32.
    #[expect(clippy::cast_possible_truncation)]
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Turns a byte stream into messages. Holds at most one frame and the bytes last pushed.
#[derive(Debug)]
pub struct Decoder<M> {
    buffer: Vec<u8>,
    consumed: usize,
    failed: Option<FrameError>,
    message: PhantomData<fn() -> M>,
}

impl<M> Default for Decoder<M> {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            consumed: 0,
            failed: None,
            message: PhantomData,
        }
    }
}

impl<M: DeserializeOwned> Decoder<M> {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that arrived. Take all messages out with [`Self::next_message`] before
    /// pushing more, so that memory stays bounded.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes waiting to become a message.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.consumed
    }

    /// The next whole message, `None` if more bytes are needed.
    ///
    /// # Errors
    /// The stream is not a sequence of frames; every later call gives the same error.
    pub fn next_message(&mut self) -> Result<Option<M>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.step();
        if let Err(error) = &result {
            self.failed = Some(*error);
            self.buffer = Vec::new();
            self.consumed = 0;
        }
        result
    }

    fn step(&mut self) -> Result<Option<M>, FrameError> {
        let rest = &self.buffer[self.consumed..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length == 0 || length > MAX_FRAME_BYTES {
            return Err(FrameError::BadLength { length });
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let (message, left) = postcard::take_from_bytes(body).map_err(|_| FrameError::Malformed)?;
        if !left.is_empty() {
            return Err(FrameError::Malformed);
        }
        self.consumed += HEADER_BYTES + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{GuestMessage, HostMessage, Outcome, SpilledOutput, Stream};
    use alloc::vec;
    use proptest::prelude::*;

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            (any::<i32>(), proptest::option::of(".*"))
                .prop_map(|(code, value)| Outcome::Exited { code, value }),
            (".*", ".*").prop_map(|(kind, message)| Outcome::Exception { kind, message }),
            Just(Outcome::Interrupted),
            ".*".prop_map(|reason| Outcome::Trapped { reason }),
            any::<i32>().prop_map(|code| Outcome::RuntimeExited { code }),
        ]
    }

    fn guest_message() -> impl Strategy<Value = GuestMessage> {
        prop_oneof![
            (any::<u16>(), ".*")
                .prop_map(|(version, guest)| GuestMessage::Hello { version, guest }),
            (any::<u32>(), any::<bool>(), any::<Vec<u8>>()).prop_map(|(id, out, bytes)| {
                GuestMessage::Output {
                    id,
                    stream: if out { Stream::Stdout } else { Stream::Stderr },
                    bytes,
                }
            }),
            (
                any::<u32>(),
                outcome(),
                proptest::option::of((".*", any::<u64>()))
            )
                .prop_map(|(id, outcome, spilled)| {
                    let spilled = spilled.map(|(path, bytes)| SpilledOutput {
                        stream: Stream::Stdout,
                        path,
                        bytes,
                        kept_bytes: bytes,
                    });
                    GuestMessage::Done {
                        id,
                        outcome,
                        spilled: spilled.into_iter().collect(),
                    }
                }),
            any::<u64>().prop_map(|nonce| GuestMessage::Pong { nonce }),
        ]
    }

    proptest! {
        /// Messages survive any cutting of the stream.
        #[test]
        fn round_trip_in_pieces(messages in proptest::collection::vec(guest_message(), 0..8), cut in 1usize..97) {
            let mut stream = Vec::new();
            for message in &messages {
                encode(message, &mut stream).expect("small messages fit");
            }
            let mut decoder = Decoder::<GuestMessage>::new();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(message) = decoder.next_message().expect("a valid stream") {
                    seen.push(message);
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert_eq!(decoder.pending_bytes(), 0);
        }

        /// Total: any bytes give messages or one lasting error, for either direction.
        #[test]
        fn any_bytes_are_decided(bytes in any::<Vec<u8>>()) {
            fn drain<M: DeserializeOwned>(bytes: &[u8]) -> Result<(), FrameError> {
                let mut decoder = Decoder::<M>::new();
                decoder.push(bytes);
                while decoder.next_message()?.is_some() {}
                Ok(())
            }
            let _ = drain::<GuestMessage>(&bytes);
            let _ = drain::<HostMessage>(&bytes);
        }

        /// Total for bodies too: a valid length in front of any bytes.
        #[test]
        fn any_body_is_decided(body in proptest::collection::vec(any::<u8>(), 1..512)) {
            let mut stream = u32::try_from(body.len()).expect("small").to_le_bytes().to_vec();
            stream.extend_from_slice(&body);
            let mut decoder = Decoder::<GuestMessage>::new();
            decoder.push(&stream);
            let first = decoder.next_message();
            prop_assert!(first != Ok(None), "a whole frame is a message or an error");
        }
    }

    #[test]
    fn oversized_and_empty_frames_are_refused_for_good() {
        for length in [0u32, MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
            let mut decoder = Decoder::<GuestMessage>::new();
            decoder.push(&length.to_le_bytes());
            let expected = Err(FrameError::BadLength {
                length: length as usize,
            });
            assert_eq!(decoder.next_message(), expected);
            decoder.push(&[0; 64]);
            assert_eq!(decoder.next_message(), expected, "the error lasts");
            assert_eq!(decoder.pending_bytes(), 0, "and nothing is kept");
        }
    }

    #[test]
    fn a_message_over_the_bound_is_not_sent() {
        let mut out = vec![1, 2, 3];
        let message = HostMessage::Input {
            id: 1,
            bytes: vec![0; MAX_FRAME_BYTES],
        };
        assert!(matches!(
            encode(&message, &mut out),
            Err(FrameError::TooLarge { .. })
        ));
        assert_eq!(out, [1, 2, 3]);
    }
}
