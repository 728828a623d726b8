//! Reading a receipt, which anybody may have changed.

use crate::{MAX_LINE_BYTES, SEALED, link, parts};
use blake3::Hash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// Most kinds of events that are counted: those of a receipt of ours are few.
const MAX_KINDS: usize = 64;

/// What a receipt whose chain holds says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Entries that are there.
    pub entries: u64,
    /// Entries that could not be written when they happened.
    pub missing: u64,
    /// Whether it is complete. Else entries at its end may be missing, or are still to come.
    pub is_sealed: bool,
    /// When the first entry was written, in milliseconds since 1970.
    pub first_ms: u64,
    /// When the last one was.
    pub last_ms: u64,
    /// Hash of the last entry, in hexadecimal: noted elsewhere, it proves all of the receipt.
    pub hash: String,
    /// How often each event happened.
    pub events: BTreeMap<String, u64>,
}

/// Where a receipt is not what was written.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("the receipt cannot be read")]
    Read(#[from] io::Error),
    /// It has no entry.
    #[error("there is no entry in it")]
    Empty,
    /// A line is not as it was written, or one before it was dropped.
    #[error("line {line}: {what}")]
    Broken {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

#[derive(Deserialize)]
struct Entry {
    n: u64,
    at_ms: u64,
    event: String,
}

/// Checks a receipt from its first line to its last.
///
/// # Errors
/// [`Fault`], with the first line that is not what was written.
pub fn verify(mut receipt: impl BufRead) -> Result<Verified, Fault> {
    let mut verified = Verified::default();
    let mut last = Hash::from_bytes([0; 32]);
    let mut number = 0;
    let mut text = Vec::new();
    for line in 1.. {
        let broken = |what| Fault::Broken { line, what };
        text.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        if (&mut receipt).take(limit).read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let whole = text.strip_suffix(b"\n");
        let whole = whole.ok_or_else(|| broken("it is cut short, or too long"))?;
        if verified.is_sealed {
            return Err(broken("it stands behind the seal"));
        }
        let (hash, entry) = parts(whole).ok_or_else(|| broken("it is no entry"))?;
        if link(&last, entry) != hash {
            return Err(broken(
                "it was changed, or entries before it were dropped, added or changed",
            ));
        }
        let Entry { n, at_ms, event } =
            serde_json::from_slice(entry).map_err(|_| broken("it is no entry"))?;
        if n <= number {
            return Err(broken("its number does not follow"));
        }
        verified.missing = verified.missing.saturating_add(n - number - 1);
        verified.entries += 1;
        if line == 1 {
            verified.first_ms = at_ms;
        }
        verified.last_ms = at_ms;
        verified.is_sealed = event == SEALED;
        if verified.events.contains_key(&event) || verified.events.len() < MAX_KINDS {
            *verified.events.entry(event).or_default() += 1;
        }
        (last, number) = (hash, n);
    }
    if verified.entries == 0 {
        return Err(Fault::Empty);
    }
    verified.hash = last.to_hex().to_string();
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Chain;
    use proptest::prelude::*;
    use serde_json::json;
    use std::fs::{self, File, OpenOptions};
    use std::path::Path;

    fn open(path: &Path) -> File {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path);
        file.expect("opened")
    }

    /// A receipt of `count` entries, sealed or not, written by two processes in turn.
    fn receipt(count: u64, is_sealed: bool) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipt");
        for n in 0..count {
            let mut chain = Chain::open(open(&path)).expect("a chain");
            let event = json!({"event": "start", "shown": format!("line\n{n}")});
            chain.append(&event).expect("written");
        }
        if is_sealed {
            Chain::open(open(&path))
                .expect("a chain")
                .seal()
                .expect("sealed");
        }
        fs::read(path).expect("read")
    }

    #[test]
    fn a_receipt_holds() {
        let verified = verify(&receipt(3, true)[..]).expect("whole");
        assert_eq!((verified.entries, verified.missing), (4, 0));
        assert!(verified.is_sealed && verified.first_ms <= verified.last_ms);
        assert_eq!(verified.events["start"], 3);
        assert!(!verify(&receipt(3, false)[..]).expect("whole").is_sealed);
        assert!(matches!(verify(&b""[..]), Err(Fault::Empty)));
    }

    #[test]
    fn every_change_is_seen() {
        let whole = receipt(3, true);
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let without = |dropped: usize| -> Vec<u8> {
            let kept = lines.iter().enumerate().filter(|(at, _)| *at != dropped);
            kept.flat_map(|(_, line)| line.to_vec()).collect()
        };
        for dropped in 0..3 {
            assert!(verify(&without(dropped)[..]).is_err(), "{dropped}");
        }
        // The seal alone can go unnoticed; then it is not sealed.
        assert!(!verify(&without(3)[..]).expect("whole").is_sealed);
        let swapped = [lines[1], lines[0], lines[2], lines[3]].concat();
        assert!(verify(&swapped[..]).is_err());
        let added = [&whole[..], lines[1]].concat();
        assert!(verify(&added[..]).is_err());
        let long = [&whole[..], &vec![b'a'; 2 * MAX_LINE_BYTES]].concat();
        assert!(verify(&long[..]).is_err());
    }

    #[test]
    fn a_crash_cuts_no_receipt_and_a_failure_is_a_gap() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("receipt");
        fs::write(&path, [&receipt(2, false)[..], b"{\"hash\":\"12"].concat()).expect("written");
        assert!(verify(&fs::read(&path).expect("read")[..]).is_err());
        let mut chain = Chain::open(open(&path)).expect("a chain");
        let long = json!({"event": "start", "shown": "a".repeat(MAX_LINE_BYTES)});
        assert!(chain.append(&long).is_err());
        chain.append(&json!({"event": "end"})).expect("written");
        let verified = verify(&fs::read(&path).expect("read")[..]).expect("whole");
        assert_eq!((verified.entries, verified.missing), (3, 1));
        for nonsense in [&b"\n"[..], b"x\n", &[b'a'; 3 * MAX_LINE_BYTES]] {
            fs::write(&path, nonsense).expect("written");
            assert!(Chain::open(open(&path)).is_err());
        }
    }

    proptest! {
        /// Any byte changed is seen, but for the seal's own newline.
        #[test]
        fn a_flipped_bit_is_seen(at: prop::sample::Index, bit in 0..8_u32) {
            let mut bytes = receipt(3, true);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let seen = match verify(&bytes[..]) {
                Err(_) => true,
                // Hexadecimal is read in either case.
                Ok(_) => bytes[at].is_ascii_alphabetic() && bit == 5,
            };
            prop_assert!(seen, "{at} {bit}");
        }

        #[test]
        fn anything_is_decided(bytes: Vec<u8>) {
            let _ = verify(&bytes[..]);
        }
    }
}
