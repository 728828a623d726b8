//! Trajectories from files. A file may be anything: what is read is bounded, and what is wrong is
//! said with its line.

mod error;

pub use error::ReadError;

use crate::printable::excerpt;
use crate::record::{Event, Record, RunStarted, VERSION};
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{self, IgnoredAny};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 32 << 20;
/// Most records: those of a file full of the shortest ones would take gigabytes of memory.
pub const MAX_RECORDS: usize = 1_000_000;

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// Its records. The first is a [`RunStarted`].
    pub records: Vec<Record>,
    /// Whether its last line broke off, as it does when the process that wrote it ended abruptly.
    pub is_cut: bool,
    /// Bytes of that line. It is not among the records.
    pub skipped_bytes: u64,
}

/// Reads a file, all of it.
///
/// # Errors
/// If it cannot be read, is larger than the limits, or is not a trajectory of [`VERSION`]. A last
/// line that broke off is no error.
pub fn read(path: &Path) -> Result<Trajectory, ReadError> {
    let mut lines = Lines::open(path)?;
    let mut trajectory = Trajectory {
        records: Vec::new(),
        is_cut: false,
        skipped_bytes: 0,
    };
    while lines.next()? {
        let line = lines.line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if trajectory.records.len() == MAX_RECORDS {
            return Err(lines.too_large(format!("it has more than {MAX_RECORDS} records")));
        }
        match serde_json::from_slice::<Record>(line) {
            Ok(record) => {
                if trajectory.records.is_empty() {
                    lines.check_first(Some(&record))?;
                }
                trajectory.records.push(record);
            }
            Err(_) if trajectory.records.is_empty() => lines.check_first(None)?,
            Err(_) if lines.is_torn() => {
                trajectory.is_cut = true;
                trajectory.skipped_bytes = lines.line.len() as u64;
            }
            Err(error) => return Err(lines.bad(&error, &trajectory.records)),
        }
    }
    if trajectory.records.is_empty() {
        let path = path.to_owned();
        return Err(ReadError::Empty { path });
    }
    Ok(trajectory)
}

/// The lines of a file, one after the other.
struct Lines {
    path: PathBuf,
    reader: io::Take<BufReader<File>>,
    number: usize,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, ReadError> {
        let path = path.to_owned();
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(cause) => return Err(ReadError::Io { path, cause }),
        };
        // Opening a pipe would wait for a writer.
        if !metadata.is_file() {
            return Err(ReadError::NotAFile { path });
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) => return Err(ReadError::Io { path, cause }),
        };
        Ok(Self {
            path,
            // One more than allowed, so that a file that is too large is noticed, even if it grows.
            reader: BufReader::new(file).take(MAX_FILE_BYTES + 1),
            number: 0,
            line: Vec::new(),
        })
    }

    /// Goes to the next line; false after the last one.
    fn next(&mut self) -> Result<bool, ReadError> {
        self.line.clear();
        self.number += 1;
        let most = MAX_LINE_BYTES as u64 + 2;
        let read = (&mut self.reader)
            .take(most)
            .read_until(b'\n', &mut self.line);
        if let Err(cause) = read {
            let path = self.path.clone();
            return Err(ReadError::Io { path, cause });
        }
        if self.reader.limit() == 0 {
            return Err(self.too_large(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        if self.line.len() > MAX_LINE_BYTES + usize::from(!self.is_torn()) {
            let number = self.number;
            return Err(self.too_large(format!(
                "line {number} has more than {MAX_LINE_BYTES} bytes"
            )));
        }
        Ok(!self.line.is_empty())
    }

    /// Whether the line has no end. Only the last one of a file can be like this.
    fn is_torn(&self) -> bool {
        self.line.last() != Some(&b'\n')
    }

    /// What is wrong with the first line, if anything is; `record` is what it says.
    fn check_first(&self, record: Option<&Record>) -> Result<(), ReadError> {
        if let Some(Record {
            event: Event::RunStarted(RunStarted { version, .. }),
            ..
        }) = record
            && *version == VERSION
        {
            return Ok(());
        }
        let path = self.path.clone();
        let Ok(first) = serde_json::from_slice::<First>(&self.line) else {
            // The beginning of an object that never got further.
            if self.is_torn() && self.line.starts_with(b"{") {
                return Err(ReadError::Empty { path });
            }
            let what = "its first line is no record".to_owned();
            return Err(ReadError::NotATrajectory { path, what });
        };
        let written_by = excerpt(first.ukernel.as_deref().unwrap_or("unknown"), 40);
        let what = match (first.event.as_deref(), first.version) {
            (Some("run_started"), Some(version)) if version != VERSION => {
                return Err(ReadError::OtherVersion {
                    path,
                    version,
                    written_by,
                });
            }
            (Some("run_started"), _) => "its first record lacks what every run has".to_owned(),
            (Some(event), _) => {
                let event = excerpt(event, 40);
                format!("its first record is `{event}` instead of `run_started`")
            }
            (None, _) if first.when.is_some() => {
                "it is a replay, which --model replay:FILE plays".to_owned()
            }
            (None, _) => "its first line says no event".to_owned(),
        };
        Err(ReadError::NotATrajectory { path, what })
    }

    fn bad(&self, error: &serde_json::Error, before: &[Record]) -> ReadError {
        let (path, line) = (self.path.clone(), self.number);
        if let Ok(Named { event }) = serde_json::from_slice(&self.line)
            && !is_known(&event)
        {
            let written_by = match before.first().map(|record| &record.event) {
                Some(Event::RunStarted(run)) => excerpt(&run.ukernel, 40),
                _ => "unknown".to_owned(),
            };
            return ReadError::UnknownEvent {
                path,
                line,
                event: excerpt(&event, 40),
                written_by,
            };
        }
        let reason = error.to_string();
        // Every document is a line of its own: where in it says nothing to a reader.
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        let reason = excerpt(reason, 200);
        ReadError::BadLine { path, line, reason }
    }

    fn too_large(&self, what: String) -> ReadError {
        let path = self.path.clone();
        ReadError::TooLarge { path, what }
    }
}

/// What tells a trajectory from other files, whatever its version.
#[derive(Deserialize)]
struct First {
    event: Option<String>,
    version: Option<u32>,
    ukernel: Option<String>,
    when: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Named {
    event: String,
}

/// Whether there is such an event. One that lacks its fields is known too.
fn is_known(event: &str) -> bool {
    let alone = MapDeserializer::new(std::iter::once(("event", event)));
    !matches!(Event::deserialize(alone), Err(Misfit::UnknownEvent))
}

/// Why a name alone makes no event.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error("there is no such event")]
    UnknownEvent,
    #[error("{0}")]
    Other(String),
}

impl de::Error for Misfit {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::UnknownEvent
    }
}

#[cfg(test)]
mod tests;
