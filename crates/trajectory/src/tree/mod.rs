//! A trajectory as what it tells: a tree of nodes, their steps, the commands of a step, the calls
//! of a command, and the queries and nodes that a call made.
//!
//! Any sequence of records has a tree. What fits nowhere is counted and left out.

mod build;
mod calls;
mod count;
mod open;

use crate::read::Trajectory;
use crate::record::{CommandEnded, ModelReply, NodeStarted, Outcome, Record, RunStarted};
use ukernel_budget::Spent;
use ukernel_llm::Message;

/// Most levels of nodes. Records of nodes below count as stray.
pub const MAX_LEVELS: usize = 64;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// What it began with.
    pub started: Option<RunStarted>,
    /// The node that answers the question.
    pub root: Option<Node>,
    /// How it ended, if the trajectory goes that far.
    pub outcome: Option<Outcome>,
    /// What it used; counted from the records if it has no end.
    pub spent: Spent,
    /// Warnings about no node in particular.
    pub warnings: Vec<Warning>,
    /// When the last record was written.
    pub until_ms: f64,
    /// Whether its end is missing.
    pub is_cut: bool,
    /// Records that fit nowhere.
    pub stray: u64,
}

impl Run {
    /// The tree of a file.
    #[must_use]
    pub fn of(trajectory: Trajectory) -> Self {
        let mut run = Self::from_records(trajectory.records);
        run.is_cut |= trajectory.is_cut;
        run
    }

    /// The tree of any records.
    #[must_use]
    pub fn from_records(records: impl IntoIterator<Item = Record>) -> Self {
        build::build(records)
    }

    /// Whether texts are there.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.started.as_ref().is_some_and(|run| run.verbose)
    }
}

/// A node: a question, and the steps towards its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// When it began.
    pub from_ms: f64,
    /// When the last was heard of it.
    pub until_ms: f64,
    /// How it began.
    pub started: NodeStarted,
    /// Its steps, as they came.
    pub steps: Vec<Step>,
    /// How it ended, if it did.
    pub outcome: Option<Outcome>,
    /// What it used, its children included.
    pub spent: Option<Spent>,
    /// What a reader should know.
    pub warnings: Vec<Warning>,
}

/// Something a reader should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// When it was said.
    pub at_ms: f64,
    /// What.
    pub message: String,
}

/// A model is asked, and what it says is done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Its number within the node.
    pub number: u32,
    /// When it began.
    pub from_ms: f64,
    /// When the last was heard of it.
    pub until_ms: f64,
    /// Bytes of the prompt, if the model was asked.
    pub prompt_bytes: Option<u64>,
    /// The messages that the model had not seen before, if verbose.
    pub new_messages: Option<Vec<Message>>,
    /// The reply, or why there is none; absent if nothing came.
    pub reply: Option<Result<ModelReply, String>>,
    /// When the model was done.
    pub replied_ms: Option<f64>,
    /// What the model was told to correct.
    pub corrected: Vec<String>,
    /// Tokens of the prompt before and after older steps were left out of it.
    pub compacted: Option<(u64, u64)>,
    /// What ran.
    pub commands: Vec<Command>,
    /// Calls of no command: a query that the reply asked for without code, or an answer that was
    /// fetched from the session when a limit came near.
    pub calls: Vec<Call>,
}

/// Code that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// When it began.
    pub from_ms: f64,
    /// `python`, `bash`, `snapshot`, `rollback`.
    pub kind: String,
    /// Bytes of its source.
    pub bytes: u64,
    /// The source, if verbose.
    pub source: Option<String>,
    /// How it ended, if it did.
    pub ended: Option<CommandEnded>,
    /// What it asked the host for.
    pub calls: Vec<Call>,
}

/// Something that running code asked the host for.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its number within the run.
    pub number: u32,
    /// When it began.
    pub from_ms: f64,
    /// When the last was heard of it.
    pub until_ms: f64,
    /// `query_llm`, `rlm_query`, `final`.
    pub name: String,
    /// How many queries it carries.
    pub items: u32,
    /// Bytes of its payload.
    pub bytes: u64,
    /// What models said to its queries, in the order of the queries.
    pub queries: Vec<Query>,
    /// Nodes that it made, in the order of the queries.
    pub children: Vec<Node>,
    /// How it ended, if it did.
    pub ended: Option<CallEnded>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CallEnded {
    /// Why it was refused, if it was.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub total_ms: f64,
}

/// A query of a call, answered by a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which of the call's, from 0.
    pub item: u32,
    /// When its end was written.
    pub until_ms: f64,
    /// Bytes of the prompt; 0 if there is no reply.
    pub prompt_bytes: u64,
    /// The prompt, if verbose.
    pub prompt: Option<String>,
    /// The reply, or why there is none.
    pub reply: Result<ModelReply, String>,
}

#[cfg(test)]
mod tests;
