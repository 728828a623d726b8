//! The trajectory of a run: everything that happened, in order, as it happens.
//!
//! ```text
//!   who runs a question ── Event ──> Trajectory ──> a file of Records, one a line (JSON)
//!                                        └────────> a Watcher, at once (Live makes lines of it)
//!   a file ── read ──> Records ── tree::Run ──> text, html
//!        └─── replay_client ──> the models' replies once more, found by digests of what was asked
//! ```
//! This crate owns the format ([`Record`], [`Event`], [`VERSION`]), who writes and reads it, and what
//! people are shown. It stands below everything that tells what happened, and knows nothing of how
//! questions are answered.
//!
//! What it refuses to do: write texts that were not asked for (a trajectory that is not verbose has sizes,
//! times and costs only), let others than the owner read what it writes, believe a file (what is read is
//! bounded, and every text is made harmless before it is shown), or go on in silence when it cannot
//! write.
#![forbid(unsafe_code)]

mod figures;
#[cfg(test)]
mod hostile;
pub mod html;
mod live;
mod printable;
pub mod read;
mod record;
mod replay;
#[cfg(test)]
mod sample;
pub mod text;
mod texts;
pub mod tree;
mod words;
mod writer;

pub use live::Live;
pub use record::{
    CommandEnded, ContextPart, ContextShape, Event, FailedCall, ModelReply, NodeStarted, Outcome,
    Record, RunStarted, VERSION, spent_of_call,
};
pub use replay::{ReplayError, is_trajectory, replay_client};
pub use writer::{Trajectory, TrajectoryFile, Watcher, WriteError};
