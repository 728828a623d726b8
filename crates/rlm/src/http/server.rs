//! The server: where it listens, its connections, its end.

use super::call::Desk;
use super::patient::Patient;
use crate::error::Problem;
use crate::query::OpenBridges;
use crate::{Result, RlmError};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Most connections. Others wait until one of them ends.
const MAX_CONNECTIONS: usize = 64;

/// What is kept of a connection's bytes until they are made sense of: also the most that a
/// request's head may have.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// How long connections may take to hear that the server stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// When the host has no file descriptor left, the next look is this much later.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// After how much silence, how often and how many times a client is asked whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 3;

/// How calls are served.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Whether the address may be one that other machines can reach. Calls are not encrypted: who
    /// reads them on their way has the token.
    pub allow_any_address: bool,
    /// How long a client may take for a request's head, say nothing in the middle of its payload,
    /// not read its answer, or keep a connection without asking. A whole payload may take twelve
    /// times as long.
    pub patience: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            allow_any_address: false,
            patience: Duration::from_secs(10),
        }
    }
}

/// Answers host calls over HTTP until it is dropped.
///
/// A call is `POST /v1/call/{name}` with the header `X-Session-Token` and the payload that the
/// guest's channel would carry: JSON. Its answer comes back with status 200, as
/// `application/json`, for `context` as `application/octet-stream`. Other statuses come with
/// `{"error": "..."}`:
///
/// | status | when |
/// |---|---|
/// | 400 | there is no such call, or its payload or the header makes no sense |
/// | 401 | no token, an unknown one, or one of something that has ended |
/// | 404, 405 | another path, another method |
/// | 408 | the payload does not come |
/// | 413 | it has more than 16 MiB |
/// | 422 | the host says no: budget, depth, an answer that does not fit |
/// | 429 | 16 calls of the session are under way |
/// | 503 | the server stops |
///
/// As over the channel, the items of a batch fail one by one, inside of an answer with status 200.
/// What is no HTTP gets a bare 400. A client that hangs up, or closes its half of the connection,
/// gives up its call.
///
/// Whoever starts a Linux guest or a container tells it where to ask and what to show, by
/// convention in its environment: `UKERNEL_BRIDGE_URL`, which is `http://` and
/// [`Self::local_addr`] as the guest can reach it, and `UKERNEL_SESSION_TOKEN`, from
/// [`TerraphimRlm::session_token`](crate::TerraphimRlm::session_token). Calls are answered while the
/// host follows an execution of the session; for what it does not follow there is
/// [`TerraphimRlm::open_calls`](crate::TerraphimRlm::open_calls).
///
/// ```no_run
/// # async fn f(rlm: terraphim_rlm::TerraphimRlm) -> Result<(), Box<dyn std::error::Error>> {
/// let server = rlm.serve_calls("127.0.0.1:0".parse()?).await?;
/// let session = rlm.create_session().await?;
/// let calls = rlm.open_calls(session)?;
/// std::process::Command::new("some-guest")
///     .env("UKERNEL_BRIDGE_URL", format!("http://{}", server.local_addr()))
///     .env("UKERNEL_SESSION_TOKEN", calls.token().as_str())
///     .status()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BridgeServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    stopping: DropGuard,
}

impl BridgeServer {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and every call under way, and waits until they are gone. Dropping it does the same
    /// without waiting.
    pub async fn stop(self) {
        drop(self.stopping);
        // A panic there has been reported.
        let _ = self.accepting.await;
    }
}

pub(super) async fn start(
    bridges: OpenBridges,
    address: SocketAddr,
    options: ServeOptions,
) -> Result<BridgeServer> {
    if !options.allow_any_address && !address.ip().to_canonical().is_loopback() {
        return Err(RlmError::config(format!(
            "calls would be served at {address}, which other machines may reach. hint: serve at \
             127.0.0.1, or set allow_any_address"
        )));
    }
    let failed = |error: std::io::Error| {
        let what = format!("calls cannot be served at {address}");
        RlmError::internal(Problem::about(what, error))
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stopping = CancellationToken::new();
    let desk = Arc::new(Desk {
        bridges,
        patience: options.patience,
        stopping: stopping.clone(),
    });
    Ok(BridgeServer {
        address,
        accepting: tokio::spawn(accept(listener, desk)),
        stopping: stopping.drop_guard(),
    })
}

/// Serves clients until the server is stopped, and then until the last of them is gone.
async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut clients = JoinSet::new();
    let stopping = desk.stopping.clone();
    while let Some((stream, place)) = stopping.run_until_cancelled(next(&listener, &places)).await {
        while clients.try_join_next().is_some() {}
        clients.spawn(serve(stream, place, Arc::clone(&desk)));
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// The next client, when there is a place for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        // The semaphore is never closed.
        if let Ok(place) = Arc::clone(places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) => tracing::debug!("a client was not accepted: {error}"),
            }
        }
        sleep(ACCEPT_AGAIN).await;
    }
}

/// Serves one client.
async fn serve(stream: TcpStream, _place: OwnedSemaphorePermit, desk: Arc<Desk>) {
    // Without these it goes slower, or a client that vanished is noticed later.
    let _ = stream.set_nodelay(true);
    let _ = keep_alive(&stream);
    let answer = service_fn(|request| desk.answer(request));
    let stream = TokioIo::new(Patient::new(stream, desk.patience));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(desk.patience)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(stream, answer);
    tokio::pin!(connection);
    // What goes wrong is the client's: it hung up, was too slow, or speaks something else.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = desk.stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(STOP_GRACE, connection).await;
}

/// Has the kernel find out when a client is gone without a word, as one on another machine may be.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_AGAIN)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TIMES)
}
