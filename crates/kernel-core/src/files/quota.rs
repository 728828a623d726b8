//! How much the tree may hold.

use super::FileError;
use alloc::vec::Vec;

/// Bytes the tree may hold and does. Doubles when it is used up, as far as it may.
#[derive(Debug)]
pub(super) struct Quota {
    limit: u64,
    max: u64,
    used: u64,
    /// Limits reached by doubling that nobody has been told of.
    grown: Vec<u64>,
}

impl Quota {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            limit,
            max: limit,
            used: 0,
            grown: Vec::new(),
        }
    }

    /// Sets new bounds. What is there stays, also if it is more.
    pub(super) fn set(&mut self, limit: u64, max: u64) {
        self.max = max;
        self.limit = limit.min(max);
        if let Some(limit) = self.limit_for(self.used) {
            self.limit = limit;
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    #[cfg(test)]
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Uses `bytes` more, all or none.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), FileError> {
        let used = self.used.checked_add(bytes).ok_or(FileError::Quota)?;
        let limit = self.limit_for(used).ok_or(FileError::Quota)?;
        while self.limit < limit {
            self.limit = self.doubled();
            self.grown.push(self.limit);
        }
        self.used = used;
        Ok(())
    }

    /// Gives back what [`Self::take`] took.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Takes the limits that were reached since this was last asked.
    pub(super) fn take_grown(&mut self) -> Vec<u64> {
        core::mem::take(&mut self.grown)
    }

    /// The limit, doubled until it allows `used`; `None` if it may not.
    fn limit_for(&self, used: u64) -> Option<u64> {
        if used > self.limit.max(self.max) {
            return None;
        }
        let mut limit = self.limit;
        while limit < used {
            limit = double(limit, self.max);
        }
        Some(limit)
    }

    fn doubled(&self) -> u64 {
        double(self.limit, self.max)
    }
}

fn double(limit: u64, max: u64) -> u64 {
    limit.saturating_mul(2).max(1).min(max)
}
