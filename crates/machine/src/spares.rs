//! Processes started ahead of need.

use crate::Result;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Processes that wait to be told what to run, oldest first.
#[derive(Debug)]
pub(crate) struct Spares<P> {
    waiting: Mutex<VecDeque<P>>,
}

impl<P> Default for Spares<P> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
        }
    }
}

impl<P> Spares<P> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<P>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Starts one unless `enough` wait already. Failing is no error: who needs one will hear.
    pub(crate) fn add(&self, enough: usize, start: impl FnOnce() -> Result<P>) -> bool {
        if self.count() >= enough {
            return false;
        }
        let Ok(started) = start() else { return false };
        self.lock().push_back(started);
        true
    }

    /// One that `is_ready` says to be well, or one started now. Those that have died while
    /// they waited are passed over.
    pub(crate) fn take(
        &self,
        start: impl FnOnce() -> Result<P>,
        mut is_ready: impl FnMut(&mut P) -> Result<()>,
    ) -> Result<P> {
        loop {
            let spare = self.lock().pop_front();
            let Some(mut spare) = spare else { break };
            if is_ready(&mut spare).is_ok() {
                return Ok(spare);
            }
        }
        let mut started = start()?;
        is_ready(&mut started)?;
        Ok(started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MachineError;

    fn well(process: &mut u32) -> Result<()> {
        if *process == 0 {
            return Err(MachineError::Closed);
        }
        Ok(())
    }

    #[test]
    fn the_dead_are_passed_over() {
        let spares = Spares::default();
        assert!(spares.add(2, || Ok(0)));
        assert!(spares.add(2, || Ok(7)));
        assert!(!spares.add(2, || Ok(8)), "two are enough");
        assert_eq!(spares.take(|| Ok(9), well).expect("the living"), 7);
        assert_eq!(spares.take(|| Ok(9), well).expect("a new one"), 9);
        assert!(spares.take(|| Ok(0), well).is_err());
        assert!(!spares.add(1, || Err(MachineError::Closed)));
        assert_eq!(spares.count(), 0);
    }
}
