//! The query loop: a node of a run asks a model for a step, follows it, and tells the model what
//! came of it, until there is an answer.

mod asker;
mod asking;
mod best;
mod bridge;
mod calls;
mod commands;
mod conversation;
mod node;
mod prompt;
mod queries;
mod registry;
mod run;
mod steps;
mod validation;

pub(crate) use asker::Asker;
pub(crate) use bridge::{Bridge, Refusal, is_same};
pub(crate) use calls::Calls;
pub use calls::{Tool, ToolCall};
pub(crate) use commands::execute_directly;
pub(crate) use node::Node;
pub(crate) use registry::{Found, OpenBridges};
pub(crate) use run::{Run, RunParts};
pub(crate) use steps::{BEGIN, answer, outcome_of, spent};
pub(crate) use validation::validate_directly;

use crate::exact::Exact;

/// What a node came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The answer.
    pub(crate) text: String,
    /// Its value, where it was given as one or a schema asks for one.
    pub(crate) value: Option<Exact>,
    /// Why it is only the best there was, if it is.
    pub(crate) partial: Option<String>,
}
