//! Streamable HTTP: who is let in. What is said then is rmcp's.
//!
//! ```text
//!   accept ──> a place (bounded) ──> bearer token ──> Host, Origin, length (rmcp) ──> McpServer
//! ```

use crate::caller::Caller;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, combinators::BoxBody};
use hyper::body::Incoming;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use ukernel_http::Limits;

/// Most connections. Others wait until one of them ends.
const MAX_CONNECTIONS: usize = 512;

/// Most sessions of the protocol's older revisions. They end after five minutes of silence.
const MAX_TRANSPORT_SESSIONS: usize = 1024;

/// Longest request, in bytes: code of 16 MiB, escaped.
const MAX_REQUEST_BYTES: usize = 24 << 20;

/// How long a client may take for the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take for a whole request.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// What is kept of a connection's bytes until they are made sense of.
const MAX_BUFFER_BYTES: usize = 256 << 10;

/// How long connections may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Shortest token, in bytes: 128 bits in hexadecimal.
const MIN_TOKEN_BYTES: usize = 32;

/// The bearer tokens that are let in. Each is a caller of its own.
///
/// They are found by their hash: how long it takes to find one tells nothing about those there are.
#[derive(Clone, Debug, Default)]
pub struct Tokens(HashMap<blake3::Hash, Caller>);

impl Tokens {
    /// One token a line; empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// If a token is shorter than 32 bytes or has other characters than a header may, or there is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.len() < MIN_TOKEN_BYTES || !token.bytes().all(|c| c.is_ascii_graphic()) {
                return Err(format!(
                    "line {} is no token: one has at least {MIN_TOKEN_BYTES} printable characters \
                     without spaces",
                    number + 1
                ));
            }
            tokens.insert(blake3::hash(token.as_bytes()), Caller::of_token(token));
        }
        if tokens.is_empty() {
            return Err("there is no token".to_owned());
        }
        Ok(Self(tokens))
    }

    /// A token that nobody can guess.
    #[must_use]
    pub fn mint() -> String {
        let (one, two) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        format!("{}{}", one.simple(), two.simple())
    }

    fn caller(&self, headers: &HeaderMap) -> Option<&Caller> {
        let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        self.0.get(&blake3::hash(token.trim().as_bytes()))
    }
}

/// Who is let in.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Where to listen. Port 0 picks one that is free.
    pub address: SocketAddr,
    /// Tokens; whoever reaches the address is let in if absent, which only a loopback address allows.
    pub tokens: Option<Tokens>,
    /// Names under which clients reach the server, beside those of this host: what `Host` may say.
    pub hosts: Vec<String>,
    /// Web pages that may call, as `scheme://host:port`, beside those of this host itself where the address
    /// is a loopback one.
    pub origins: Vec<String>,
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

struct Door<H> {
    service: StreamableHttpService<H, LocalSessionManager>,
    sessions: Arc<LocalSessionManager>,
    tokens: Option<Tokens>,
}

/// A server that listens, until [`Self::stop`].
pub struct HttpServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    stopping: CancellationToken,
}

impl HttpServer {
    /// Listens, on the runtime this is called in. `connected` makes what answers a connection; it finds
    /// the [`Caller`] among the extensions of a request's [`http::request::Parts`].
    ///
    /// # Errors
    /// If nothing can listen there, or other machines could reach it and there are no tokens.
    pub async fn start<H: ServerHandler>(
        connected: impl Fn() -> H + Send + Sync + 'static,
        options: HttpOptions,
    ) -> io::Result<Self> {
        let is_loopback = options.address.ip().to_canonical().is_loopback();
        if !is_loopback && options.tokens.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "other machines may reach this address, so it takes tokens",
            ));
        }
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let stopping = CancellationToken::new();
        let mut hosts = ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec();
        if !address.ip().is_unspecified() {
            hosts.push(address.ip().to_string());
        }
        hosts.extend(options.hosts);
        let mut origins = options.origins;
        if is_loopback {
            // Pages of this host itself; what else a browser shows may not call.
            origins.extend(hosts.iter().map(|host| match host.contains(':') {
                true => format!("http://[{host}]:*"),
                false => format!("http://{host}:*"),
            }));
        }
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(hosts)
            .with_allowed_origins(origins)
            .enforce_origin_validation()
            .with_max_request_body_bytes(MAX_REQUEST_BYTES)
            .with_cancellation_token(stopping.child_token());
        let sessions = Arc::new(LocalSessionManager::default());
        let service =
            StreamableHttpService::new(move || Ok(connected()), Arc::clone(&sessions), config);
        let door = Arc::new(Door {
            service,
            sessions,
            tokens: options.tokens,
        });
        let limits = Limits {
            connections: MAX_CONNECTIONS,
            buffer_bytes: MAX_BUFFER_BYTES,
            head_patience: HEAD_PATIENCE,
            stop_grace: STOP_GRACE,
        };
        let serving = ukernel_http::serve(
            listener,
            limits,
            stopping.clone(),
            |stream| stream,
            move |request| {
                let door = Arc::clone(&door);
                async move { door.answer(request).await }
            },
        );
        Ok(Self {
            address,
            accepting: tokio::spawn(serving),
            stopping,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and waits until those that it took are answered or three seconds are over.
    pub async fn stop(self) {
        self.stopping.cancel();
        // A panic there has been reported.
        let _ = self.accepting.await;
    }
}

impl<H: ServerHandler> Door<H> {
    async fn answer(&self, mut request: Request<Incoming>) -> Result<Reply, Infallible> {
        let caller = match &self.tokens {
            Some(tokens) => tokens.caller(request.headers()).cloned(),
            None => Some(Caller::anybody()),
        };
        let Some(caller) = caller else {
            let mut refused = refuse(StatusCode::UNAUTHORIZED, "a bearer token is needed");
            let challenge = http::HeaderValue::from_static("Bearer realm=\"ukernel\"");
            refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Ok(refused);
        };
        let is_path = matches!(request.uri().path(), "/" | "/mcp");
        if !is_path {
            return Ok(refuse(StatusCode::NOT_FOUND, "MCP is served at /mcp"));
        }
        // What shows no session may begin one.
        let begins = !request.headers().contains_key("mcp-session-id");
        if begins && self.sessions.sessions.read().await.len() >= MAX_TRANSPORT_SESSIONS {
            return Ok(refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "there are too many sessions; try again later",
            ));
        }
        request.extensions_mut().insert(caller);
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_REQUEST_BYTES).collect();
        let body = match timeout(BODY_PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return Ok(refuse(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the request is too long",
                ));
            }
            Ok(Err(_)) => {
                return Ok(refuse(
                    StatusCode::BAD_REQUEST,
                    "the request was cut in the middle",
                ));
            }
            Err(_) => {
                return Ok(refuse(
                    StatusCode::REQUEST_TIMEOUT,
                    "the request does not come",
                ));
            }
        };
        let request = Request::from_parts(parts, Full::new(body));
        Ok(self.service.handle(request).await)
    }
}

fn refuse(status: StatusCode, message: &str) -> Reply {
    let body = serde_json::json!({"error": message}).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        let value = value.parse().expect("a header");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    #[test]
    fn a_token_is_a_caller() {
        let (one, two) = (Tokens::mint(), Tokens::mint());
        let tokens = Tokens::parse(&format!("# first\n{one}\n\n  {two}\n")).expect("tokens");
        let caller = |value: &str| tokens.caller(&headers(value)).cloned();
        assert_eq!(
            caller(&format!("Bearer {one}")),
            Some(Caller::of_token(&one))
        );
        assert_eq!(
            caller(&format!("bearer  {two}")),
            Some(Caller::of_token(&two))
        );
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            &one,
            &format!("Basic {one}"),
            "Bearer x",
        ] {
            assert_eq!(caller(wrong), None, "{wrong}");
        }
        assert!(tokens.caller(&HeaderMap::new()).is_none());
        for bad in [
            "",
            "# none",
            "short",
            &format!("{one} {two}"),
            &"é".repeat(40),
        ] {
            assert!(Tokens::parse(bad).is_err(), "{bad}");
        }
    }
}
