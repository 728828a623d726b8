//! Playing a run again from its trajectory, without its provider.

use crate::read::{ReadError, read};
use crate::record::{Event, FailedCall, ModelReply, Record};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use ukernel_llm::ReplayClient;
use ukernel_llm::replay::{self, Line, Order, PlayedFailure, PlayedReply, When};

/// Why a trajectory cannot be played again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was recorded without the replies.
    #[error("{path:?}, record {number}: its texts are missing")]
    NoTexts {
        /// Which file.
        path: PathBuf,
        /// Which of its records, from 1.
        number: usize,
    },
}

impl ReplayError {
    /// What the caller can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read(error) => error.hint(),
            Self::NoTexts { .. } => "record it with --trace".to_owned(),
        }
    }
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
/// If the trajectory cannot be read, or lacks its texts. A last line that a crash tore is no error.
pub fn replay_client(path: &Path) -> Result<ReplayClient, ReplayError> {
    let mut lines = Vec::new();
    for (at, record) in read(path)?.records.into_iter().enumerate() {
        let line = match record.event {
            Event::ModelReplied { reply, .. } | Event::QueryReplied { reply, .. } => replied(reply)
                .ok_or_else(|| ReplayError::NoTexts {
                    path: path.to_owned(),
                    number: at + 1,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_trajectory_with_its_texts_can_be_played_and_one_without_cannot() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |records: &[Record]| {
            std::fs::write(file.path(), sample::lines(records)).expect("written");
        };
        write(&sample::whole());
        assert!(is_trajectory(file.path()));
        assert!(replay_client(file.path()).is_ok());
        write(&sample::quiet(sample::whole()));
        let error = replay_client(file.path()).err().expect("no texts");
        assert!(
            matches!(error, ReplayError::NoTexts { number: 5, .. }),
            "{error}"
        );
        std::fs::write(file.path(), "{}\n").expect("written");
        assert!(!is_trajectory(file.path()));
        let error = replay_client(file.path()).err().expect("nothing to play");
        assert!(matches!(error, ReplayError::Read(_)), "{error}");
    }
}
