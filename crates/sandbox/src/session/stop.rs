//! Stopping an execution from outside.

use crate::{Result, SandboxError};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// How an execution is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// With KeyboardInterrupt; state is kept.
    Interrupt,
    /// At once, with its VM.
    Kill,
}

/// A file that becomes readable when an execution is to be stopped.
pub(super) struct Stopper {
    file: OwnedFd,
    /// 0 nothing, 1 interrupt, 2 kill. Only rises.
    wanted: AtomicU8,
}

impl Stopper {
    pub(super) fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            file: eventfd(0, flags).map_err(|error| SandboxError::io("eventfd", error))?,
            wanted: AtomicU8::new(0),
        })
    }

    pub(super) fn stop(&self, how: Stop) {
        let level = match how {
            Stop::Interrupt => 1,
            Stop::Kill => 2,
        };
        self.wanted.fetch_max(level, Ordering::Relaxed);
        // Fails only where the counter is full: then it is readable already.
        let _ = rustix::io::write(&self.file, &1u64.to_ne_bytes());
    }

    pub(super) fn wanted(&self) -> Option<Stop> {
        match self.wanted.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Stop::Interrupt),
            _ => Some(Stop::Kill),
        }
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
