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
                wanted: want.tokens,
            }
        } else if want.micro_dollars > left.micro_dollars {
            Exceeded::Money {
                used: used.micro_dollars,
                limit: limit.micro_dollars,
                wanted: want.micro_dollars,
            }
        } else {
            Exceeded::SubCalls {
                limit: limit.sub_calls,
            }
        };
        Err((exceeded, may_come))
    }

    /// Slices for as many of `count` children as fit, of one share more than there are slices: the last one
    /// stays here. No slice has more tokens than `most_tokens`, and each has a query at least. Of those that do not
    /// fit comes why.
    pub fn slices(
        &self,
        count: usize,
        most_tokens: Option<u64>,
        least_tokens: u64,
    ) -> (Vec<Slice>, Option<Exceeded>) {
        let mut why = None;
        for fitting in (1..=count).rev() {
            match self.equal_slices(fitting, most_tokens, least_tokens) {
                Ok(slices) => return (slices, why),
                Err(exceeded) => why = Some(exceeded),
            }
        }
        (Vec::new(), why)
    }

    fn equal_slices(
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
                wanted: least_tokens.saturating_mul(count as u64 + 1),
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
mod tests;
