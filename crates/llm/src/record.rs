//! Writes what a client is asked and replies, so that it can be played again.

use crate::client::{GenericLlmClient, ModelInfo};
use crate::replay::{Line, MAX_LINE_BYTES, Order, PlayedFailure, PlayedReply, VERSION, When};
use crate::{FailureKind, LlmError, ModelName, Redactor, Reply, Request, Result, UsageTotals};
use async_trait::async_trait;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longest note, in characters.
const MAX_NOTE_CHARS: usize = 200;

/// Wraps a client and appends a line for every call to a file that
/// [`ReplayClient`](crate::ReplayClient) plays.
///
/// A line is written whole or not at all, and is on the disk before the reply is handed on. Lines
/// carry the digest of the request and may be played in any order, because calls may run side by
/// side. Replies and failures are written; calls that were cancelled or dropped are not, as the
/// caller will not ask that again. Keys are cut out. A call that cannot be recorded fails.
pub struct Recorder {
    client: Arc<dyn GenericLlmClient>,
    redactor: Redactor,
    path: PathBuf,
    file: Arc<Mutex<Tape>>,
}

/// The file, and where its last whole line ends.
struct Tape {
    file: File,
    length: u64,
}

impl Recorder {
    /// One that records what `client` does, at the end of a file. If the file is not there it is
    /// made, readable by its owner only. What a crash left of a last line is cut off.
    ///
    /// # Errors
    /// [`LlmError::Io`] if the file cannot be opened or written.
    pub fn append_to(
        path: &Path,
        client: Arc<dyn GenericLlmClient>,
        redactor: Redactor,
    ) -> Result<Self> {
        let tape = Tape::open(path).map_err(|cause| failed(path, cause))?;
        Ok(Self {
            client,
            redactor,
            path: path.to_owned(),
            file: Arc::new(Mutex::new(tape)),
        })
    }

    async fn record(&self, request: &Request, outcome: Result<Reply>) -> Result<Reply> {
        let Some(line) = self.line(request, &outcome) else {
            return outcome;
        };
        let (file, path) = (self.file.clone(), self.path.clone());
        // On a thread of its own, where it ends even if this call is dropped meanwhile.
        let writing = tokio::task::spawn_blocking(move || {
            let mut tape = file.lock().unwrap_or_else(PoisonError::into_inner);
            tape.write(&line)
        });
        let written = writing
            .await
            .unwrap_or_else(|cause| Err(io::Error::other(cause)));
        written.map_err(|cause| failed(&path, cause))?;
        outcome
    }

    /// The line of a call; `None` if it is not recorded.
    fn line(&self, request: &Request, outcome: &Result<Reply>) -> Option<Line> {
        let (reply, failure) = match outcome {
            Ok(reply) => (Some(self.played(reply)), None),
            Err(error) => {
                let failure = error.failure()?;
                if failure.kind == FailureKind::Cancelled {
                    return None;
                }
                let wait_ms = failure.retry_after.map(|wait| wait.as_millis());
                let played = PlayedFailure {
                    kind: failure.kind,
                    provider: Some(failure.provider.clone()),
                    attempts: Some(failure.attempts),
                    message: self.redactor.redact(&failure.message),
                    status: failure.status,
                    retry_after_ms: wait_ms.and_then(|wait| u64::try_from(wait).ok()),
                    usage: failure.usage,
                    cost: failure.cost,
                    after: String::new(),
                };
                (None, Some(played))
            }
        };
        let last = request.messages.last().map_or("", |message| &message.text);
        Some(Line {
            version: VERSION,
            when: When {
                digest: Some(request.digest()),
                ..When::default()
            },
            order: Order::Any,
            repeat: false,
            delay_ms: 0,
            reply,
            failure,
            note: Some(self.redactor.excerpt(last, MAX_NOTE_CHARS)),
        })
    }

    fn played(&self, reply: &Reply) -> PlayedReply {
        PlayedReply {
            text: self.redactor.redact(&reply.text),
            finish: reply.finish,
            usage: Some(reply.usage),
            cost: reply.cost,
            model: Some(self.redactor.redact(&reply.model)),
        }
    }
}

impl Tape {
    fn open(path: &Path) -> io::Result<Self> {
        // Without NONBLOCK a named pipe would wait for its reader.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::open(path, flags, mode)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let length = end_of_last_line(&mut file)?;
        file.set_len(length)?;
        Ok(Self { file, length })
    }

    /// Writes a line and waits for the disk. On failure the file ends as it did before.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        if bytes.len() > MAX_LINE_BYTES {
            return Err(io::Error::other("the line is longer than replays may have"));
        }
        bytes.push(b'\n');
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(&bytes))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            // The error to tell is the one above; what stays is cut off at the next opening.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }
}

/// How every line begins that a recorder writes.
const BEGINNING: &[u8] = b"{\"version\":";

/// Where the last line that is whole ends. A last line that a person wrote may lack its line feed,
/// and gets one; one that a crash tore is left out. A file that ends in anything else is not ours
/// to cut.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let window = length.min(MAX_LINE_BYTES as u64 + 1);
    file.seek(SeekFrom::Start(length - window))?;
    let mut tail = Vec::new();
    file.take(window).read_to_end(&mut tail)?;
    let last_feed = tail.iter().rposition(|&byte| byte == b'\n');
    let rest = &tail[last_feed.map_or(0, |at| at + 1)..];
    if rest.is_empty() {
        return Ok(length);
    }
    if serde_json::from_slice::<Line>(rest).is_ok() {
        file.seek(SeekFrom::End(0))?;
        file.write_all(b"\n")?;
        return Ok(length + 1);
    }
    let is_whole_tail = last_feed.is_some() || window == length;
    let is_torn_line = rest.starts_with(BEGINNING) || BEGINNING.starts_with(rest);
    if !(is_whole_tail && is_torn_line) {
        return Err(io::Error::other("it is no recording"));
    }
    Ok(length - rest.len() as u64)
}

fn failed(path: &Path, cause: io::Error) -> LlmError {
    LlmError::Io {
        what: format!("recording to {}", path.display()),
        cause,
    }
}

#[async_trait]
impl GenericLlmClient for Recorder {
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        cancel: &CancellationToken,
    ) -> Result<Reply> {
        let outcome = self.client.stream(request, pieces, cancel).await;
        self.record(request, outcome).await
    }

    fn model_info(&self, model: &ModelName) -> Result<ModelInfo> {
        self.client.model_info(model)
    }

    fn usage(&self) -> UsageTotals {
        self.client.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_written_is_an_error_and_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tape.jsonl");
        std::fs::write(&path, "before\n").expect("written");
        // Open for reading only, so that the system refuses to write.
        let file = File::open(&path).expect("it");
        let mut tape = Tape { file, length: 7 };
        let line = Line {
            version: VERSION,
            when: When::default(),
            order: Order::Any,
            repeat: false,
            delay_ms: 0,
            reply: None,
            failure: None,
            note: None,
        };
        tape.write(&line).expect_err("refused");
        assert_eq!(tape.length, 7);
        assert_eq!(std::fs::read_to_string(&path).expect("it"), "before\n");
    }
}
