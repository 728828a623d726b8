//! A session as an execution environment.

use super::execution::Request;
use super::stop::{Stop, Stopper};
use super::{Session, blocking};
use crate::environment::{
    Capability, ExecutionContext, ExecutionEnvironment, ExecutionResult, ValidationResult,
};
use crate::{Result, SandboxError, SnapshotId};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use ukernel_abi::message::{Mode, Outcome};
use ukernel_machine::calls::Answers;
use ukernel_machine::guest::Program;

const CAPABILITIES: [Capability; 7] = [
    Capability::Python,
    Capability::Shell,
    Capability::Snapshots,
    Capability::Fork,
    Capability::Files,
    Capability::Streaming,
    Capability::Interrupt,
];

/// Longest code or command, in bytes.
pub(super) const MAX_SOURCE_BYTES: usize = 16 << 20;

/// Longest time limit: nobody waits a year.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long code may take to be compiled.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Where code to be validated is put.
const VALIDATION_PATH: &str = "/tmp/.validate";

/// Compiles it and binds no name.
const VALIDATION: &str = "compile(__import__('pathlib').Path('/tmp/.validate').read_bytes(), \
    '<input>', 'exec', dont_inherit=True)";

#[async_trait]
impl ExecutionEnvironment for Session {
    type Error = SandboxError;

    async fn execute_code(&self, code: &str, ctx: &ExecutionContext) -> Result<ExecutionResult> {
        self.execute(Mode::Prompt, code, ctx).await
    }

    async fn execute_command(&self, cmd: &str, ctx: &ExecutionContext) -> Result<ExecutionResult> {
        self.execute(Mode::Shell, cmd, ctx).await
    }

    /// Compiles the code in the session's own VM.
    async fn validate(&self, input: &str) -> Result<ValidationResult> {
        check_length(input)?;
        let source = input.to_owned();
        let outcome = self
            .work(move |state| {
                state.with_vm("validate", "", |vm| {
                    vm.write_file(VALIDATION_PATH, source.as_bytes())?;
                    let never = Stopper::new().map_err(|error| {
                        ukernel_machine::MachineError::io(
                            "validating",
                            std::io::Error::other(error),
                        )
                    })?;
                    let program = Program {
                        inline_output_bytes: 0,
                        ..Program::new("<validate>", VALIDATION.as_bytes())
                    };
                    let deadline = Instant::now() + VALIDATION_TIMEOUT;
                    let nothing = Answers::new()?;
                    let ended =
                        vm.exec(&program, deadline, never.file(), &nothing, &mut |_| Ok(()))?;
                    Ok(ended.outcome)
                })
            })
            .await?;
        let problem = match outcome {
            Outcome::Exited { code: 0, .. } => None,
            Outcome::Exception { kind, message } => Some(format!("{kind}: {message}")),
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
        &CAPABILITIES
    }
}

impl Session {
    async fn execute(
        &self,
        mode: Mode,
        source: &str,
        ctx: &ExecutionContext,
    ) -> Result<ExecutionResult> {
        check_length(source)?;
        let request = Request {
            mode,
            source: source.to_owned(),
            name: ctx.name.clone().unwrap_or_else(|| "<session>".to_owned()),
            args: ctx.args.clone(),
            timeout: ctx
                .timeout
                .unwrap_or_else(|| self.inner.config.execution_timeout())
                .min(MAX_TIMEOUT),
            sink: ctx.output.clone(),
            inline_output_bytes: ctx
                .inline_output_bytes
                .unwrap_or(usize::MAX)
                .min(self.inner.config.max_inline_output_bytes),
            calls: ctx.calls.clone(),
            asked: Instant::now(),
        };
        let cancelled = ctx
            .cancellation
            .clone()
            .unwrap_or_else(|| self.token().child_token());
        let mut state = tokio::select! {
            state = Arc::clone(&self.inner.state).lock_owned() => state,
            () = cancelled.cancelled() => return Err(self.cancelled_in_queue()),
            () = self.token().cancelled() => return Err(self.cancelled_in_queue()),
        };
        self.note(&state);
        let stopper = Arc::new(Stopper::new()?);
        *self.running() = Some(Arc::clone(&stopper));
        let running = Running {
            session: self.clone(),
        };
        let heard = Arc::clone(&stopper);
        let work = blocking(move || {
            // Dropped before the state is free for the next one.
            let _running = running;
            state.execute(&request, &heard)
        });
        tokio::pin!(work);
        // Nobody waits for an execution whose future is dropped.
        let mut abandoned = KillOnDrop(Some(Arc::clone(&stopper)));
        let result = tokio::select! {
            result = &mut work => result,
            () = cancelled.cancelled() => {
                stopper.stop(Stop::Kill);
                work.await
            }
            () = self.token().cancelled() => {
                stopper.stop(Stop::Kill);
                work.await
            }
        };
        abandoned.0 = None;
        if self.inner.keeps_checkpoints.load(Ordering::Relaxed) && result.is_ok() {
            self.checkpoint_behind();
        }
        result
    }

    fn cancelled_in_queue(&self) -> SandboxError {
        SandboxError::SessionEnded(self.label())
    }

    /// Writes the state down while nobody waits for it. What fails is found again, and said,
    /// by the next command.
    fn checkpoint_behind(&self) {
        let session = self.clone();
        tokio::spawn(async move {
            let _ = session.checkpoint().await;
        });
    }
}

/// Ends an execution when it is dropped with its stopper.
struct KillOnDrop(Option<Arc<Stopper>>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(stopper) = &self.0 {
            stopper.stop(Stop::Kill);
        }
    }
}

/// Something runs in a session, until this is dropped.
struct Running {
    session: Session,
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.session.running() = None;
    }
}

fn check_length(source: &str) -> Result<()> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(SandboxError::Limit {
            what: "bytes of code",
            limit: MAX_SOURCE_BYTES as u64,
        });
    }
    Ok(())
}
