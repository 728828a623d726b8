//! The trajectory of a run: everything that happened, in order, as it happens.

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
    Budget, CommandEnded, ContextPart, ContextShape, Event, FailedCall, ModelReply, NodeStarted,
    Outcome, Record, RunStarted, Spent, VERSION,
};
pub use replay::{is_trajectory, replay_client};
pub use writer::{Trajectory, TrajectoryFile, Watcher, sweep};
