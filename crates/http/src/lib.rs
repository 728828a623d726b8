//! HTTP/1.1 for clients that are not trusted: so many connections at once, so much time for a head, and
//! an end. Who is answered, and what, is the caller's.
//!
//! ```text
//!   serve: accept ──> a place (bounded) ──> hyper ──> answer         stopping ──> graceful, then cut
//! ```
#![forbid(unsafe_code)]

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// When the host has no file descriptor left, the next look is this much later.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// After how much silence, how often and how many times a client is asked whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMES: u32 = 3;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections. Others wait until one of them ends.
    pub connections: usize,
    /// What is kept of a connection's bytes until they are made sense of: also the most that a
    /// request's head may have.
    pub buffer_bytes: usize,
    /// How long a client may take for a request's head.
    pub head_patience: Duration,
    /// How long connections may take to hear that the server stops.
    pub stop_grace: Duration,
}

/// Serves clients until `stopping` is cancelled, and then until the last of them is gone. `wrap` sees
/// each connection's bytes; `answer` answers a request.
pub async fn serve<I, A, F, B>(
    listener: TcpListener,
    limits: Limits,
    stopping: CancellationToken,
    wrap: impl Fn(TcpStream) -> I,
    answer: A,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut clients = JoinSet::new();
    while let Some((stream, place)) = stopping.run_until_cancelled(next(&listener, &places)).await {
        while clients.try_join_next().is_some() {}
        // Without these it goes slower, or a client that vanished is noticed later.
        let _ = stream.set_nodelay(true);
        let _ = keep_alive(&stream);
        let connection = connection(wrap(stream), limits, stopping.clone(), answer.clone());
        clients.spawn(async move {
            connection.await;
            drop(place);
        });
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

async fn connection<I, A, F, B>(stream: I, limits: Limits, stopping: CancellationToken, answer: A)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_patience)
        .max_buf_size(limits.buffer_bytes)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::pin!(connection);
    // What goes wrong is the client's: it hung up, was too slow, or speaks something else.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(limits.stop_grace, connection).await;
}

/// Has the kernel find out when a client is gone without a word, as one on another machine may be.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_AGAIN)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TIMES)
}
