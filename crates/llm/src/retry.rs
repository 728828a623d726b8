//! When a call is tried again, and after how long.

use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How often a call is tried, and how long is waited in between. Which failures are tried again
/// is not a matter of policy: see the [crate's root](crate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Requests of one call at most; 1 means that none is tried again.
    pub max_attempts: u32,
    /// The first wait, in milliseconds. Each one after it is twice as long.
    pub base_wait_ms: u64,
    /// The longest wait, in milliseconds. A provider that asks for more (Retry-After) is not asked
    /// again at all.
    pub max_wait_ms: u64,
    /// All waits of one call together, in milliseconds.
    pub max_total_wait_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            base_wait_ms: 500,
            max_wait_ms: 30_000,
            max_total_wait_ms: 60_000,
        }
    }
}

impl RetryPolicy {
    /// How long to wait after this many attempts; `None` to give up.
    ///
    /// The provider's wish is kept to the letter or not at all. Otherwise the wait is between half
    /// and the whole of the exponential backoff; `chance` decides where.
    #[must_use]
    pub fn wait(
        &self,
        attempts: u32,
        waited: Duration,
        wish: Option<Duration>,
        chance: u64,
    ) -> Option<Duration> {
        if attempts >= self.max_attempts {
            return None;
        }
        let max_wait = Duration::from_millis(self.max_wait_ms);
        let wait = match wish {
            Some(wish) if wish > max_wait => return None,
            Some(wish) => wish,
            None => {
                let doublings = attempts.saturating_sub(1).min(32);
                let backoff = self.base_wait_ms.saturating_mul(1 << doublings);
                let half = backoff.min(self.max_wait_ms) / 2;
                Duration::from_millis(half + chance % (half + 1))
            }
        };
        let total = waited.saturating_add(wait);
        (total <= Duration::from_millis(self.max_total_wait_ms)).then_some(wait)
    }
}

/// A number to spread waits with: the standard library seeds every `RandomState` anew.
pub(crate) fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTHING: Duration = Duration::ZERO;

    #[test]
    fn waits_double_and_end() {
        let policy = RetryPolicy::default();
        let longest = |attempts| policy.wait(attempts, NOTHING, None, 250 << (attempts - 1));
        assert_eq!(longest(1), Some(Duration::from_millis(500)));
        assert_eq!(longest(2), Some(Duration::from_millis(1000)));
        assert_eq!(longest(3), Some(Duration::from_millis(2000)));
        assert_eq!(longest(4), None);
    }

    #[test]
    fn a_wish_is_kept_or_ends_it() {
        let policy = RetryPolicy::default();
        let wish = |seconds| policy.wait(1, NOTHING, Some(Duration::from_secs(seconds)), 7);
        assert_eq!(wish(0), Some(NOTHING));
        assert_eq!(wish(30), Some(Duration::from_secs(30)));
        assert_eq!(wish(31), None);
    }

    proptest! {
        #[test]
        fn waits_are_bounded(
            max_attempts: u32, base_wait_ms: u64, max_wait_ms in 0u64..1 << 40,
            attempts: u32, waited_ms in 0u64..100_000, chance: u64,
        ) {
            let policy = RetryPolicy {
                max_attempts, base_wait_ms, max_wait_ms, max_total_wait_ms: 60_000,
            };
            let waited = Duration::from_millis(waited_ms);
            if let Some(wait) = policy.wait(attempts, waited, None, chance) {
                prop_assert!(attempts < max_attempts);
                prop_assert!(wait <= Duration::from_millis(max_wait_ms));
                prop_assert!(waited + wait <= Duration::from_secs(60));
            }
        }
    }
}
