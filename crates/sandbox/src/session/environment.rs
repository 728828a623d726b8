//! A session as an execution environment.

use super::execution::{Request, run};
use super::state::State;
use super::{Create, Session, SessionInfo, SessionManager, SnapshotInfo, Stop, blocking};
use crate::environment::{Capability, Control, ExecutionResult, new_token};
use crate::environments::{Environment, Environments};
use crate::{Result, SandboxError, SessionId, SnapshotId, SnapshotName};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;
use ukernel_abi::message::Exec;
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

/// How long an interrupted execution may take to end before its VM is ended.
const INTERRUPT_GRACE: Duration = Duration::from_secs(5);

#[async_trait]
impl Environment for Session {
    fn id(&self) -> SessionId {
        self.id()
    }

    fn info(&self) -> SessionInfo {
        self.info()
    }

    fn token(&self) -> &CancellationToken {
        self.token()
    }

    fn capabilities(&self) -> &[Capability] {
        &CAPABILITIES
    }

    async fn exec(&self, exec: Exec, control: Control) -> Result<ExecutionResult> {
        self.execute(exec, control).await
    }

    async fn checkpoint(&self) -> Result<()> {
        self.checkpoint().await
    }

    async fn keep_checkpoints(&self, keep: bool) -> Result<()> {
        self.keep_checkpoints(keep).await
    }

    async fn snapshot(&self, name: SnapshotName) -> Result<SnapshotId> {
        self.snapshot(name).await
    }

    async fn rollback(&self, id: SnapshotId) -> Result<()> {
        self.rollback(id).await
    }

    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        self.list_snapshots().await
    }

    async fn put_file(&self, path: &str, content: Vec<u8>) -> Result<()> {
        self.put_file(path, content).await
    }

    async fn get_file(&self, path: &str) -> Result<Vec<u8>> {
        self.get_file(path).await
    }

    async fn read_file(&self, path: &str, offset: u64, max_bytes: usize) -> Result<Vec<u8>> {
        self.read_file(path, offset, max_bytes).await
    }

    async fn extend(&self) -> Result<Duration> {
        self.extend().await
    }
}

#[async_trait]
impl Environments for SessionManager {
    async fn create(&self, create: Create) -> Result<Arc<dyn Environment>> {
        Ok(Arc::new(self.create(create).await?))
    }

    fn find(&self, owner: u32, key: &str) -> Result<Arc<dyn Environment>> {
        Ok(Arc::new(self.find(owner, key)?))
    }

    async fn destroy(&self, environment: &dyn Environment) -> Result<()> {
        let Some(session) = self.of_id(environment.id()) else {
            return Ok(());
        };
        self.destroy(&session).await
    }

    async fn stop(&self) {
        self.stop().await;
    }
}

impl Session {
    async fn execute(&self, mut exec: Exec, control: Control) -> Result<ExecutionResult> {
        check_length(&exec.source)?;
        let most = self.inner.config.max_inline_output_bytes as u64;
        exec.inline_output_bytes = exec.inline_output_bytes.min(most);
        // Everything may show something.
        exec.token = Some(match &control.calls {
            Some(calls) => calls.token(),
            None => new_token(),
        });
        let request = Request {
            exec,
            timeout: control
                .timeout
                .unwrap_or_else(|| self.inner.config.execution_timeout())
                .min(MAX_TIMEOUT),
            sink: control.output,
            calls: control.calls,
            input: control.input,
            asked: Instant::now(),
        };
        let cancelled = control.cancellation.unwrap_or_default();
        let interrupt = control.interrupt.unwrap_or_default().child_token();
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
            resized: watch::Sender::new(None),
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
        let mut state = turn.take();
        // A thread that may block costs two wakings of processors, more than all else before a short command.
        let (begun, request) = match state.begin_at_once(&request) {
            Some(begun) => {
                turn.state = Some(state);
                (begun, request)
            }
            None => {
                let (state, begun) = blocking(move || {
                    let begun = state.begin(&request);
                    Ok((state, begun.map(|begun| (begun, request))))
                })
                .await?;
                turn.state = Some(state);
                begun?
            }
        };
        let resized = stop.resized.subscribe();
        let until = Until {
            deadline: Some(Instant::now() + request.timeout),
            interrupt: stop.interrupt,
            kill: stop.kill,
            grace: INTERRUPT_GRACE,
        };
        let ran = run(&begun.lease.vm, &request, &until, resized).await;
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

fn check_length(source: &[u8]) -> Result<()> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(SandboxError::Limit {
            what: "bytes of code",
            limit: MAX_SOURCE_BYTES as u64,
        });
    }
    Ok(())
}
