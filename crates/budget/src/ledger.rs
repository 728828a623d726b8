//! The ledger: accounts, reservations, slices. The crate's root draws how they hang together.

use crate::{Amount, Budget, Exceeded, Spent};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Debug)]
struct Account {
    limit: Amount,
    open: Mutex<Open>,
    /// Something was given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    charged: Amount,
    reserved: Amount,
    /// Kept back for a last call.
    held: Amount,
    reservations: u64,
    spent: Spent,
}

/// What a node may use.
#[derive(Clone, Debug)]
pub struct Ledger {
    account: Arc<Account>,
}

impl Open {
    /// What cannot be reserved.
    fn taken(&self) -> Amount {
        self.charged.plus(self.reserved).plus(self.held)
    }
}

impl Ledger {
    /// The account of a run.
    #[must_use]
    pub fn new(budget: &Budget) -> Self {
        Self::of(Amount {
            tokens: budget.tokens,
            micro_dollars: budget.micro_dollars.unwrap_or(u64::MAX),
            sub_calls: budget.sub_calls,
        })
    }

    fn of(limit: Amount) -> Self {
        Self {
            account: Arc::new(Account {
                limit,
                open: Mutex::default(),
                freed: Notify::new(),
            }),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.account
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What it began with.
    #[must_use]
    pub fn limit(&self) -> Amount {
        self.account.limit
    }

    /// What can be reserved now.
    #[must_use]
    pub fn available(&self) -> Amount {
        let open = self.open();
        self.account.limit.minus(open.taken())
    }

    /// What was spent until now, that of children which have ended included.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.open().spent
    }

    /// Adds to what was spent what is counted only: steps, output.
    pub fn note(&self, spent: &Spent) {
        self.open().spent.add(spent);
    }

    /// Keeps tokens back from all reservations, or what was kept back no longer.
    pub fn hold(&self, tokens: u64) {
        self.open().held.tokens = tokens;
    }

    /// Reserves, or says what is lacking. Waits while reservations are open that may give back
    /// enough.
    ///
    /// # Errors
    /// [`Exceeded`]: there will never be as much.
    pub async fn reserve(&self, want: Amount) -> Result<Reservation, Exceeded> {
        loop {
            // Before the look at the account, so that nothing given back in between is missed.
            let freed = self.account.freed.notified();
            match self.try_reserve(want) {
                Ok(reservation) => return Ok(reservation),
                Err((exceeded, may_come)) if !may_come => return Err(exceeded),
                Err(_) => freed.await,
            }
        }
    }

    /// Reserves now or not at all.
    ///
    /// # Errors
    /// [`Exceeded`].
    pub fn reserve_now(&self, want: Amount) -> Result<Reservation, Exceeded> {
        self.try_reserve(want).map_err(|(exceeded, _)| exceeded)
    }

    /// Also says whether what is lacking may come back.
    fn try_reserve(&self, want: Amount) -> Result<Reservation, (Exceeded, bool)> {
        let limit = self.account.limit;
        let mut open = self.open();
        let used = open.taken();
        if want.fits(limit.minus(used)) {
            open.reserved = open.reserved.plus(want);
            open.reservations += 1;
            return Ok(Reservation {
                ledger: self.clone(),
                amount: want,
                is_open: true,
            });
        }
        let may_come =
            open.reservations > 0 && want.fits(limit.minus(open.charged.plus(open.held)));
        let left = limit.minus(used);
        let exceeded = if want.tokens > left.tokens {
            Exceeded::Tokens {
                used: used.tokens,
                limit: limit.tokens,
            }
        } else if want.micro_dollars > left.micro_dollars {
            Exceeded::Money {
                used: used.micro_dollars,
                limit: limit.micro_dollars,
            }
        } else {
            Exceeded::SubCalls {
                limit: limit.sub_calls,
            }
        };
        Err((exceeded, may_come))
    }

    /// Slices for `count` children, of one share more than there are children: the last one stays
    /// here. No slice has more tokens than `most_tokens`, and each has a query at least.
    ///
    /// # Errors
    /// [`Exceeded::Tokens`] if a slice would have fewer than `least_tokens`,
    /// [`Exceeded::SubCalls`] if it would have no query.
    pub fn slices(
        &self,
        count: usize,
        most_tokens: Option<u64>,
        least_tokens: u64,
    ) -> Result<Vec<Slice>, Exceeded> {
        let mut share = self.available().share(count as u64 + 1);
        share.tokens = share.tokens.min(most_tokens.unwrap_or(u64::MAX));
        if self.account.limit.micro_dollars == u64::MAX {
            share.micro_dollars = 0;
        }
        if share.sub_calls == 0 {
            // Each child is a query itself.
            return Err(Exceeded::SubCalls {
                limit: self.account.limit.sub_calls,
            });
        }
        if share.tokens < least_tokens {
            let limit = self.account.limit.tokens;
            return Err(Exceeded::Tokens {
                used: limit - self.available().tokens.min(limit),
                limit,
            });
        }
        (0..count)
            .map(|_| {
                let reservation = self.reserve_now(share)?;
                let mut limit = share;
                if self.account.limit.micro_dollars == u64::MAX {
                    limit.micro_dollars = u64::MAX;
                }
                Ok(Slice {
                    ledger: Self::of(limit),
                    reservation: Some(reservation),
                })
            })
            .collect()
    }

    /// All that is left, for one that is alone.
    #[must_use]
    pub fn whole(&self) -> Slice {
        let mut limit = self.available();
        let mut want = limit;
        if self.account.limit.micro_dollars == u64::MAX {
            want.micro_dollars = 0;
            limit.micro_dollars = u64::MAX;
        }
        Slice {
            reservation: self.reserve_now(want).ok(),
            ledger: Self::of(limit),
        }
    }

    fn release(&self, amount: Amount, charged: Amount, spent: &Spent) {
        {
            let mut open = self.open();
            open.reserved = open.reserved.minus(amount);
            open.reservations = open.reservations.saturating_sub(1);
            open.charged = open.charged.plus(charged);
            open.spent.add(spent);
        }
        self.account.freed.notify_waiters();
    }
}

/// Something set aside. Dropped without being settled, it is all available again.
#[derive(Debug)]
pub struct Reservation {
    ledger: Ledger,
    amount: Amount,
    is_open: bool,
}

impl Reservation {
    /// What it came to.
    pub fn settle(mut self, spent: &Spent) {
        self.is_open = false;
        let charged = Amount {
            tokens: spent.tokens(),
            micro_dollars: spent.micro_dollars,
            sub_calls: spent.sub_calls,
        };
        self.ledger.release(self.amount, charged, spent);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_open {
            let nothing = Amount::default();
            self.ledger.release(self.amount, nothing, &Spent::default());
        }
    }
}

/// A child's part of the budget. What is left goes back when this is dropped.
#[derive(Debug)]
pub struct Slice {
    ledger: Ledger,
    reservation: Option<Reservation>,
}

impl Slice {
    /// The child's account.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(&self.ledger.spent());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ledger(tokens: u64) -> Ledger {
        Ledger::new(&Budget {
            tokens,
            sub_calls: 100,
            ..Budget::default()
        })
    }

    fn tokens(tokens: u64) -> Amount {
        Amount {
            tokens,
            ..Amount::default()
        }
    }

    fn spent(tokens: u64) -> Spent {
        Spent {
            prompt_tokens: tokens,
            ..Spent::default()
        }
    }

    #[test]
    fn what_was_not_used_is_available_again() {
        let ledger = ledger(100);
        let first = ledger.reserve_now(tokens(80)).expect("room");
        assert_eq!(
            ledger.reserve_now(tokens(30)).expect_err("no room"),
            Exceeded::Tokens {
                used: 80,
                limit: 100
            }
        );
        first.settle(&spent(10));
        let second = ledger.reserve_now(tokens(90)).expect("room");
        drop(second);
        assert_eq!(ledger.available().tokens, 90);
        assert_eq!(ledger.spent().tokens(), 10);
    }

    #[test]
    fn a_child_spends_its_slice_and_returns_the_rest() {
        let ledger = ledger(100);
        let mut slices = ledger.slices(3, None, 1).expect("room").into_iter();
        assert_eq!(ledger.available().tokens, 25);
        let first = slices.next().expect("three");
        assert_eq!(first.ledger().limit().tokens, 25);
        assert!(first.ledger().reserve_now(tokens(26)).is_err());
        let call = first.ledger().reserve_now(tokens(25)).expect("room");
        call.settle(&spent(5));
        drop(first);
        assert_eq!(ledger.available().tokens, 45);
        drop(slices);
        assert_eq!(
            (ledger.available().tokens, ledger.spent().tokens()),
            (95, 5)
        );
        assert!(
            ledger.slices(3, None, 30).is_err(),
            "too small to be of use"
        );
        assert!(
            ledger.slices(100, None, 0).is_err(),
            "a hundred queries are no slices for a hundred children and one"
        );
    }

    #[tokio::test]
    async fn who_wants_more_than_there_is_now_waits_for_what_comes_back() {
        let ledger = ledger(100);
        let first = ledger.reserve_now(tokens(80)).expect("room");
        let waiting = tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.reserve(tokens(50)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        first.settle(&spent(20));
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
        assert!(ledger.reserve(tokens(81)).await.is_err(), "it never comes");
    }

    #[test]
    fn money_and_queries_are_bounded_too() {
        let ledger = Ledger::new(&Budget {
            tokens: 100,
            micro_dollars: Some(10),
            sub_calls: 1,
            ..Budget::default()
        });
        let dear = Amount {
            micro_dollars: 11,
            ..Amount::default()
        };
        assert!(matches!(
            ledger.reserve_now(dear),
            Err(Exceeded::Money { .. })
        ));
        let query = Amount {
            sub_calls: 1,
            ..Amount::default()
        };
        let _one = ledger.reserve_now(query).expect("one");
        assert!(matches!(
            ledger.reserve_now(query),
            Err(Exceeded::SubCalls { limit: 1 })
        ));
    }

    proptest! {
        /// Whatever is reserved, settled within its bound, dropped or sliced: no more is charged
        /// than there was, and at the end nothing is missing.
        #[test]
        fn nothing_is_overspent_and_nothing_is_lost(
            steps in proptest::collection::vec((0u8..4, 0u64..60, 0u64..60), 1..40),
        ) {
            let ledger = ledger(200);
            let mut open: Vec<(Reservation, u64)> = Vec::new();
            let mut slices: Vec<Slice> = Vec::new();
            let mut charged = 0;
            for (what, want, used) in steps {
                match what {
                    0 => open.extend(ledger.reserve_now(tokens(want)).ok().map(|one| (one, want))),
                    1 => if let Some((one, most)) = open.pop() {
                        one.settle(&spent(used.min(most)));
                        charged += used.min(most);
                    },
                    2 => drop(open.pop()),
                    _ => if let Ok(new) = ledger.slices(2, Some(want), 1) {
                        for slice in new {
                            let limit = slice.ledger().limit().tokens;
                            let call = slice.ledger().reserve_now(tokens(used.min(limit)));
                            call.expect("room").settle(&spent(used.min(limit)));
                            charged += used.min(limit);
                            slices.push(slice);
                        }
                    },
                }
                prop_assert!(ledger.available().tokens <= 200);
                prop_assert!(charged <= 200);
            }
            drop(open);
            drop(slices);
            prop_assert_eq!(ledger.spent().tokens(), charged);
            prop_assert_eq!(ledger.available().tokens, 200 - charged);
        }
    }
}
