//! Sessions: what is behind a name, and the manager that owns them.

mod archive;
mod calls;
mod checkpoint;
mod environment;
mod execution;
mod files;
mod fork;
mod info;
mod journal;
mod manager;
mod output;
mod record;
mod recovery;
mod reserve;
mod shown;
mod snapshots;
mod state;
mod stored;

pub use archive::Moved;
pub use files::MAX_FILE_BYTES;
pub use info::{LostSession, SessionInfo, SnapshotInfo};
pub use manager::{Create, SessionManager};

use crate::{Guest, Result, SandboxConfig, SandboxError, SessionId, SessionName};
use state::State;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use ukernel_abi::message::TerminalSize;
use ukernel_image::ImageName;

/// A stateful sandbox. Clones are handles of the same session; what they ask for is done one
/// after the other.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    id: SessionId,
    name: Option<SessionName>,
    owner: u32,
    guest: Guest,
    image: Option<ImageName>,
    config: Arc<SandboxConfig>,
    keeps_checkpoints: AtomicBool,
    state: Arc<tokio::sync::Mutex<State>>,
    /// What runs now.
    running: Mutex<Option<Stop>>,
    /// Cancelled when the session ends. Child sessions' tokens are its children.
    token: CancellationToken,
    life: Mutex<Life>,
    seen: Mutex<Seen>,
}

/// How an execution is stopped from outside.
#[derive(Clone)]
struct Stop {
    /// With KeyboardInterrupt; state is kept.
    interrupt: CancellationToken,
    /// At once, with its VM.
    kill: CancellationToken,
    /// Hears that its terminal has another size.
    resized: watch::Sender<Option<TerminalSize>>,
}

/// What lists show of a state that may be busy.
#[derive(Clone, Default)]
struct Seen {
    commands: u64,
    snapshots: usize,
    created_ms: u64,
    process: Option<u32>,
    recovered: Option<String>,
}

/// How long the session lives.
#[derive(Clone, Copy)]
struct Life {
    expires: Instant,
    extensions: u32,
}

impl Session {
    fn new(
        state: State,
        token: CancellationToken,
        remaining: Duration,
        recovered: Option<String>,
    ) -> Self {
        let seen = Seen {
            recovered,
            ..Seen::default()
        };
        let life = Life {
            expires: Instant::now() + remaining,
            extensions: state.record.extensions,
        };
        Self {
            inner: Arc::new(Inner {
                id: state.record.id,
                name: state.record.name.clone(),
                owner: state.record.owner,
                guest: state.record.guest,
                image: state.record.image.clone(),
                config: Arc::clone(&state.config),
                keeps_checkpoints: AtomicBool::new(state.keeps_checkpoints),
                state: Arc::new(tokio::sync::Mutex::new(state)),
                running: Mutex::new(None),
                token,
                life: Mutex::new(life),
                seen: Mutex::new(seen),
            }),
        }
    }

    /// What lists show of it. Never waits for what runs.
    #[must_use]
    pub fn info(&self) -> SessionInfo {
        if let Ok(state) = self.inner.state.try_lock() {
            self.note(&state);
        }
        let seen = self.seen().clone();
        let most = self.inner.config.max_extensions;
        SessionInfo {
            id: self.id(),
            name: self.name().cloned(),
            guest: self.inner.guest,
            image: self.inner.image.clone(),
            is_running: self.is_running(),
            commands: seen.commands,
            snapshots: seen.snapshots,
            created_ms: seen.created_ms,
            remaining_s: self.remaining().as_secs(),
            extensions_left: most.saturating_sub(self.life().extensions),
            process: seen.process,
            recovered: seen.recovered,
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.inner
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, state: &State) {
        let mut seen = self.seen();
        seen.commands = state.record.commands;
        seen.snapshots = state.record.snapshots.len();
        seen.created_ms = state.record.created_ms;
        seen.process = state.process_id();
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.inner.id
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&SessionName> {
        self.inner.name.as_ref()
    }

    /// Its name, else its id.
    #[must_use]
    pub fn label(&self) -> String {
        self.name()
            .map_or_else(|| self.id().to_string(), ToString::to_string)
    }

    /// Cancelling it ends the session's VM at once, and those of sessions made as its children.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.inner.token
    }

    /// Interrupts what runs, with KeyboardInterrupt; state is kept. `false`: nothing runs.
    pub fn interrupt(&self) -> bool {
        self.running()
            .as_ref()
            .map(|running| running.interrupt.cancel())
            .is_some()
    }

    /// Says that the terminal of what runs has another size. `false`: nothing runs.
    pub fn resize(&self, size: TerminalSize) -> bool {
        self.running()
            .as_ref()
            .map(|running| running.resized.send_replace(Some(size)))
            .is_some()
    }

    /// Ends what runs, with its VM.
    fn kill(&self) {
        if let Some(running) = self.running().as_ref() {
            running.kill.cancel();
        }
    }

    /// Whether something runs now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running().is_some()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Stop>> {
        self.inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> std::sync::MutexGuard<'_, Life> {
        self.inner
            .life
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Time until it ends by itself.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.life()
            .expires
            .saturating_duration_since(Instant::now())
    }

    /// Adds the configured time to its life.
    ///
    /// # Errors
    /// [`SandboxError::Limit`] when it was extended as often as it may be.
    pub async fn extend(&self) -> Result<Duration> {
        let extension = Duration::from_millis(self.inner.config.session_extension_ms);
        let most = self.inner.config.max_extensions;
        let extensions = {
            let mut life = self.life();
            if life.extensions >= most {
                return Err(SandboxError::Limit {
                    what: "extensions of a session",
                    limit: most.into(),
                });
            }
            life.extensions += 1;
            life.expires += extension;
            life.extensions
        };
        let remaining = self.remaining();
        self.work(move |state| {
            state.record.extensions = extensions;
            state.record.expires_ms = record::now_ms()
                .saturating_add(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX));
            state.record.save(&state.folder)
        })
        .await?;
        Ok(remaining)
    }

    /// Writes the state of now down. Without it that is done behind every command.
    ///
    /// # Errors
    /// [`SandboxError::VmLost`] if the VM is gone, [`SandboxError::Io`]: the session goes on.
    pub async fn checkpoint(&self) -> Result<()> {
        self.work(|state| {
            state.check_alive()?;
            state.checkpoint()
        })
        .await
    }

    /// Whether the state before each command is kept, from now on. Without it a VM that is lost
    /// takes the session back to the last [`Self::checkpoint`]. For states so large that writing
    /// them takes longer than doing the commands again.
    ///
    /// # Errors
    /// [`SandboxError::SessionEnded`].
    pub async fn keep_checkpoints(&self, keep: bool) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        self.work(move |state| {
            state.check_alive()?;
            state.keeps_checkpoints = keep;
            inner.keeps_checkpoints.store(keep, Ordering::Relaxed);
            Ok(())
        })
        .await
    }

    /// Does something to the state on a thread that may block, when it is its turn.
    async fn work<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let mut state = Arc::clone(&self.inner.state).lock_owned().await;
        self.note(&state);
        blocking(move || work(&mut state)).await
    }

    /// Ends the session and whatever runs in it.
    async fn end(&self) -> Result<()> {
        self.inner.token.cancel();
        self.kill();
        self.work(State::end).await
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shut down cancels such work.
            Err(_) => Err(SandboxError::Stopping),
        },
    }
}
