//! What was done in a session: a line before a command, a line after it, and one for everything else.
//!
//! After a crash it says which commands had ended, and which one had not. It is a receipt
//! ([`ukernel_audit`]), written outside the guest: when the session ends it is sealed and kept.

use crate::{Guest, Result, SandboxError, SessionId};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use ukernel_audit::Chain;
use ukernel_machine::file;

const FILE: &str = "journal.jsonl";

/// Folder of the receipts of sessions that have ended, beside the folders of sessions.
pub(super) const RECEIPTS: &str = "receipts";

/// The end of a journal that recovery looks at, in bytes.
const TAIL_BYTES: u64 = 64 << 10;

/// A journal longer than this takes no more, and commands say so.
const MAX_BYTES: u64 = 256 << 20;

/// Characters of a command that are kept.
const MAX_SHOWN: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(super) enum Entry {
    /// The session is made.
    Create {
        session: String,
        name: Option<String>,
        owner: u32,
        guest: Guest,
        /// What its state is a difference from.
        template: String,
        /// Commands whose effects it began with: it is a copy of another's state.
        after: u64,
    },
    /// A command starts.
    Start {
        command: u64,
        kind: String,
        /// The beginning of it.
        shown: String,
        /// BLAKE3 of all of it, in hexadecimal.
        digest: String,
    },
    /// A command has ended, in this way.
    End { command: u64, how: String },
    /// A file or folder was read out of the guest.
    Get { path: String },
    /// The state after a command has a name.
    Snapshot {
        id: String,
        name: String,
        after: u64,
    },
    /// Copies were made of the state after a command.
    Fork { copies: Vec<String>, after: u64 },
}

impl Entry {
    pub(super) fn start(command: u64, kind: &str, source: &str) -> Self {
        Self::Start {
            command,
            kind: kind.to_owned(),
            shown: clip(source),
            digest: blake3::hash(source.as_bytes()).to_hex().to_string(),
        }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::Get { path: clip(path) }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// The journal of one session, open for appending.
pub(super) struct Journal {
    path: PathBuf,
    chain: Chain,
    bytes: File,
}

impl Journal {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let open = || -> io::Result<Self> {
            let file = file::append(&path)?;
            let bytes = file.try_clone()?;
            let chain = Chain::open(file)?;
            Ok(Self { path, chain, bytes })
        };
        open().map_err(|error| SandboxError::io("opening the journal of a session", error))
    }

    pub(super) fn append(&mut self, entry: &Entry) -> Result<()> {
        let mut write = || -> io::Result<()> {
            if self.bytes.metadata()?.len() > MAX_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.chain.append(entry)
        };
        write().map_err(|error| SandboxError::io("writing the journal of a session", error))
    }

    /// Seals the journal, and moves it to the receipts of sessions that have ended.
    pub(super) fn keep(self, session: SessionId) -> Result<()> {
        let Self { path, chain, .. } = self;
        let keep = || -> io::Result<()> {
            chain.seal()?;
            let root = path.parent().and_then(Path::parent);
            let receipt = receipt_of(root.unwrap_or(Path::new(".")), session);
            file::make_folder(receipt.parent().unwrap_or(Path::new(".")))?;
            fs::rename(&path, receipt)
        };
        keep().map_err(|error| SandboxError::io("keeping the receipt of a session", error))
    }
}

/// Where the receipt of a session that has ended is kept, under the folder of all sessions.
pub(super) fn receipt_of(root: &Path, session: SessionId) -> PathBuf {
    root.join(RECEIPTS).join(format!("{session}.jsonl"))
}

/// Keeps the receipt of a session that is not brought back, as far as it has one.
pub(super) fn keep_of(folder: &Path, session: SessionId) {
    if let Ok(journal) = Journal::open(folder) {
        // What cannot be kept goes with the folder.
        let _ = journal.keep(session);
    }
}

/// What the journal of a folder says happened last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// The last command that ended.
    pub(super) ended: u64,
    /// A command that had started and not ended: its number and how it began.
    pub(super) unfinished: Option<(u64, String)>,
}

#[derive(Deserialize)]
struct Line {
    entry: Entry,
}

/// Reads the end of a journal. Total: what is no entry is skipped, as a line cut short by a crash is.
pub(super) fn read(folder: &Path) -> Past {
    let mut past = Past::default();
    let Ok(mut file) = file::open(&folder.join(FILE)) else {
        return past;
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let from = length.saturating_sub(TAIL_BYTES);
    if file.seek(SeekFrom::Start(from)).is_err() {
        return past;
    }
    for line in BufReader::new(file.take(2 * TAIL_BYTES)).split(b'\n') {
        let Ok(line) = line else { break };
        match serde_json::from_slice(&line).map(|line: Line| line.entry) {
            Ok(Entry::Start { command, shown, .. }) => past.unfinished = Some((command, shown)),
            Ok(Entry::End { command, .. }) => {
                past.ended = command;
                past.unfinished = None;
            }
            Ok(_) | Err(_) => {}
        }
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn end(command: u64) -> Entry {
        Entry::End {
            command,
            how: "exited".to_owned(),
        }
    }

    #[test]
    fn what_had_not_ended_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()), Past::default());
        let mut journal = Journal::open(folder.path()).expect("a journal");
        for entry in [Entry::start(1, "code", "x = 1"), end(1)] {
            journal.append(&entry).expect("written");
        }
        journal
            .append(&Entry::start(2, "code", "y"))
            .expect("written");
        journal.bytes.write_all(b"{\"hash\":\"en").expect("written");
        let past = read(folder.path());
        assert_eq!(past.ended, 1);
        assert_eq!(past.unfinished, Some((2, "y".to_owned())));
    }

    #[test]
    fn a_long_journal_is_read_at_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path()).expect("a journal");
        for command in 1..500 {
            let entry = Entry::start(command, "code", &"x".repeat(300));
            journal.append(&entry).expect("written");
            journal.append(&end(command)).expect("written");
        }
        assert_eq!(read(folder.path()).ended, 499);
    }

    #[test]
    fn a_kept_journal_is_a_sealed_receipt() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("session");
        fs::create_dir(&folder).expect("made");
        let mut journal = Journal::open(&folder).expect("a journal");
        journal.append(&end(1)).expect("written");
        let id = SessionId::random();
        journal.keep(id).expect("kept");
        let receipt = File::open(receipt_of(root.path(), id)).expect("there");
        let verified = ukernel_audit::verify(BufReader::new(receipt)).expect("whole");
        assert!(verified.is_sealed && verified.entries == 2);
    }
}
