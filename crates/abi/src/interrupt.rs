//! The signal tables: how a program that only computes is reached.
//!
//! There are two of one form: the host's interrupt, and the alarm that a guest sets for itself
//! ([`PORT_ALARM`](crate::layout::PORT_ALARM)).
//!
//! Compiled code asks nobody whether it should go on: a check in every loop would cost all
//! programs speed. But language runtimes do look at words of their own memory at safe points.
//! The image says which words a signal changes ([`SignalWord`](crate::image::SignalWord)); the
//! kernel lists here where they are in physical memory. The VMM writes them
//! while the guest stands still; the runtime then calls its handler. The table is in guest
//! memory and proves nothing: a VMM writes only inside the guest's own memory, and a guest
//! that lies interrupts or corrupts itself.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | number of entries, at most [`MAX_ENTRIES`], little endian |
//! | 4 | 4 | zero |
//! | 8 | 16 each | [`Entry`]: address 8, bits kept 4, bits set 4 |

/// Guest-physical address of the interrupt's table: the start of the kernel's data.
pub const INTERRUPT_TABLE: u64 = 0x0060_0000;

/// Guest-physical address of the alarm's table, right behind.
pub const ALARM_TABLE: u64 = INTERRUPT_TABLE + TABLE_BYTES as u64;

/// Most words written for one signal.
pub const MAX_ENTRIES: usize = 8;

/// Size of the table, in bytes.
pub const TABLE_BYTES: usize = 8 + MAX_ENTRIES * ENTRY_BYTES;

const ENTRY_BYTES: usize = 16;

/// SIGINT of POSIX: ends the running execution, keeping the runtime's state.
pub const INTERRUPT: u32 = 2;

/// SIGVTALRM of POSIX, the alarm a runtime sets for itself: the one of the alarm signals that no program
/// here can have a use for.
pub const ALARM: u32 = 26;

/// The signals a program may be sent, in the order of their tables.
pub const SIGNALS: [u32; 2] = [INTERRUPT, ALARM];

/// One word to change: `word = (word & keep) | set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Guest-physical address of a 32-bit word, 4-byte aligned.
    pub address: u64,
    /// Bits that stay as they are.
    pub keep: u32,
    /// Bits that are set.
    pub set: u32,
}

/// Writes the table.
///
/// Entries beyond [`MAX_ENTRIES`] are left out.
#[must_use]
pub fn encode(entries: &[Entry]) -> [u8; TABLE_BYTES] {
    let mut table = [0; TABLE_BYTES];
    let count = entries.len().min(MAX_ENTRIES);
    table[0] = u8::try_from(count).unwrap_or(0);
    for (entry, place) in entries.iter().zip(table[8..].chunks_exact_mut(ENTRY_BYTES)) {
        place[..8].copy_from_slice(&entry.address.to_le_bytes());
        place[8..12].copy_from_slice(&entry.keep.to_le_bytes());
        place[12..].copy_from_slice(&entry.set.to_le_bytes());
    }
    table
}

/// Reads the table; any bytes are decided. `None`: it is not a table.
#[must_use]
pub fn decode(table: &[u8; TABLE_BYTES]) -> Option<impl Iterator<Item = Entry> + '_> {
    let word =
        |at: usize| u32::from_le_bytes([table[at], table[at + 1], table[at + 2], table[at + 3]]);
    let count = word(0) as usize;
    if count > MAX_ENTRIES || word(4) != 0 {
        return None;
    }
    let entry = move |number: usize| {
        let at = 8 + number * ENTRY_BYTES;
        Entry {
            address: u64::from(word(at)) | u64::from(word(at + 4)) << 32,
            keep: word(at + 8),
            set: word(at + 12),
        }
    };
    (0..count)
        .all(|number| entry(number).address.is_multiple_of(4))
        .then(|| (0..count).map(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(words in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..=MAX_ENTRIES)) {
            let entries: Vec<Entry> = words
                .into_iter()
                .map(|(address, keep, set)| Entry { address: u64::from(address) * 4, keep, set })
                .collect();
            let table = encode(&entries);
            let read: Vec<Entry> = decode(&table).expect("a table").collect();
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn any_bytes_are_decided(bytes in proptest::collection::vec(any::<u8>(), TABLE_BYTES)) {
            let table: [u8; TABLE_BYTES] = bytes.try_into().expect("the size");
            if let Some(entries) = decode(&table) {
                prop_assert!(entries.count() <= MAX_ENTRIES);
            }
        }
    }
}
