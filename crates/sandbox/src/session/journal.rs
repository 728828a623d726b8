//! What was run in a session: a line before a command, a line after it.
//!
//! After a crash it says which commands had ended, and which one had not.

use crate::{Result, SandboxError};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use ukernel_machine::file;

const FILE: &str = "journal.jsonl";

/// A journal longer than this is begun anew: it is for people and for recovery, not for ever.
const MAX_BYTES: u64 = 8 << 20;

/// Characters of a command that are kept.
const MAX_SHOWN: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(super) enum Entry {
    /// A command starts.
    Start {
        command: u64,
        kind: String,
        /// The beginning of it.
        shown: String,
        at_ms: u64,
    },
    /// A command has ended, in this way.
    End { command: u64, how: String },
}

impl Entry {
    pub(super) fn start(command: u64, kind: &str, source: &str) -> Self {
        Self::Start {
            command,
            kind: kind.to_owned(),
            shown: source.chars().take(MAX_SHOWN).collect(),
            at_ms: super::record::now_ms(),
        }
    }
}

/// The journal of one session, open for appending.
pub(super) struct Journal {
    file: File,
}

impl Journal {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let file = file::append(&folder.join(FILE))
            .map_err(|error| SandboxError::io("opening the journal of a session", error))?;
        Ok(Self { file })
    }

    pub(super) fn append(&mut self, entry: &Entry) -> Result<()> {
        let mut write = || -> std::io::Result<()> {
            if self.file.metadata()?.len() > MAX_BYTES {
                self.file.set_len(0)?;
            }
            let mut line = serde_json::to_vec(entry)?;
            line.push(b'\n');
            self.file.write_all(&line)
        };
        write().map_err(|error| SandboxError::io("writing the journal of a session", error))
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

/// Reads a journal. Total: what is no entry is skipped, as a line cut short by a crash is.
pub(super) fn read(folder: &Path) -> Past {
    let mut past = Past::default();
    let Ok(file) = file::open(&folder.join(FILE)) else {
        return past;
    };
    for line in BufReader::new(file.take(2 * MAX_BYTES)).split(b'\n') {
        let Ok(line) = line else { break };
        match serde_json::from_slice(&line) {
            Ok(Entry::Start { command, shown, .. }) => past.unfinished = Some((command, shown)),
            Ok(Entry::End { command, .. }) => {
                past.ended = command;
                past.unfinished = None;
            }
            Err(_) => {}
        }
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_not_ended_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()), Past::default());
        let mut journal = Journal::open(folder.path()).expect("a journal");
        let end = |command| Entry::End {
            command,
            how: "exited".to_owned(),
        };
        for entry in [Entry::start(1, "code", "x = 1"), end(1)] {
            journal.append(&entry).expect("written");
        }
        journal
            .append(&Entry::start(2, "code", "y"))
            .expect("written");
        journal.file.write_all(b"{\"event\":\"en").expect("written");
        let past = read(folder.path());
        assert_eq!(past.ended, 1);
        assert_eq!(past.unfinished, Some((2, "y".to_owned())));
    }
}
