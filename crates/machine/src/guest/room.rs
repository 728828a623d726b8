//! Room for standard input that a guest grants.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Room for input that the guest granted.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes; `None`: no input is taken any more.
    bytes: Mutex<Option<u64>>,
    changed: Notify,
}

impl Room {
    pub(super) fn new(has_input: bool) -> Self {
        Self {
            bytes: Mutex::new(has_input.then_some(0)),
            changed: Notify::new(),
        }
    }

    fn bytes(&self) -> MutexGuard<'_, Option<u64>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest grants more; `false`: more than may be outstanding.
    pub(super) fn grant(&self, more: u64, most: u64) -> bool {
        let mut bytes = self.bytes();
        if let Some(granted) = bytes.as_mut() {
            *granted = granted.saturating_add(more);
            if *granted > most {
                return false;
            }
        }
        drop(bytes);
        self.changed.notify_waiters();
        true
    }

    /// No input is taken any more.
    pub(super) fn close(&self) {
        *self.bytes() = None;
        self.changed.notify_waiters();
    }

    /// Uses room.
    pub(super) fn take(&self, count: u64) {
        if let Some(granted) = self.bytes().as_mut() {
            *granted = granted.saturating_sub(count);
        }
    }

    /// Room, when there is some; zero when there will be none.
    pub(super) async fn wait(&self) -> u64 {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match *self.bytes() {
                None => return 0,
                Some(0) => {}
                Some(bytes) => return bytes,
            }
            changed.await;
        }
    }
}
