//! `ukernel serve`: the daemon.

use super::connection::split;
use super::place::Place;
use super::protocol::{Reply, Request};
use super::requests;
use crate::args::Serve;
use crate::engine::Engine;
use crate::failure::Failure;
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::session::{MAX_FILE_BYTES, SessionManager};
use ukernel_sandbox::vm::VmManager;

/// Clients at once.
const MAX_CLIENTS: usize = 1024;

/// How long a daemon nobody asked for by name stays without sessions.
const IDLE_EXIT: Duration = Duration::from_secs(600);

/// How often sessions that ran out of time are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// `ukernel serve`
pub fn serve(args: &Serve) -> Result<u8, Failure> {
    let place = Place::of_this_user()?;
    if args.stop {
        return super::client::stop(&place);
    }
    if args.status {
        return super::client::status(&place, args.json);
    }
    let host = |error: std::io::Error| {
        Failure::host(
            format!("the daemon cannot start: {error}"),
            "free some space",
        )
    };
    place.make().map_err(host)?;
    let Some(lock) = place.lock().map_err(host)? else {
        if args.on_demand {
            return Ok(0);
        }
        return Err(Failure::usage(
            "another daemon serves this user",
            "`ukernel serve --stop` ends it",
        ));
    };
    let config = crate::settings::sandbox(args.config.as_deref(), args.backend.as_deref())?;
    let engine = Engine::prefer(config.backend_preference.clone())?;
    let template = engine.template(config.machine_mib())?;
    let vms = VmManager::start(template, &config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(host)?;
    let sessions = SessionManager::open(place.sessions(), vms, config)?;
    let idle = args.on_demand.then_some(IDLE_EXIT);
    let served = runtime.block_on(listen(&place, sessions, idle));
    // Only now may another daemon take the sessions.
    drop(lock);
    served.map_err(host)?;
    Ok(0)
}

async fn listen(
    place: &Place,
    sessions: SessionManager,
    idle_exit: Option<Duration>,
) -> std::io::Result<()> {
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
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
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
                    Ok((stream, _)) => welcome(stream, &sessions, &stop, &places),
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
                let is_used = places.available_permits() < MAX_CLIENTS
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

fn welcome(
    stream: UnixStream,
    sessions: &SessionManager,
    stop: &CancellationToken,
    places: &Arc<Semaphore>,
) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        // Closing it says enough.
        return;
    };
    let Ok(peer) = stream.peer_cred() else {
        return;
    };
    let own = rustix::process::getuid().as_raw();
    if peer.uid() != own && peer.uid() != 0 {
        eprintln!("ukernel: refused user {}", peer.uid());
        return;
    }
    let (sessions, stop) = (sessions.clone(), stop.clone());
    tokio::spawn(async move {
        let _place = place;
        // A client that breaks the protocol or goes away has nobody to be told.
        let _ = attend(stream, peer.uid(), &sessions, &stop).await;
    });
}

async fn attend(
    stream: UnixStream,
    owner: u32,
    sessions: &SessionManager,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let (mut ears, mut mouth) = split(stream);
    let (asked, body) = match ears.request(MAX_FILE_BYTES).await {
        Ok(request) => request,
        Err(error) => {
            let reply = Reply::Failed {
                kind: "bad_request".to_owned(),
                message: format!("the request cannot be read: {error}"),
                hint: None,
                exit_code: crate::failure::USAGE,
            };
            return mouth.say(reply, &[]).await;
        }
    };
    if asked.request == Request::Stop {
        let value = json!({ "process": std::process::id() });
        mouth.say(Reply::Done { value }, &[]).await?;
        stop.cancel();
        // Open until the process ends: that is how the client knows.
        std::future::pending::<()>().await;
    }
    requests::answer(sessions, owner, asked.request, body, &mut ears, &mut mouth).await
}
