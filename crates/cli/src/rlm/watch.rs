//! The running tree on standard error.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use ukernel_trajectory::{Event, Live, Record};

/// Columns of a status, which must not wrap.
const STATUS_COLUMNS: usize = 78;

/// How often the line of what goes on now is written anew.
const TICK: Duration = Duration::from_secs(1);

/// Bytes of a reply that make about a token.
const BYTES_PER_TOKEN: u64 = 4;

/// Shows records as they come. On a terminal what goes on now stands on the last line, for how long, and how
/// much of a reply has come. Elsewhere each step has a line when its model is asked.
pub struct Watch {
    shown: Mutex<Shown>,
    is_quiet: bool,
    is_terminal: bool,
    streamed: Arc<AtomicU64>,
}

struct Shown {
    live: Live,
    /// What goes on now, and since when.
    status: Option<(String, Instant)>,
}

impl Watch {
    pub fn new(is_quiet: bool) -> Arc<Self> {
        let is_terminal = std::io::stderr().is_terminal();
        let colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
        let watch = Arc::new(Self {
            shown: Mutex::new(Shown {
                live: Live::new(colour),
                status: None,
            }),
            is_quiet,
            is_terminal,
            streamed: Arc::default(),
        });
        if is_terminal && !is_quiet {
            let weak = Arc::downgrade(&watch);
            std::thread::spawn(move || tick(&weak));
        }
        watch
    }

    /// Where the bytes are counted of replies that are coming.
    pub fn streamed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.streamed)
    }

    /// Shows one record.
    pub fn see(&self, record: &Record) {
        if self.is_quiet {
            return;
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let line = shown.live.line(record);
        let status = shown.live.status(record);
        let mut text = String::new();
        if !self.is_terminal {
            let is_step = matches!(record.event, Event::ModelAsked { .. });
            let begins = status.filter(|_| is_step);
            for line in line.into_iter().chain(begins) {
                text.push_str(&line);
                text.push('\n');
            }
            let _ = std::io::stderr().write_all(text.as_bytes());
            return;
        }
        if line.is_some() || status.is_some() {
            text.push_str(shown.clear());
        }
        if let Some(line) = line {
            text.push_str(&line);
            text.push('\n');
        }
        if let Some(status) = status {
            text.extend(status.chars().take(STATUS_COLUMNS));
            shown.status = Some((status, Instant::now()));
        }
        // Progress is a courtesy: nobody to tell is no failure.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Clears what is no more.
    pub fn end(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = std::io::stderr().write_all(shown.clear().as_bytes());
    }

    /// Writes anew what goes on now.
    fn tick(&self) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((status, since)) = &shown.status {
            let line = waiting(
                status,
                since.elapsed(),
                self.streamed.load(Ordering::Relaxed),
            );
            let _ = std::io::stderr().write_all(format!("\r\x1b[K{line}").as_bytes());
        }
    }
}

impl Shown {
    /// What clears the line of what goes on now, which is no more.
    fn clear(&mut self) -> &'static str {
        match self.status.take() {
            Some(_) => "\r\u{1b}[K",
            None => "",
        }
    }
}

/// Ticks while somebody watches.
fn tick(watch: &Weak<Watch>) {
    loop {
        std::thread::sleep(TICK);
        let Some(watch) = watch.upgrade() else {
            return;
        };
        watch.tick();
    }
}

/// What goes on now, since when, and how much of a reply has come.
fn waiting(status: &str, since: Duration, streamed: u64) -> String {
    let mut line = format!("{status} · {} s", since.as_secs());
    if streamed > 0 {
        line.push_str(&format!(
            " · ~{} tokens come",
            streamed.div_ceil(BYTES_PER_TOKEN)
        ));
    }
    line.chars().take(STATUS_COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_shows_seconds_and_tokens() {
        let line = |streamed| {
            waiting(
                "1  the model is asked",
                Duration::from_millis(3500),
                streamed,
            )
        };
        assert_eq!(line(0), "1  the model is asked · 3 s");
        assert_eq!(line(41), "1  the model is asked · 3 s · ~11 tokens come");
        let long = waiting(&"x".repeat(200), Duration::ZERO, 1);
        assert_eq!(long.chars().count(), STATUS_COLUMNS, "it must not wrap");
    }
}
