//! The running tree on standard error.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use ukernel_trajectory::{Live, Record};

/// Columns of a status, which must not wrap.
const STATUS_COLUMNS: usize = 78;

/// Shows records as they come. On a terminal what goes on now stands on the last line.
pub struct Watch {
    shown: Mutex<Shown>,
    is_quiet: bool,
    is_terminal: bool,
}

struct Shown {
    live: Live,
    has_status: bool,
}

impl Watch {
    pub fn new(is_quiet: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
        Self {
            shown: Mutex::new(Shown {
                live: Live::new(colour),
                has_status: false,
            }),
            is_quiet,
            is_terminal,
        }
    }

    /// Shows one record.
    pub fn see(&self, record: &Record) {
        if self.is_quiet {
            return;
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let line = shown.live.line(record);
        let status = if self.is_terminal {
            shown.live.status(record)
        } else {
            None
        };
        let mut text = String::new();
        if shown.has_status && (line.is_some() || status.is_some()) {
            text.push_str("\r\u{1b}[K");
            shown.has_status = false;
        }
        if let Some(line) = line {
            text.push_str(&line);
            text.push('\n');
        }
        if let Some(status) = status {
            text.extend(status.chars().take(STATUS_COLUMNS));
            shown.has_status = true;
        }
        // Progress is a courtesy: nobody to tell is no failure.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Clears what is no more.
    pub fn end(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut shown.has_status) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
