//! What a trajectory says: one record a line, in JSON.
//!
//! A run is a tree of *nodes*. Node 0 answers the question; every `rlm_query` makes a child. A node
//! goes *step* by step: a model is asked, it replies, its commands run. Code that runs makes *calls*,
//! of which some ask models (`query_llm`) and some make nodes (`rlm_query`).
//!
//! Texts (questions, prompts, replies, code, output, answers) are there only in verbose
//! trajectories; sizes, times, tokens and costs always. A verbose one can be played again.

use serde::{Deserialize, Serialize};
use ukernel_budget::{Budget, Spent};
use ukernel_llm::{Cost, FailureKind, FinishReason, Message, RequestDigest, Usage};

/// Version of this format.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Milliseconds since the run began.
    pub at_ms: f64,
    /// Which node it is about.
    pub node: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first record of every trajectory.
    RunStarted(RunStarted),
    /// A node began to answer.
    NodeStarted(NodeStarted),
    /// A model was asked for a node's next step.
    ModelAsked {
        /// Which step, from 1.
        step: u32,
        /// Bytes of all messages.
        prompt_bytes: u64,
        /// The messages that the model has not seen before, if verbose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new_messages: Option<Vec<Message>>,
    },
    /// It replied.
    ModelReplied {
        /// Which step.
        step: u32,
        /// The reply.
        #[serde(flatten)]
        reply: ModelReply,
    },
    /// It did not.
    ModelFailed {
        /// Which step.
        step: u32,
        /// Why.
        error: String,
        /// What was asked, if it was, and what became of it: for a replay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<FailedCall>,
    },
    /// The reply could not be followed; the model was told why.
    Corrected {
        /// Which step.
        step: u32,
        /// What it was told.
        reason: String,
    },
    /// A command of a reply began.
    CommandStarted {
        /// Which step.
        step: u32,
        /// `python`, `bash`, `snapshot`, `rollback`.
        kind: String,
        /// Bytes of its source.
        bytes: u64,
        /// The source, if verbose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
    },
    /// It ended.
    CommandEnded(CommandEnded),
    /// Running code asked the host for something.
    CallStarted {
        /// Names the call within the run.
        call: u32,
        /// `query_llm`, `rlm_query`, `final`, or a tool that a caller has added.
        name: String,
        /// How many queries it carries.
        items: u32,
        /// Bytes of its payload.
        bytes: u64,
    },
    /// A model replied to a query of a call.
    QueryReplied {
        /// Which call.
        call: u32,
        /// Which of its queries, from 0.
        item: u32,
        /// Bytes of the prompt.
        prompt_bytes: u64,
        /// The prompt, if verbose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
        /// The reply.
        #[serde(flatten)]
        reply: ModelReply,
    },
    /// A query of a call has no reply.
    QueryFailed {
        /// Which call.
        call: u32,
        /// Which of its queries, from 0.
        item: u32,
        /// Why.
        error: String,
        /// What was asked, if it was, and what became of it: for a replay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<FailedCall>,
    },
    /// The call was answered.
    CallEnded {
        /// Which call.
        call: u32,
        /// Why it was refused, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// How long it took, in milliseconds.
        total_ms: f64,
    },
    /// Older steps were left out of the prompt.
    Compacted {
        /// Before which step.
        step: u32,
        /// Estimated tokens of the prompt before.
        tokens_before: u64,
        /// And after.
        tokens_after: u64,
    },
    /// Something a reader should know: unknown terms, a state that could not be kept.
    Warned {
        /// What.
        message: String,
    },
    /// A node has ended.
    NodeEnded {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// What it used, its children included.
        spent: Spent,
    },
    /// The last record of every trajectory that is whole.
    RunEnded {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// What the run used.
        spent: Spent,
    },
}

/// What a run began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`VERSION`].
    pub version: u32,
    /// Release that wrote it.
    pub ukernel: String,
    /// Names the run.
    pub run: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub started_unix_ms: u64,
    /// Whether texts are there.
    pub verbose: bool,
    /// The model that is asked for steps.
    pub model: String,
    /// The model that is asked for sub-queries.
    pub sub_model: String,
    /// Where replies come from.
    pub origin: String,
    /// The caller's trace, as W3C Trace Context's `traceparent`, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What may be used.
    pub budget: Budget,
}

/// How a node began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStarted {
    /// The node whose code asked for it.
    pub parent: Option<u32>,
    /// The call that asked for it, and which of its queries.
    pub call: Option<(u32, u32)>,
    /// 0 for the first.
    pub depth: u32,
    /// Its session.
    pub session: String,
    /// Bytes of the question.
    pub question_bytes: u64,
    /// The question, if verbose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// What its context is.
    pub context: ContextShape,
    /// How long it took until the context was there, in milliseconds.
    pub load_ms: f64,
    /// Tokens it may use.
    pub max_tokens: u64,
}

/// What a context is, without what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextShape {
    /// Its type in the REPL: `str`, `bytes`, `dict`, `none`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its texts, by name.
    pub parts: Vec<ContextPart>,
}

/// One text of a context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextPart {
    /// What it is called.
    pub name: String,
    /// `str` or `bytes`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Characters, or bytes.
    pub length: u64,
    /// Lines.
    #[serde(default)]
    pub lines: u64,
    /// Characters that stand for bytes that are not UTF-8.
    #[serde(default)]
    pub replaced: u64,
    /// A few first lines, shortened; empty in trajectories that are not verbose.
    #[serde(default)]
    pub first: Vec<String>,
}

/// A model's reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReply {
    /// The model, as the provider calls it.
    pub model: String,
    /// What was asked: what a replay matches on.
    pub digest: RequestDigest,
    /// Bytes of the reply.
    pub reply_bytes: u64,
    /// The reply, if verbose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens.
    pub usage: Usage,
    /// What it cost, if anybody knows.
    pub cost: Option<Cost>,
    /// From the first attempt to the last byte, in milliseconds.
    pub latency_ms: f64,
    /// Requests made.
    pub attempts: u32,
}

/// A model call without a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCall {
    /// What was asked.
    pub digest: RequestDigest,
    /// Who was asked.
    pub provider: String,
    /// What happened.
    pub kind: FailureKind,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// What the provider or the system said.
    pub message: String,
    /// How long the provider asked to wait, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Requests made.
    pub attempts: u32,
    /// Tokens used all the same.
    pub usage: Option<Usage>,
    /// What they cost.
    pub cost: Option<Cost>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandEnded {
    /// Which step.
    pub step: u32,
    /// `ok`, `exit 1`, `ValueError`, `time limit`, `VM lost`, ...
    pub status: String,
    /// Whether it ended well.
    pub ok: bool,
    /// Bytes of standard output that came back.
    pub stdout_bytes: u64,
    /// Bytes of standard error that came back.
    pub stderr_bytes: u64,
    /// Files of the guest that hold output too long to come back.
    pub files: Vec<String>,
    /// Standard output, if verbose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// Standard error, if verbose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// The printed value of a last expression, if verbose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// In the guest, in milliseconds, its calls included.
    pub run_ms: f64,
    /// From the request to the result, in milliseconds.
    pub total_ms: f64,
}

impl CommandEnded {
    /// One that ended well and wrote nothing, after so many milliseconds.
    #[must_use]
    pub fn well(step: u32, total_ms: f64) -> Self {
        Self {
            step,
            status: "ok".to_owned(),
            ok: true,
            stdout_bytes: 0,
            stderr_bytes: 0,
            files: Vec::new(),
            stdout: None,
            stderr: None,
            value: None,
            run_ms: 0.0,
            total_ms,
        }
    }

    /// Makes it one that did not end well.
    pub fn fail(&mut self, status: String) {
        self.ok = false;
        self.status = status;
    }
}

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// With an answer.
    Answered {
        /// Bytes of the answer.
        answer_bytes: u64,
        /// The answer, if verbose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<String>,
        /// Why it is only the best there was when a limit came near; absent if it is whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partial: Option<String>,
    },
    /// Without one.
    Failed {
        /// Why.
        error: String,
    },
}

/// What one model call used. `usage` is `None` if nothing was processed.
#[must_use]
pub fn spent_of_call(usage: Option<Usage>, cost: Option<Cost>) -> Spent {
    let used = usage.unwrap_or_default();
    Spent {
        prompt_tokens: used.prompt_tokens,
        completion_tokens: used.completion_tokens,
        estimated_calls: u64::from(used.is_estimated),
        micro_dollars: cost.map_or(0, |cost| cost.micro_dollars),
        calls_without_cost: u64::from(usage.is_some() && cost.is_none()),
        model_calls: 1,
        ..Spent::default()
    }
}
