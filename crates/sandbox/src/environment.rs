//! What a caller of a sandbox sees: the specification's `ExecutionEnvironment` (section 1.2),
//! and files, forks, streaming and interrupts beside it.

use crate::name::SnapshotId;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
pub use ukernel_abi::message::{Exec, Mode, TerminalSize};
pub use ukernel_abi::message::{
    MAX_CALL_BYTES, MAX_PENDING_CALLS, SessionToken, SpilledOutput, Stream,
};
pub use ukernel_machine::calls::{CallResult, HostCall};

/// Runs code and commands somewhere safe.
#[async_trait]
pub trait ExecutionEnvironment: Send + Sync {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Runs Python code. Code that fails is a result; an environment that fails is an error.
    async fn execute_code(
        &self,
        code: &str,
        ctx: &ExecutionContext,
    ) -> Result<ExecutionResult, Self::Error>;

    /// Runs a shell command over the same files.
    async fn execute_command(
        &self,
        cmd: &str,
        ctx: &ExecutionContext,
    ) -> Result<ExecutionResult, Self::Error>;

    /// Says whether this is code that could run, without running it.
    async fn validate(&self, input: &str) -> Result<ValidationResult, Self::Error>;

    /// Keeps the state of now under a name.
    async fn create_snapshot(&self, name: &str) -> Result<SnapshotId, Self::Error>;

    /// Goes back to a snapshot: interpreter, variables and files.
    async fn restore_snapshot(&self, id: &SnapshotId) -> Result<(), Self::Error>;

    /// What this environment can do.
    fn capabilities(&self) -> &[Capability];
}

/// Something an environment can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Capability {
    /// Runs Python.
    Python,
    /// Runs shell commands.
    Shell,
    /// Keeps and restores named snapshots.
    Snapshots,
    /// Makes independent copies of itself.
    Fork,
    /// Moves files in and out.
    Files,
    /// Hands on output as it comes.
    Streaming,
    /// Interrupts an execution and keeps its state.
    Interrupt,
}

/// Takes output as it comes. When it is full the execution waits; when nobody receives, output is
/// kept for the result only.
pub type OutputSink = mpsc::Sender<(Stream, Vec<u8>)>;

/// Where the standard input of one execution comes from. It is read as the program reads.
#[derive(Clone)]
pub struct InputSource(Arc<Mutex<Option<Box<dyn AsyncRead + Send + Unpin>>>>);

impl InputSource {
    /// Everything that can be read there.
    pub fn new(source: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(source)))))
    }

    /// Takes it: the first execution that is given it has it.
    pub(crate) fn take(&self) -> Option<Box<dyn AsyncRead + Send + Unpin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Does what code asks the host for.
#[async_trait]
pub trait HostCalls: Send + Sync {
    /// What every call has to show. The guest's kernel gets it with each execution.
    fn token(&self) -> SessionToken;

    /// Answers a call, whose token is still to be checked. Dropped when the execution ends first.
    async fn answer(&self, call: HostCall) -> CallResult;
}

/// A token that nobody can guess.
#[must_use]
pub fn new_token() -> SessionToken {
    // Each has 122 random bits.
    let (one, two) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let mut hasher = blake3::Hasher::new_derive_key("ukernel 2026 session token v1");
    hasher.update(one.as_bytes()).update(two.as_bytes());
    *hasher.finalize().as_bytes()
}

/// How an execution is run.
#[derive(Clone, Default)]
pub struct ExecutionContext {
    /// Its time limit; the configuration's if `None`.
    pub timeout: Option<Duration>,
    /// Cancelling it kills the VM at once.
    pub cancellation: Option<CancellationToken>,
    /// Cancelling it interrupts this execution, and no other, with KeyboardInterrupt; state is
    /// kept. One that still waits for its turn ends with [`SandboxError::NeverBegan`](crate::SandboxError::NeverBegan).
    pub interrupt: Option<CancellationToken>,
    /// Its standard input; at its end if `None`.
    pub input: Option<InputSource>,
    /// Variables added to the guest's environment.
    pub environment: Vec<(String, String)>,
    /// Working folder in the guest; where the execution before left it if `None`.
    pub folder: Option<String>,
    /// Gets output as it comes.
    pub output: Option<OutputSink>,
    /// `sys.argv[1..]`.
    pub args: Vec<String>,
    /// The terminal a command is to have; pipes if `None`. Guests without terminals refuse.
    pub terminal: Option<TerminalSize>,
    /// File name for tracebacks.
    pub name: Option<String>,
    /// Bytes of each output stream that come back, if fewer than the configuration says.
    pub inline_output_bytes: Option<usize>,
    /// Does what the code asks the host for; without it nothing is done.
    pub calls: Option<Arc<dyn HostCalls>>,
}

impl ExecutionContext {
    /// The same as an [`Exec`] of this source, and how it is controlled.
    #[must_use]
    pub fn exec(&self, mode: Mode, source: &str) -> (Exec, Control) {
        let name = self.name.clone().unwrap_or_else(|| "<session>".to_owned());
        let inline = self
            .inline_output_bytes
            .map_or(u64::MAX, |bytes| bytes as u64);
        let exec = Exec {
            args: self.args.clone(),
            mode,
            environment: self.environment.clone(),
            folder: self.folder.clone(),
            inline_output_bytes: inline,
            terminal: self.terminal,
            ..Exec::program(name, source)
        };
        let control = Control {
            timeout: self.timeout,
            cancellation: self.cancellation.clone(),
            interrupt: self.interrupt.clone(),
            output: self.output.clone(),
            input: self.input.clone(),
            calls: self.calls.clone(),
        };
        (exec, control)
    }
}

/// How a running execution is reached from outside: its limit, its streams, how it is stopped.
#[derive(Clone, Default)]
pub struct Control {
    /// Its time limit; the environment's if `None`.
    pub timeout: Option<Duration>,
    /// Cancelling it ends the execution at once.
    pub cancellation: Option<CancellationToken>,
    /// Cancelling it interrupts the execution; state is kept.
    pub interrupt: Option<CancellationToken>,
    /// Gets output as it comes.
    pub output: Option<OutputSink>,
    /// Its standard input; at its end if `None`.
    pub input: Option<InputSource>,
    /// Does what the code asks the host for; without it nothing is done.
    pub calls: Option<Arc<dyn HostCalls>>,
}

impl fmt::Debug for ExecutionContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ExecutionContext")
            .field("timeout", &self.timeout)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// What an execution wrote, as far as it came back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Standard output. What is no UTF-8 is replaced.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ExecutionStatus {
    /// To its end, or by an exit with this code.
    Exited {
        /// 0 is success.
        code: i32,
    },
    /// By an exception nobody caught.
    Exception {
        /// Its type.
        exception: String,
        /// Its message.
        message: String,
    },
    /// Interrupted; state is kept.
    Interrupted,
}

/// What an execution came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutionResult {
    /// What it wrote.
    #[serde(flatten)]
    pub output: Output,
    /// How it ended.
    pub status: ExecutionStatus,
    /// Printed form of a last expression that is not `None`.
    pub value: Option<String>,
    /// What it showed, in order: pictures, pages, data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Streams that were too long to come back: files of the guest that hold all of them.
    pub files: Vec<OutputFile>,
    /// Which command of the session it was, from 1.
    pub command: u64,
    /// From the call to its end, in milliseconds, waiting included.
    pub total_ms: f64,
    /// In the guest, in milliseconds.
    pub run_ms: f64,
    /// Why the state before this command could not be kept, if it could not.
    pub checkpoint_error: Option<String>,
}

impl ExecutionResult {
    /// Whether it ended well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self.status, ExecutionStatus::Exited { code: 0 })
    }
}

/// Something an execution showed. Its bytes are what its media type says: a PNG or JPEG image, text in
/// UTF-8, JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// As `image/png`.
    pub media_type: String,
    /// In base64, where it is written as JSON.
    #[serde(with = "base64_text")]
    pub bytes: Vec<u8>,
}

/// Bytes as text in base64 (RFC 4648, section 4).
mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD
            .decode(String::deserialize(from)?)
            .map_err(Error::custom)
    }
}

/// A stream that went to a file of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Where it is in the guest.
    pub path: String,
    /// Bytes that were written.
    pub bytes: u64,
    /// Bytes that are in the file: fewer if the file tree was full.
    pub kept_bytes: u64,
}

impl From<SpilledOutput> for OutputFile {
    fn from(spilled: SpilledOutput) -> Self {
        Self {
            stream: match spilled.stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            }
            .to_owned(),
            path: spilled.path,
            bytes: spilled.bytes,
            kept_bytes: spilled.kept_bytes,
        }
    }
}

/// Whether code could run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationResult {
    /// Whether it could.
    pub is_valid: bool,
    /// What is wrong, for people.
    pub problem: Option<String>,
}
