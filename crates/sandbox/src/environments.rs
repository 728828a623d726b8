//! The seam between who runs code and where it runs: environments that last, and who makes them.
//!
//! [`Environments`] and [`Environment`] are object-safe, so that everything above takes
//! `Arc<dyn Environments>`. Local sessions ([`SessionManager`](crate::session::SessionManager)) are
//! the first implementation.

use crate::environment::{
    Capability, Control, ExecutionContext, ExecutionEnvironment, ExecutionResult, ExecutionStatus,
    ValidationResult,
};
use crate::session::{Create, SessionInfo, SnapshotInfo};
use crate::{Result, SandboxError, SessionId, SnapshotId, SnapshotName};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use ukernel_abi::message::{Exec, Mode};

/// How long code may take to be compiled.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes, finds and ends environments.
#[async_trait]
pub trait Environments: Send + Sync {
    /// Makes one, ready to run.
    ///
    /// # Errors
    /// [`SandboxError::NameTaken`], [`SandboxError::Limit`], [`SandboxError::AllocationTimeout`].
    async fn create(&self, create: Create) -> Result<Arc<dyn Environment>>;

    /// The one of this name or id, if it is this user's.
    ///
    /// # Errors
    /// [`SandboxError::NoSession`], also for another user's.
    fn find(&self, owner: u32, key: &str) -> Result<Arc<dyn Environment>>;

    /// Ends one, whatever it does.
    ///
    /// # Errors
    /// [`SandboxError::Io`] if something of it cannot be removed; it has ended anyway.
    async fn destroy(&self, environment: &dyn Environment) -> Result<()>;

    /// Ends everything that runs. What lasts comes back with the next start.
    async fn stop(&self);
}

/// One environment: code runs in it, state stays from one execution to the next. What is asked of
/// it is done one after the other.
#[async_trait]
pub trait Environment: Send + Sync {
    /// Its id.
    fn id(&self) -> SessionId;

    /// What lists show of it. Never waits for what runs.
    fn info(&self) -> SessionInfo;

    /// Cancelling it ends the environment at once.
    fn token(&self) -> &CancellationToken;

    /// What it can do.
    fn capabilities(&self) -> &[Capability];

    /// Runs something. Code that fails is a result; an environment that fails is an error.
    ///
    /// # Errors
    /// [`SandboxError::TimeLimit`], [`SandboxError::Cancelled`], [`SandboxError::VmLost`],
    /// [`SandboxError::NeverBegan`], [`SandboxError::SessionEnded`].
    async fn exec(&self, exec: Exec, control: Control) -> Result<ExecutionResult>;

    /// Writes the state of now down.
    ///
    /// # Errors
    /// [`SandboxError::VmLost`], [`SandboxError::Io`].
    async fn checkpoint(&self) -> Result<()>;

    /// Whether the state before each execution is kept, from now on.
    ///
    /// # Errors
    /// [`SandboxError::SessionEnded`].
    async fn keep_checkpoints(&self, keep: bool) -> Result<()>;

    /// Keeps the state of now under a name.
    ///
    /// # Errors
    /// [`SandboxError::NameTaken`], [`SandboxError::Limit`], [`SandboxError::Io`].
    async fn snapshot(&self, name: SnapshotName) -> Result<SnapshotId>;

    /// Goes back to a snapshot.
    ///
    /// # Errors
    /// [`SandboxError::NoSnapshot`], [`SandboxError::Busy`], [`SandboxError::Damaged`].
    async fn rollback(&self, id: SnapshotId) -> Result<()>;

    /// Its snapshots, oldest first.
    ///
    /// # Errors
    /// [`SandboxError::SessionEnded`].
    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>>;

    /// The snapshot of this name or id.
    ///
    /// # Errors
    /// [`SandboxError::NoSnapshot`].
    async fn find_snapshot(&self, key: &str) -> Result<SnapshotId> {
        let snapshots = self.list_snapshots().await?;
        let found = snapshots
            .iter()
            .find(|snapshot| snapshot.name.as_str() == key);
        found
            .or_else(|| {
                snapshots
                    .iter()
                    .find(|snapshot| snapshot.id.to_string() == key)
            })
            .map(|snapshot| snapshot.id)
            .ok_or_else(|| SandboxError::NoSnapshot(key.escape_debug().take(80).collect()))
    }

    /// Writes a whole file of the guest, making the folders above it.
    ///
    /// # Errors
    /// [`SandboxError::Limit`], [`SandboxError::Machine`] with what the guest says.
    async fn put_file(&self, path: &str, content: Vec<u8>) -> Result<()>;

    /// Reads a whole file of the guest.
    ///
    /// # Errors
    /// As [`Self::put_file`].
    async fn get_file(&self, path: &str) -> Result<Vec<u8>>;

    /// At most `max_bytes` of a file of the guest, from `offset`: fewer at its end.
    ///
    /// # Errors
    /// [`SandboxError::Machine`] with what the guest says.
    async fn read_file(&self, path: &str, offset: u64, max_bytes: usize) -> Result<Vec<u8>>;

    /// Adds the configured time to its life; what is left of it then.
    ///
    /// # Errors
    /// [`SandboxError::Limit`] when it was extended as often as it may be.
    async fn extend(&self) -> Result<Duration>;
}

/// Every environment offers what the specification asks for.
#[async_trait]
impl<E: Environment + ?Sized> ExecutionEnvironment for E {
    type Error = SandboxError;

    async fn execute_code(&self, code: &str, ctx: &ExecutionContext) -> Result<ExecutionResult> {
        let (exec, control) = ctx.exec(Mode::Prompt, code);
        self.exec(exec, control).await
    }

    async fn execute_command(&self, cmd: &str, ctx: &ExecutionContext) -> Result<ExecutionResult> {
        let (exec, control) = ctx.exec(Mode::Shell, cmd);
        self.exec(exec, control).await
    }

    /// Compiles the code where it would run.
    async fn validate(&self, input: &str) -> Result<ValidationResult> {
        let exec = Exec {
            mode: Mode::Check,
            ..Exec::program("<input>", input)
        };
        let control = Control {
            timeout: Some(VALIDATION_TIMEOUT),
            ..Control::default()
        };
        let result = self.exec(exec, control).await?;
        let problem = match result.status {
            ExecutionStatus::Exited { code: 0 } => None,
            ExecutionStatus::Exception { exception, message } => {
                Some(format!("{exception}: {message}"))
            }
            other => Some(format!("{other:?}")),
        };
        Ok(ValidationResult {
            is_valid: problem.is_none(),
            problem,
        })
    }

    async fn create_snapshot(&self, name: &str) -> Result<SnapshotId> {
        self.snapshot(name.parse()?).await
    }

    async fn restore_snapshot(&self, id: &SnapshotId) -> Result<()> {
        self.rollback(*id).await
    }

    fn capabilities(&self) -> &[Capability] {
        Environment::capabilities(self)
    }
}
