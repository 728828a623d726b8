//! Writing a receipt.

use crate::{BEFORE_ENTRY, BEFORE_HASH, MAX_LINE_BYTES, SEALED, link, parts};
use blake3::Hash;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// A receipt that is being written.
#[derive(Debug)]
pub struct Chain {
    file: File,
    last: Hash,
    /// Entries that were to be written.
    count: u64,
}

#[derive(Serialize)]
struct Entry<'a, E> {
    n: u64,
    at_ms: u64,
    #[serde(flatten)]
    event: &'a E,
}

/// What the last entry is looked at for.
#[derive(Deserialize)]
struct Number {
    n: u64,
}

#[derive(Serialize)]
struct Seal {
    event: &'static str,
}

impl Chain {
    /// Goes on with the receipt in a file that is open for reading and appending, and that nobody
    /// else writes. What a crash cut short is removed: it was never an entry.
    ///
    /// # Errors
    /// Those of the file; [`ErrorKind::InvalidData`] if its end is no receipt's.
    pub fn open(mut file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let from = length.saturating_sub(2 * MAX_LINE_BYTES as u64);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&file)
            .take(2 * MAX_LINE_BYTES as u64)
            .read_to_end(&mut tail)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n');
        let end = whole.map_or(0, |at| at + 1);
        if end == 0 && from > 0 {
            return Err(damaged());
        }
        file.set_len(from + end as u64)?;
        let line = tail[..end].strip_suffix(b"\n");
        let Some(line) = line else {
            let last = Hash::from_bytes([0; 32]);
            return Ok(Self {
                file,
                last,
                count: 0,
            });
        };
        let begin = line.iter().rposition(|byte| *byte == b'\n');
        let (last, entry) = parts(&line[begin.map_or(0, |at| at + 1)..]).ok_or_else(damaged)?;
        let Number { n } = serde_json::from_slice(entry)?;
        Ok(Self {
            file,
            last,
            count: n,
        })
    }

    /// Adds an entry: an event, whose fields are the entry's.
    ///
    /// # Errors
    /// Those of the file; [`ErrorKind::InvalidInput`] for an event that is too long. The receipt tells
    /// of the gap.
    pub fn append(&mut self, event: &impl Serialize) -> io::Result<()> {
        self.count += 1;
        let entry = serde_json::to_vec(&Entry {
            n: self.count,
            at_ms: now_ms(),
            event,
        })?;
        let hash = link(&self.last, &entry);
        let mut line = format!("{BEFORE_HASH}{}{BEFORE_ENTRY}", hash.to_hex()).into_bytes();
        line.extend_from_slice(&entry);
        line.extend_from_slice(b"}\n");
        if line.len() > MAX_LINE_BYTES {
            return Err(ErrorKind::InvalidInput.into());
        }
        let before = self.file.metadata()?.len();
        if let Err(error) = self.file.write_all(&line) {
            // The beginning of a line would make the next one part of it.
            self.file.set_len(before)?;
            return Err(error);
        }
        self.last = hash;
        Ok(())
    }

    /// Says that the receipt is complete.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn seal(mut self) -> io::Result<()> {
        self.append(&Seal { event: SEALED })
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "it does not end as a receipt")
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
