//! What long work says about itself, on standard error.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Instant;

/// Steps of a build: one line each. On a terminal a step shows as running until the next.
#[derive(Debug)]
pub struct Steps {
    began: Instant,
    open: Mutex<bool>,
}

impl Steps {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            open: Mutex::new(false),
        }
    }
}

impl ukernel_image::Progress for Steps {
    fn step(&self, text: &str) {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *open = true;
        let seconds = self.began.elapsed().as_secs();
        let bold = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (on, off) = if bold {
            ("\u{1b}[1m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        // Progress is a courtesy: nobody to tell is no failure.
        let _ = writeln!(
            std::io::stderr(),
            "{on}ukernel{off} [{seconds:>3} s] {text}"
        );
    }
}
