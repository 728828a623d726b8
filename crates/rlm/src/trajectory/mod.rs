//! The trajectory of a run: everything that happened, in order, as it happens.

mod record;
mod replay;
mod texts;
mod writer;

pub use record::{
    Budget, CommandEnded, ContextPart, ContextShape, Event, FailedCall, ModelReply, NodeStarted,
    Outcome, Record, RunStarted, Spent, VERSION,
};
pub use replay::{is_trajectory, replay_client};
pub use writer::{Trajectory, TrajectoryFile, sweep};
