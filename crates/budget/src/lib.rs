//! Budgets: what a run of questions may use, and the ledger that keeps to it.
//!
//! This crate owns the words for amounts ([`Budget`], [`Spent`], [`Amount`]) and the [`Ledger`]. It
//! stands below everything that spends and knows none of it: who asks a model reserves the most that
//! the call can use, asks, and settles what it used.
//!
//! ```text
//!   account of the run ── slices ──> account of a child ── slices ──> ...
//!        │ reserve                        │ reserve
//!        v                                v
//!   RESERVED ── settle(what it used) ──> SPENT, the rest is available again
//!            └─ dropped ───────────────> nothing was spent
//! ```
//! A child's account holds its slice and nothing else. The slice stays reserved in the parent's account
//! until the child ends, so children that run side by side cannot spend the same token twice. A
//! reservation that does not fit now waits while open reservations may still give something back.
//!
//! What a call will use is known only afterwards. It is reserved pessimistically ([`prompt_bound`]),
//! and replies are bounded by the provider; a call that uses more all the same is charged in full.
//!
//! Units: tokens, millionths of a US dollar, milliseconds, bytes. Sums saturate.
//!
//! What this crate refuses to do: lend (an account never has more than its limit), look at a clock (time
//! and depth are limits that whoever runs the question keeps), or know prices.
#![forbid(unsafe_code)]

mod amount;
mod budget;
mod ledger;

pub use amount::{Amount, Exceeded, prompt_bound};
pub use budget::{Budget, Spent};
pub use ledger::{Ledger, Reservation, Slice};
