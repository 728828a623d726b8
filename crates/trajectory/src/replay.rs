//! Playing a run again from its trajectory, without its provider.

use crate::record::{Event, FailedCall, ModelReply, Record};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use ukernel_llm::ReplayClient;
use ukernel_llm::replay::{self, Line, Order, PlayedFailure, PlayedReply, When};

/// Longest line, in bytes.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Why a trajectory cannot be played again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The system refused.
    #[error("cannot read {path:?}: {cause}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A line that is no record.
    #[error("{path:?}, line {line}: {cause}")]
    BadLine {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// It was recorded without the replies.
    #[error("{path:?}, line {line}: its texts are missing. hint: record it with --trace")]
    NoTexts {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// Whether a file is a trajectory, going by how it begins.
#[must_use]
pub fn is_trajectory(path: &Path) -> bool {
    let mut beginning = String::new();
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut first = BufReader::new(file.take(1 << 20));
    first.read_line(&mut beginning).is_ok()
        && serde_json::from_str::<Record>(&beginning)
            .is_ok_and(|record| matches!(record.event, Event::RunStarted(_)))
}

/// A client that answers what was asked in a trajectory as it was answered then.
///
/// # Errors
/// If the trajectory cannot be read, lacks its texts, or is none.
pub fn replay_client(path: &Path) -> Result<ReplayClient, ReplayError> {
    let unreadable = |cause| ReplayError::Io {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut reader = BufReader::new(file);
    let mut lines = Vec::new();
    for number in 1.. {
        let mut text = Vec::new();
        (&mut reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut text)
            .map_err(unreadable)?;
        if !text.ends_with(b"\n") {
            // This is the end, or a line that a crash tore, whose reply never arrived.
            break;
        }
        let record: Record =
            serde_json::from_slice(&text).map_err(|cause| ReplayError::BadLine {
                path: path.to_owned(),
                line: number,
                cause,
            })?;
        let line = match record.event {
            Event::ModelReplied { reply, .. } | Event::QueryReplied { reply, .. } => replied(reply)
                .ok_or_else(|| ReplayError::NoTexts {
                    path: path.to_owned(),
                    line: number,
                })?,
            Event::ModelFailed {
                failed: Some(failed),
                ..
            }
            | Event::QueryFailed {
                failed: Some(failed),
                ..
            } => failure(failed),
            _ => continue,
        };
        lines.push(line);
    }
    Ok(ReplayClient::of_lines(path, lines))
}

fn replied(reply: ModelReply) -> Option<Line> {
    let played = PlayedReply {
        text: reply.reply?,
        finish: reply.finish,
        usage: Some(reply.usage),
        cost: reply.cost,
        model: Some(reply.model),
    };
    Some(Line {
        reply: Some(played),
        ..line(When {
            digest: Some(reply.digest),
            ..When::default()
        })
    })
}

fn failure(failed: FailedCall) -> Line {
    let played = PlayedFailure {
        kind: failed.kind,
        provider: Some(failed.provider),
        attempts: Some(failed.attempts),
        message: failed.message,
        status: failed.status,
        retry_after_ms: failed.retry_after_ms,
        usage: failed.usage,
        cost: failed.cost,
        after: String::new(),
    };
    Line {
        failure: Some(played),
        ..line(When {
            digest: Some(failed.digest),
            ..When::default()
        })
    }
}

fn line(when: When) -> Line {
    Line {
        version: replay::VERSION,
        when,
        order: Order::Any,
        repeat: false,
        delay_ms: 0,
        reply: None,
        failure: None,
        note: None,
    }
}
