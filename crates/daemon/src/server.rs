//! The daemon itself: who may connect, how many, and when it ends.

use crate::connection::{Ears, Mouth, split};
use crate::protocol::{Asked, FailureKind, Greeting, Reply, Request};
use crate::{DaemonError, Place, Result, requests};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::collections::VecDeque;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::SandboxConfig;
use ukernel_sandbox::engine::{LinuxTemplates, StoredTemplate};
use ukernel_sandbox::guests::Guests;
use ukernel_sandbox::session::{MAX_FILE_BYTES, SessionManager};
use ukernel_sandbox::vm::VmManager;

/// Requests answered at once. How the daemon is and its end can be asked for beside them.
const MAX_REQUESTS: usize = 1024;

/// Clients that have not said yet what they want. One more, and the oldest of them is dropped.
const MAX_WAITING: usize = 256;

/// How often sessions that ran out of time are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// A place that is taken: no other daemon serves there.
#[derive(Debug)]
pub struct Server {
    place: Place,
    lock: File,
}

impl Server {
    /// Takes the place.
    ///
    /// # Errors
    /// [`DaemonError::Taken`], [`DaemonError::Start`].
    pub fn take(place: Place) -> Result<Self> {
        place.make().map_err(DaemonError::Start)?;
        let lock = place.lock().map_err(DaemonError::Start)?;
        let lock = lock.ok_or(DaemonError::Taken)?;
        raise_open_files();
        Ok(Self { place, lock })
    }

    /// Brings back the sessions of the place and serves until it is told to stop, by a client or
    /// a signal. `ukernel` is the template of the guests that are no Linux. With `idle_exit` it stops also when there were neither sessions nor requests for so long.
    ///
    /// # Errors
    /// [`DaemonError::Sandbox`], [`DaemonError::Start`] if the socket cannot be made.
    pub fn run(
        self,
        ukernel: StoredTemplate,
        linux: LinuxTemplates,
        config: SandboxConfig,
        idle_exit: Option<Duration>,
    ) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(DaemonError::Start)?;
        let entered = runtime.enter();
        let guests = Guests::from(VmManager::start(ukernel, &config)?).with_linux(linux, &config);
        let sessions = SessionManager::open(self.place.sessions(), guests, config)?;
        drop(entered);
        let served = runtime.block_on(listen(&self.place, sessions, idle_exit));
        // Only now may another daemon take the sessions.
        drop(self.lock);
        served.map_err(DaemonError::Start)
    }
}

/// Each VM and each client is some open files: as many as this process may have.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it cannot be raised, starting VMs fails sooner and says so.
    let _ = setrlimit(Resource::Nofile, most);
}

async fn listen(
    place: &Place,
    sessions: SessionManager,
    idle_exit: Option<Duration>,
) -> io::Result<()> {
    let path = place.socket();
    // We hold the lock: a socket that is there is a dead daemon's.
    let _ = std::fs::remove_file(&path);
    // Nobody else can reach it meanwhile: the folder is ours alone.
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    eprintln!("ukernel: serving on {}", path.display());
    for lost in sessions.lost(rustix::process::getuid().as_raw()) {
        let name = lost.name.map_or(lost.id, |name| name.to_string());
        eprintln!("ukernel: session {name} is lost: {}", lost.reason);
    }
    let stop = CancellationToken::new();
    let places = Arc::new(Semaphore::new(MAX_REQUESTS));
    let mut waiting = VecDeque::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut sweep = tokio::time::interval(SWEEP);
    let mut used = Instant::now();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                used = Instant::now();
                match accepted {
                    Ok((stream, _)) => welcome(stream, &sessions, &stop, &places, &mut waiting),
                    Err(error) => {
                        // Out of handles, most likely: some clients will go.
                        eprintln!("ukernel: accept: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
            _ = sweep.tick() => {
                let sweeping = sessions.clone();
                tokio::spawn(async move { sweeping.sweep().await });
                let owner = rustix::process::getuid().as_raw();
                let is_used = places.available_permits() < MAX_REQUESTS
                    || !sessions.list(owner).is_empty();
                if is_used {
                    used = Instant::now();
                } else if idle_exit.is_some_and(|limit| used.elapsed() >= limit) {
                    break;
                }
            }
            () = stop.cancelled() => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
        }
    }
    // New clients start a new daemon, which waits for our lock.
    let _ = std::fs::remove_file(&path);
    eprintln!("ukernel: stopping");
    sessions.stop().await;
    // Those who asked for the end hear that it is there when the connection closes.
    Ok(())
}

/// Greets a client, reads what it wants and has it answered. `waiting` are the clients that are still read.
fn welcome(
    stream: UnixStream,
    sessions: &SessionManager,
    stop: &CancellationToken,
    places: &Arc<Semaphore>,
    waiting: &mut VecDeque<AbortHandle>,
) {
    let Ok(peer) = stream.peer_cred() else {
        return;
    };
    let own = rustix::process::getuid().as_raw();
    if peer.uid() != own && peer.uid() != 0 {
        eprintln!("ukernel: refused user {}", peer.uid());
        return;
    }
    waiting.retain(|client| !client.is_finished());
    if waiting.len() >= MAX_WAITING
        && let Some(oldest) = waiting.pop_front()
    {
        oldest.abort();
    }
    let (mut ears, mut mouth) = split(stream);
    let head = tokio::spawn(async move {
        let head = match mouth.greet(&Greeting::own()).await {
            Ok(()) => ears.head().await,
            Err(error) => Err(error),
        };
        (head, ears, mouth)
    });
    waiting.push_back(head.abort_handle());
    let (owner, sessions, stop, places) = (
        peer.uid(),
        sessions.clone(),
        stop.clone(),
        Arc::clone(places),
    );
    tokio::spawn(async move {
        // The connection of a client that was dropped is closed.
        let Ok((head, ears, mouth)) = head.await else {
            return;
        };
        let client = Client {
            owner,
            sessions,
            stop,
            places,
            mouth,
        };
        // A client that breaks the protocol or goes away has nobody to be told.
        let _ = client.attend(head, ears).await;
    });
}

/// A client that is answered.
struct Client {
    owner: u32,
    sessions: SessionManager,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    mouth: Mouth,
}

impl Client {
    async fn attend(mut self, head: io::Result<Asked>, mut ears: Ears) -> io::Result<()> {
        let asked = match head {
            Ok(asked) => asked,
            Err(error) => return self.refuse_unreadable(&error).await,
        };
        match asked.request {
            Request::Stop => {
                let value = json!({ "process": std::process::id() });
                self.mouth.say(Reply::Done { value }, &[]).await?;
                self.stop.cancel();
                // Open until the process ends: that is how the client knows.
                std::future::pending().await
            }
            Request::Status => {
                let value = requests::status(&self.sessions, self.owner);
                self.mouth.say(Reply::Done { value }, &[]).await
            }
            request => {
                let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
                    let message = format!("{MAX_REQUESTS} requests are being answered");
                    return self.refuse(FailureKind::Busy, message).await;
                };
                let body = match ears.body(asked.body, MAX_FILE_BYTES).await {
                    Ok(body) => body,
                    Err(error) => return self.refuse_unreadable(&error).await,
                };
                let (sessions, mouth) = (&self.sessions, &mut self.mouth);
                requests::answer(sessions, self.owner, request, body, &mut ears, mouth).await
            }
        }
    }

    async fn refuse_unreadable(&mut self, error: &io::Error) -> io::Result<()> {
        let message = format!("the request cannot be read: {error}");
        self.refuse(FailureKind::BadRequest, message).await
    }

    async fn refuse(&mut self, kind: FailureKind, message: String) -> io::Result<()> {
        self.mouth.say(Reply::Failed { kind, message }, &[]).await
    }
}
