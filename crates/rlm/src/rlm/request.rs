//! What is asked, and what comes back.

use crate::context::Context;
use crate::exact::Exact;
use crate::{Result, SessionId};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_budget::Spent;
use ukernel_llm::{GenericLlmClient, ModelName};
use ukernel_machine::probe::ProbeConfig;
use ukernel_sandbox::session::SessionInfo;
use ukernel_trajectory::{Record, TrajectoryFile, Watcher};
use ukernel_vmm::LauncherOptions;

/// Names a session. See [`SessionId`].
pub type SessionStatus = SessionInfo;

/// What surrounds the runtime: how VMs are started, and who is asked. The default is this process
/// and the models of the configuration.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// How a process becomes a VM; this program, by [`become_vm_if_asked`], if absent.
    pub vm_process: Option<LauncherOptions>,
    /// How the host is looked at.
    pub probe: Option<ProbeConfig>,
    /// Who is asked instead of the models of the configuration.
    pub llm: Option<Arc<dyn GenericLlmClient>>,
}

/// A question, and how it is to be answered.
#[derive(Clone, Default)]
pub struct Query {
    /// The question.
    pub question: String,
    /// What it is asked over; the session's `context` if there is none.
    pub context: Context,
    /// In which session. In one of its own, that ends with it, if absent.
    pub session: Option<SessionId>,
    /// JSON Schema of the answer.
    pub schema: Option<Value>,
    /// Where the trajectory goes, instead of where the configuration says.
    pub trace: Option<TrajectoryFile>,
    /// Who is asked instead of the models of the configuration, by which name.
    pub model: Option<(ModelName, Arc<dyn GenericLlmClient>)>,
    /// The caller's trace, as W3C Trace Context's `traceparent`. It is noted in the trajectory.
    pub traceparent: Option<String>,
    /// Sees every record, with its texts, as it happens. Must not block for long.
    pub watcher: Option<Watcher>,
    /// Bytes of replies that are coming now are counted here.
    pub streamed: Arc<AtomicU64>,
    /// Cancelling it ends everything at once.
    pub cancel: CancellationToken,
}

/// Code or a command, and how a session runs it.
#[derive(Clone, Default)]
pub struct Execution {
    /// What runs.
    pub source: String,
    /// Whether it is a shell command and not Python.
    pub is_shell: bool,
    /// Its time limit; the configuration's if absent.
    pub timeout: Option<Duration>,
    /// Bytes of each output stream that come back, if fewer than the configuration says.
    pub inline_output_bytes: Option<usize>,
    /// Cancelling it interrupts what runs, as Ctrl-C does: the session keeps its state.
    pub interrupt: CancellationToken,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RlmResponse {
    /// The answer.
    pub answer: String,
    /// Its value, where it was given as one or a schema asks for one.
    pub value: Option<Exact>,
    /// Why it is only the best there was when a limit came near; absent if it is whole.
    pub partial: Option<String>,
    /// What it used.
    pub spent: Spent,
    /// Names the run.
    pub run: String,
    /// Where its trajectory is, if anywhere.
    pub trajectory: Option<PathBuf>,
}

/// A query that is being answered.
pub struct Running {
    /// Every record as it happens. It ends with the run.
    pub events: mpsc::UnboundedReceiver<Record>,
    /// The answer.
    pub answer: tokio::task::JoinHandle<Result<RlmResponse>>,
}
