//! The server: where it listens, its connections, its end.

use super::call::Desk;
use super::patient::Patient;
use crate::error::Problem;
use crate::query::OpenBridges;
use crate::{Result, RlmError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use ukernel_http::Limits;

/// Most connections. Others wait until one of them ends.
const MAX_CONNECTIONS: usize = 64;

/// What is kept of a connection's bytes until they are made sense of: also the most that a
/// request's head may have.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// How long connections may take to hear that the server stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

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
        let problem = format!("calls would be served at {address}, which other machines may reach");
        return Err(RlmError::config(
            Problem::from(problem).hinting("serve at 127.0.0.1, or set allow_any_address"),
        ));
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
    let limits = Limits {
        connections: MAX_CONNECTIONS,
        buffer_bytes: MAX_BUFFER_BYTES,
        head_patience: options.patience,
        stop_grace: STOP_GRACE,
    };
    let serving = ukernel_http::serve(
        listener,
        limits,
        stopping.clone(),
        move |stream| Patient::new(stream, options.patience),
        move |request| {
            let desk = Arc::clone(&desk);
            async move { desk.answer(request).await }
        },
    );
    Ok(BridgeServer {
        address,
        accepting: tokio::spawn(serving),
        stopping: stopping.drop_guard(),
    })
}
