//! The image: a workload packed for the µkernel.
//!
//! One page of header, then the ahead-of-time compiled component, page aligned so that
//! the guest runs it where it lies. The VMM places the file like an initial ramdisk.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | [`VERSION`], little endian |
//! | 12 | 4 | length of the adapter's name, 1..=[`MAX_NAME_BYTES`] |
//! | 16 | 8 | offset of the component from the start of the image, [`COMPONENT_OFFSET`] |
//! | 24 | 8 | length of the component, in bytes |
//! | 32 | 32 | BLAKE3 of the component |
//! | 64 | 32 | the adapter's name, UTF-8, padded with zeros |
//! | 96 | 4 | most stack its programs may use, in bytes, 1..=[`MAX_STACK_BYTES`] |
//! | 100 | 4 | number of signal words, at most [`MAX_SIGNAL_WORDS`] |
//! | 104 | 16 each | [`SignalWord`]: signal 4, address 4, bits kept 4, bits set 4 |
//! | 360 | 3736 | zeros |

use crate::engine::MAX_STACK_BYTES;
use crate::layout::PAGE_BYTES;

/// First bytes of every image.
pub const MAGIC: [u8; 8] = *b"UKIMAGE\0";

/// Version of this layout.
pub const VERSION: u32 = 2;

/// Size of the header, in bytes.
pub const HEADER_BYTES: usize = PAGE_BYTES as usize;

/// Where the component starts.
pub const COMPONENT_OFFSET: u64 = PAGE_BYTES;

/// Longest name of an adapter, in bytes.
pub const MAX_NAME_BYTES: usize = 32;

/// Most words an image may list, for all signals together.
pub const MAX_SIGNAL_WORDS: usize = 16;

const SIGNAL_WORDS_AT: usize = 104;
const SIGNAL_WORD_BYTES: usize = 16;

/// A word of the runtime's linear memory that a signal changes: `word = (word & keep) | set`.
/// The runtime looks at its words at safe points and then calls its handler of the signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalWord {
    /// Number of the signal, as POSIX has it.
    pub signal: u32,
    /// Address in linear memory, 4-byte aligned.
    pub address: u32,
    /// Bits that stay as they are.
    pub keep: u32,
    /// Bits that are set.
    pub set: u32,
}

/// What an image's first page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the component behind the header, in bytes.
    pub component_bytes: u64,
    /// BLAKE3 of the component.
    pub digest: [u8; 32],
    /// Most stack programs may use, in bytes.
    pub stack_bytes: u32,
    name: [u8; MAX_NAME_BYTES],
    name_bytes: usize,
    words: [SignalWord; MAX_SIGNAL_WORDS],
    word_count: usize,
}

/// Bytes that are not an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Shorter than its header, or than its header says.
    #[error("image is cut short: {have} bytes of {need}")]
    Truncated {
        /// Bytes there.
        have: u64,
        /// Bytes needed.
        need: u64,
    },
    /// Something else.
    #[error("not a ukernel image")]
    BadMagic,
    /// Made by another release.
    #[error("image version {version}, this is {VERSION}")]
    BadVersion {
        /// What it says.
        version: u32,
    },
    /// A field out of range, or bytes set that must be zero.
    #[error("image header is damaged")]
    BadHeader,
    /// An adapter name that is empty, too long or not UTF-8.
    #[error("adapter names are 1 to {MAX_NAME_BYTES} bytes")]
    BadName,
}

impl Header {
    /// A header for a component of `component_bytes` with this digest, run by `adapter` with
    /// `stack_bytes` of stack; its runtime is sent signals by these words.
    ///
    /// # Errors
    /// [`ImageError::BadName`]; [`ImageError::BadHeader`]: no stack or too much, too many words,
    /// or one that is not aligned.
    pub fn new(
        adapter: &str,
        component_bytes: u64,
        digest: [u8; 32],
        stack_bytes: u32,
        signal_words: &[SignalWord],
    ) -> Result<Self, ImageError> {
        if !(1..=MAX_STACK_BYTES).contains(&stack_bytes)
            || signal_words.len() > MAX_SIGNAL_WORDS
            || signal_words.iter().any(|word| word.address % 4 != 0)
        {
            return Err(ImageError::BadHeader);
        }
        let mut words = [SignalWord::default(); MAX_SIGNAL_WORDS];
        words[..signal_words.len()].copy_from_slice(signal_words);
        let name_bytes = adapter.len();
        if name_bytes == 0 || name_bytes > MAX_NAME_BYTES || adapter.contains('\0') {
            return Err(ImageError::BadName);
        }
        let mut name = [0; MAX_NAME_BYTES];
        name[..name_bytes].copy_from_slice(adapter.as_bytes());
        Ok(Self {
            component_bytes,
            digest,
            stack_bytes,
            name,
            name_bytes,
            words,
            word_count: signal_words.len(),
        })
    }

    /// Name of the adapter: `python`.
    #[must_use]
    pub fn adapter(&self) -> &str {
        // Checked when the header was made or parsed.
        core::str::from_utf8(&self.name[..self.name_bytes]).unwrap_or_default()
    }

    /// The words that signals change; none: its programs are sent no signals while they compute.
    #[must_use]
    pub fn signal_words(&self) -> &[SignalWord] {
        &self.words[..self.word_count]
    }

    /// The header as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut page = [0; HEADER_BYTES];
        page[0..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_NAME_BYTES")]
        page[12..16].copy_from_slice(&(self.name_bytes as u32).to_le_bytes());
        page[16..24].copy_from_slice(&COMPONENT_OFFSET.to_le_bytes());
        page[24..32].copy_from_slice(&self.component_bytes.to_le_bytes());
        page[32..64].copy_from_slice(&self.digest);
        page[64..96].copy_from_slice(&self.name);
        page[96..100].copy_from_slice(&self.stack_bytes.to_le_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_SIGNAL_WORDS")]
        page[100..104].copy_from_slice(&(self.word_count as u32).to_le_bytes());
        let places = page[SIGNAL_WORDS_AT..].chunks_exact_mut(SIGNAL_WORD_BYTES);
        for (word, place) in self.signal_words().iter().zip(places) {
            let fields = [word.signal, word.address, word.keep, word.set];
            for (field, bytes) in fields.iter().zip(place.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&field.to_le_bytes());
            }
        }
        page
    }

    /// Reads the header at the start of an image of `image_bytes` bytes.
    ///
    /// # Errors
    /// What is wrong with it; any bytes are decided.
    pub fn parse(start: &[u8], image_bytes: u64) -> Result<Self, ImageError> {
        let Some(page) = start.first_chunk::<HEADER_BYTES>() else {
            return Err(ImageError::Truncated {
                have: start.len() as u64,
                need: HEADER_BYTES as u64,
            });
        };
        if page[0..8] != MAGIC {
            return Err(ImageError::BadMagic);
        }
        let version = read_u32(page, 8);
        if version != VERSION {
            return Err(ImageError::BadVersion { version });
        }
        let name_bytes = read_u32(page, 12) as usize;
        let component_bytes = read_u64(page, 24);
        let need = COMPONENT_OFFSET
            .checked_add(component_bytes)
            .ok_or(ImageError::BadHeader)?;
        if component_bytes == 0 || read_u64(page, 16) != COMPONENT_OFFSET {
            return Err(ImageError::BadHeader);
        }
        if image_bytes < need {
            return Err(ImageError::Truncated {
                have: image_bytes,
                need,
            });
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&page[32..64]);
        let name = page[64..64 + MAX_NAME_BYTES]
            .get(..name_bytes)
            .and_then(|name| core::str::from_utf8(name).ok())
            .ok_or(ImageError::BadName)?;
        let mut words = [SignalWord::default(); MAX_SIGNAL_WORDS];
        for (number, word) in words.iter_mut().enumerate() {
            let field =
                |at: usize| read_u32(page, SIGNAL_WORDS_AT + number * SIGNAL_WORD_BYTES + at);
            *word = SignalWord {
                signal: field(0),
                address: field(4),
                keep: field(8),
                set: field(12),
            };
        }
        let words = words
            .get(..read_u32(page, 100) as usize)
            .ok_or(ImageError::BadHeader)?;
        let header = Self::new(name, component_bytes, digest, read_u32(page, 96), words)?;
        if header.to_bytes() != *page {
            return Err(ImageError::BadHeader);
        }
        Ok(header)
    }
}

fn read_u32(page: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

fn read_u64(page: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(read_u32(page, at)) | u64::from(read_u32(page, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn header() -> Header {
        let word = SignalWord {
            signal: 2,
            address: 8,
            keep: 0,
            set: 1,
        };
        Header::new("python", 5000, [7; 32], 4096, &[word]).expect("in range")
    }

    proptest! {
        #[test]
        fn round_trip(
            name in "[a-z]{1,32}",
            bytes in 1u64..1 << 40,
            digest in any::<[u8; 32]>(),
            stack in 1..=MAX_STACK_BYTES,
            words in proptest::collection::vec(any::<[u32; 4]>(), 0..=MAX_SIGNAL_WORDS),
        ) {
            let words: Vec<_> = words
                .into_iter()
                .map(|[signal, address, keep, set]| SignalWord { signal, address: address & !3, keep, set })
                .collect();
            let header = Header::new(&name, bytes, digest, stack, &words).expect("in range");
            let parsed = Header::parse(&header.to_bytes(), bytes + COMPONENT_OFFSET);
            prop_assert_eq!(parsed, Ok(header));
            prop_assert_eq!(header.adapter(), name);
            prop_assert_eq!(header.signal_words(), words);
        }

        /// Total, and strict: one changed byte is refused or is one of the header's fields.
        #[test]
        fn any_change_is_decided(at in 0usize..HEADER_BYTES, value in any::<u8>()) {
            let header = header();
            let mut page = header.to_bytes();
            page[at] = value;
            if let Ok(parsed) = Header::parse(&page, 1 << 30) {
                prop_assert_eq!(parsed.to_bytes(), page);
            }
        }

        #[test]
        fn any_bytes_are_decided(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let _ = Header::parse(&bytes, bytes.len() as u64);
        }
    }

    #[test]
    fn cut_short_is_said() {
        let header = header();
        assert_eq!(
            Header::parse(&header.to_bytes(), 9000),
            Err(ImageError::Truncated {
                have: 9000,
                need: 9096
            })
        );
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let new = |stack, words: &[SignalWord]| Header::new("python", 5000, [7; 32], stack, words);
        let word = SignalWord::default();
        let odd = SignalWord { address: 2, ..word };
        for header in [
            new(0, &[]),
            new(MAX_STACK_BYTES + 1, &[]),
            new(4096, &[word; MAX_SIGNAL_WORDS + 1]),
            new(4096, &[odd]),
        ] {
            assert_eq!(header, Err(ImageError::BadHeader));
        }
    }
}
