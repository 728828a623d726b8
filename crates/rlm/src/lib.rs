//! Answers over contexts larger than any model's window: the runtime of Recursive Language Models.
//!
//! A model sees a question, the size and shape of a context, and a REPL. The context itself stays in
//! a VM; the model writes code that looks at it, and from that code asks models about pieces of it.
//!
//! ```text
//!   TerraphimRlm ── ask ──> query: steps ──> reply: what a model's text means
//!        │                    │    │  │
//!        │ sessions           │    │  └──> budget: reserved before, settled after
//!        v                    v    v
//!   ukernel_sandbox <── bridge ── host calls ──> ukernel_llm        trajectory: all of it, on disk
//! ```
//! The way of one question: a session's VM loads the context; [`query`](TerraphimRlm::ask) asks the
//! model for a step; `ukernel_reply` reads its text; the sandbox runs the code. Code that calls
//! `query_llm` waits in the guest while the bridge checks the session's token, `ukernel_budget`
//! reserves, and the provider is asked. `rlm_query` makes a node of its own, with its own VM and a slice
//! of the budget. Everything is written to the [`trajectory`] as it happens.
//!
//! Guests that have a network instead of the channel make the same calls over HTTP
//! ([`BridgeServer`]): they go through the same bridge.
//!
//! What this crate refuses to do: trust the guest (depth, budget and token are out of its reach),
//! retry what the sandbox says failed, or put the context into a prompt.
#![forbid(unsafe_code)]

mod client;
mod config;
pub mod context;
mod error;
mod error_code;
mod exact;
mod folder;
mod http;
mod query;
mod rlm;
mod schema;
mod session;

pub use config::{
    BackendType, KgStrictness, ModelProvider, RlmConfig, RlmConfigBuilder, SessionModel,
    UpstreamServer,
};
pub use context::Context;
pub use error::{Cause, Problem, Result, RlmError};
pub use error_code::ErrorCode;
pub use exact::Exact;
pub use http::{BridgeServer, HexToken, OpenCalls, ServeOptions};
pub use query::{Tool, ToolCall};
pub use rlm::{
    Execution, Query, RlmResponse, Running, SessionStatus, Surroundings, TerraphimRlm,
    become_vm_if_asked,
};
pub use schema::Schema;
pub use ukernel_budget::{Budget, Spent};
pub use ukernel_llm::{GenericLlmClient, ModelName, Price};
pub use ukernel_sandbox::session::SnapshotInfo;
pub use ukernel_sandbox::{ExecutionResult, SandboxConfig, SessionId, SnapshotId};
pub use ukernel_trajectory as trajectory;
