//! A session as an execution environment.

use super::execution::{Request, run};
use super::state::State;
use super::{Session, Stop, blocking};
use crate::environment::{
    Capability, ExecutionContext, ExecutionEnvironment, ExecutionResult, ExecutionStatus,
    ValidationResult,
};
use crate::{Result, SandboxError, SnapshotId};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;
use ukernel_abi::message::{Exec, Mode};
use ukernel_machine::guest::Until;

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

/// How long an interrupted execution may take to end before its VM is ended.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

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
        let context = ExecutionContext {
            timeout: Some(VALIDATION_TIMEOUT),
            name: Some("<input>".to_owned()),
            ..ExecutionContext::default()
        };
        let result = self.execute(Mode::Check, input, &context).await?;
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
        let inline_output_bytes = ctx
            .inline_output_bytes
            .unwrap_or(usize::MAX)
            .min(self.inner.config.max_inline_output_bytes);
        let name = ctx.name.clone().unwrap_or_else(|| "<session>".to_owned());
        let request = Request {
            exec: Exec {
                args: ctx.args.clone(),
                mode,
                environment: ctx.environment.clone(),
                folder: ctx.folder.clone(),
                inline_output_bytes: inline_output_bytes as u64,
                token: ctx.calls.as_ref().map(|calls| calls.token()),
                ..Exec::program(name, source)
            },
            timeout: ctx
                .timeout
                .unwrap_or_else(|| self.inner.config.execution_timeout())
                .min(MAX_TIMEOUT),
            sink: ctx.output.clone(),
            calls: ctx.calls.clone(),
            input: ctx.input.clone(),
            asked: Instant::now(),
        };
        let cancelled = ctx.cancellation.clone().unwrap_or_default();
        let interrupt = ctx.interrupt.clone().unwrap_or_default().child_token();
        let state = tokio::select! {
            biased;
            () = self.token().cancelled() => return Err(self.ended_in_queue()),
            () = cancelled.cancelled() => return Err(self.ended_in_queue()),
            () = interrupt.cancelled() => return Err(SandboxError::NeverBegan),
            state = Arc::clone(&self.inner.state).lock_owned() => state,
        };
        self.note(&state);
        let kill = self.token().child_token();
        let stop = Stop {
            interrupt,
            kill: kill.clone(),
        };
        // A task of its own: the session gets its VM back, or knows that it is lost, also when
        // nobody waits for the result. Then it is ended.
        let _abandoned = kill.clone().drop_guard();
        let mut running = tokio::spawn(self.clone().carry_out(state, request, stop));
        loop {
            tokio::select! {
                ended = &mut running => {
                    return ended.unwrap_or_else(|error| match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(error) => Err(SandboxError::io("an execution", io::Error::other(error))),
                    });
                }
                () = cancelled.cancelled(), if !kill.is_cancelled() => kill.cancel(),
            }
        }
    }

    /// Carries out an execution whose turn it is.
    async fn carry_out(
        self,
        state: OwnedMutexGuard<State>,
        request: Request,
        stop: Stop,
    ) -> Result<ExecutionResult> {
        *self.running() = Some(stop.clone());
        // Dropped before the state is free for the next one, and after what runs has ended.
        let mut turn = Turn {
            state: Some(state),
            session: self.clone(),
        };
        let (begun, request) = {
            let mut state = turn.take();
            let (state, begun) = blocking(move || {
                let begun = state.begin(&request);
                Ok((state, begun.map(|begun| (begun, request))))
            })
            .await?;
            turn.state = Some(state);
            begun?
        };
        let until = Until {
            deadline: Some(Instant::now() + request.timeout),
            interrupt: stop.interrupt,
            kill: stop.kill,
            grace: INTERRUPT_GRACE,
        };
        let ran = run(&begun.lease.vm, &request, &until).await;
        let mut state = turn.take();
        let (state, result) = if ran.is_well() {
            let result = state.finish(&request, begun, ran);
            (state, result)
        } else {
            // What is lost is asked for its last words, which takes a moment.
            blocking(move || {
                let result = state.finish(&request, begun, ran);
                Ok((state, result))
            })
            .await?
        };
        turn.state = Some(state);
        drop(turn);
        if self.inner.keeps_checkpoints.load(Ordering::Relaxed) && result.is_ok() {
            self.checkpoint_behind();
        }
        result
    }

    fn ended_in_queue(&self) -> SandboxError {
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

/// The turn of one execution: while it lasts the session says that something runs.
struct Turn {
    /// Away while a thread works with it.
    state: Option<OwnedMutexGuard<State>>,
    session: Session,
}

impl Turn {
    fn take(&mut self) -> OwnedMutexGuard<State> {
        self.state.take().expect("put back after every use")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.session.running() = None;
        self.state = None;
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
