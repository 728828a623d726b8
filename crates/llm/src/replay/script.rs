//! Which line comes next.

use super::line::{Line, MAX_FILE_BYTES, MAX_LINES, Order};
use crate::secret::shorten;
use crate::{LlmError, Request, Result};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The lines of a file, and which of them were played.
#[derive(Debug)]
pub(super) struct Script {
    path: PathBuf,
    lines: Vec<Numbered>,
}

#[derive(Debug)]
struct Numbered {
    /// Counted from 1, empty lines included.
    number: usize,
    line: Line,
    is_played: bool,
}

impl Numbered {
    fn can_be_played(&self) -> bool {
        !self.is_played || self.line.repeat
    }
}

impl Script {
    /// Lines that are there already, numbered from 1.
    pub(super) fn of_lines(path: &Path, lines: Vec<Line>) -> Self {
        let numbered = lines.into_iter().enumerate().map(|(index, line)| Numbered {
            number: index + 1,
            line,
            is_played: false,
        });
        Self {
            path: path.to_owned(),
            lines: numbered.collect(),
        }
    }

    /// Reads a file, all of it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let refuse = |line, reason: String| LlmError::BadReplay {
            path: path.to_owned(),
            line,
            reason,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|cause| refuse(0, cause.to_string()))?;
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|cause| refuse(0, cause.to_string()))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(refuse(
                0,
                format!("it is longer than {MAX_FILE_BYTES} bytes"),
            ));
        }
        let text = String::from_utf8(bytes).map_err(|_| refuse(0, "it is no UTF-8".to_owned()))?;
        let mut lines = Vec::new();
        for (index, text) in text.lines().enumerate() {
            if text.trim().is_empty() {
                continue;
            }
            let number = index + 1;
            if lines.len() == MAX_LINES {
                return Err(refuse(
                    number,
                    format!("there are more than {MAX_LINES} lines"),
                ));
            }
            let line = Line::parse(text).map_err(|reason| refuse(number, reason))?;
            lines.push(Numbered {
                number,
                line,
                is_played: false,
            });
        }
        if lines.is_empty() {
            return Err(refuse(0, "there is no line in it".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            lines,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Lines not yet played; those that repeat do not count.
    pub(super) fn remaining(&self) -> usize {
        let is_due = |entry: &&Numbered| !entry.is_played && !entry.line.repeat;
        self.lines.iter().filter(is_due).count()
    }

    /// The line for this request, from now on played.
    pub(super) fn play(&mut self, request: &Request) -> Result<Line> {
        let digest = request.digest();
        let next = self.next_in_order().filter(|&index| {
            let entry = &self.lines[index];
            entry.line.when.fits(request, digest)
        });
        let found = next.or_else(|| {
            self.lines.iter().position(|entry| {
                let line = &entry.line;
                line.order == Order::Any && entry.can_be_played() && line.when.fits(request, digest)
            })
        });
        match found {
            Some(index) => {
                self.lines[index].is_played = true;
                Ok(self.lines[index].line.clone())
            }
            None => Err(self.mismatch(request)),
        }
    }

    fn next_in_order(&self) -> Option<usize> {
        let is_next = |entry: &Numbered| !entry.is_played && entry.line.order == Order::InOrder;
        self.lines.iter().position(is_next)
    }

    fn mismatch(&self, request: &Request) -> LlmError {
        let mut expected = Vec::new();
        if let Some(entry) = self.next_in_order().map(|index| &self.lines[index]) {
            expected.push(describe(entry));
        }
        let open = |entry: &&Numbered| entry.line.order == Order::Any && entry.can_be_played();
        let others: Vec<_> = self.lines.iter().filter(open).collect();
        expected.extend(others.iter().take(3).map(|entry| describe(entry)));
        if others.len() > 3 {
            expected.push(format!("{} more lines", others.len() - 3));
        }
        let expected = match expected.is_empty() {
            true => "nothing, all lines are played".to_owned(),
            false => expected.join("; or "),
        };
        let last = request.messages.last().map_or("", |message| &message.text);
        let digest = request.digest().to_string();
        let came = format!(
            "{} messages, the last `{}` (request {})",
            request.messages.len(),
            shorten(last, 200),
            shorten(&digest, 12)
        );
        LlmError::ReplayMismatch {
            path: self.path.clone(),
            expected,
            came,
        }
    }
}

fn describe(entry: &Numbered) -> String {
    let note = entry
        .line
        .note
        .as_deref()
        .map(|note| format!(" (`{}`)", shorten(note, 80)));
    format!(
        "line {}: {}{}",
        entry.number,
        entry.line.when,
        note.unwrap_or_default()
    )
}
