//! Figures of the MCP server: many clients over HTTP, each with a session of its own, beside the same
//! calls without HTTP (`sandbox: print(1) ...`).

use super::figure::Figure;
use super::{Setting, ms_since};
use crate::failure::Failure;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Clients at once, and how often each calls.
const CLIENTS: usize = 100;
const CALLS_PER_SECOND: u32 = 2;
const LOAD: Duration = Duration::from_secs(60);

/// How long clients call as fast as they are answered.
const RUSH: Duration = Duration::from_secs(10);

/// Every so many calls a client makes sure that its session is its own.
const CHECK_EVERY: u64 = 8;

const REVISION: &str = "2026-07-28";

/// A server in a process of its own, with a token for each client.
struct Server {
    child: Child,
    address: String,
    tokens: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(setting: &Setting<'_>, clients: usize) -> Result<Self, Failure> {
        let host = |error: std::io::Error| Failure::host(error, "free some space");
        let folder = setting.engine.scratch_folder().map_err(host)?;
        let tokens: Vec<String> = (0..clients)
            .map(|_| terraphim_mcp_server::Tokens::mint())
            .collect();
        let file = folder.path().join("tokens");
        std::fs::write(&file, tokens.join("\n")).map_err(host)?;
        let this = std::env::current_exe().map_err(host)?;
        let mut child = Command::new(this)
            .args(["mcp", "--http", "127.0.0.1:0", "--token-file"])
            .arg(&file)
            .env("UKERNEL_ALLOCATION_TIMEOUT_MS", "60000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(host)?;
        let said = child.stderr.take().map(BufReader::new);
        let address = said.and_then(|mut said| {
            let mut line = String::new();
            while said.read_line(&mut line).ok()? > 0 {
                let found = line
                    .split_once("http://")
                    .and_then(|(_, rest)| rest.split_once('/'));
                if let Some((address, _)) = found {
                    let address = address.to_owned();
                    std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
                    return Some(address);
                }
                line.clear();
            }
            None
        });
        let Some(address) = address else {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("the server did not begin"));
        };
        Ok(Self {
            child,
            address,
            tokens,
            _folder: folder,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended is not there to be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::io::stderr().flush();
    }
}

fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::workload(format!("the MCP server: {what}"), None)
}

/// One client, with a connection and a session.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    head: Vec<(&'static str, String)>,
    session: Value,
    name: String,
    calls: u64,
}

impl Client {
    async fn connect(address: &str, token: &str, number: usize) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends with the sender.
        tokio::spawn(connection);
        let head = vec![
            ("authorization", format!("Bearer {token}")),
            ("host", address.to_owned()),
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version", REVISION.to_owned()),
            ("mcp-method", "tools/call".to_owned()),
            ("mcp-name", "rlm_code".to_owned()),
        ];
        let mut client = Self {
            sender,
            head,
            session: Value::Null,
            name: format!("client-{number}"),
            calls: 0,
        };
        let made = client.code(&format!("me = '{}'", client.name)).await?;
        client.session = made["session"].clone();
        Ok(client)
    }

    /// `rlm_code`, and its structured content.
    async fn code(&mut self, code: &str) -> Result<Value, Failure> {
        let mut arguments = json!({"code": code});
        if !self.session.is_null() {
            arguments["session"] = self.session.clone();
        }
        self.calls += 1;
        let body = json!({
            "jsonrpc": "2.0",
            "id": self.calls,
            "method": "tools/call",
            "params": {
                "name": "rlm_code",
                "arguments": arguments,
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": REVISION,
                    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
                    "io.modelcontextprotocol/clientCapabilities": {},
                },
            },
        });
        let mut request = Request::post("/mcp");
        for (name, value) in &self.head {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(failed)?;
        self.sender.ready().await.map_err(failed)?;
        let response = self.sender.send_request(request).await.map_err(failed)?;
        let body = response.into_body().collect().await.map_err(failed)?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        let message = text
            .lines()
            .map(|line| line.strip_prefix("data:").unwrap_or(line).trim())
            .find(|line| line.starts_with("{\"jsonrpc\""))
            .ok_or_else(|| failed(format!("no answer in {text}")))?;
        let message: Value = serde_json::from_str(message).map_err(failed)?;
        Ok(message["result"]["structuredContent"].clone())
    }

    /// One call; whether its answer was this client's.
    async fn call(&mut self) -> bool {
        let (code, output) = if self.calls.is_multiple_of(CHECK_EVERY) {
            ("print(me)", format!("{}\n", self.name))
        } else {
            ("print(1)", "1\n".to_owned())
        };
        match self.code(code).await {
            Ok(reply) => reply["stdout"] == output.as_str(),
            Err(_) => false,
        }
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    samples: Vec<f64>,
    errors: f64,
}

/// All of them.
pub fn mcp(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let count = setting.runs(CLIENTS);
    let server = Server::start(setting, count)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::host(error, "the host is out of threads"))?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for (number, token) in server.tokens.iter().enumerate() {
            clients.push(Client::connect(&server.address, token, number).await?);
        }
        let thrift = u32::try_from(setting.thrift).unwrap_or(1);
        let pace = Duration::from_secs(1) / CALLS_PER_SECOND;
        let (clients, paced) = load(clients, Some(pace), LOAD / thrift).await?;
        let (_, rush) = load(clients, None, RUSH / thrift).await?;
        let per_second = rush.samples.len() as f64 / (RUSH / thrift).as_secs_f64();
        Ok(vec![
            Figure::new(
                format!("mcp: rlm_code print(1), {count} clients at {CALLS_PER_SECOND}/s each"),
                "ms",
                &paced.samples,
            )
            .goals(None, 50.0),
            Figure::new(
                format!("mcp: the same, {count} clients as fast as they are answered"),
                "ms",
                &rush.samples,
            ),
            Figure::new("mcp: calls a second then", "count", &[per_second]),
            Figure::new(
                "mcp: errors, and answers of somebody else's session",
                "count",
                &[paced.errors + rush.errors],
            )
            .goals(0.0, None),
        ])
    })
}

async fn load(
    clients: Vec<Client>,
    pace: Option<Duration>,
    time: Duration,
) -> Result<(Vec<Client>, Seen), Failure> {
    let began = Instant::now();
    let count = u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX);
    let mut using = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        using.spawn(async move {
            let mut seen = Seen::default();
            let mut beat = pace.map(|pace| {
                let offset = pace * u32::try_from(number).unwrap_or(0) / count;
                tokio::time::interval_at((began + offset).into(), pace)
            });
            while began.elapsed() < time {
                if let Some(beat) = &mut beat {
                    beat.tick().await;
                }
                let asked = Instant::now();
                if client.call().await {
                    seen.samples.push(ms_since(asked));
                } else {
                    seen.errors += 1.0;
                }
            }
            (client, seen)
        });
    }
    let (mut clients, mut all) = (Vec::new(), Seen::default());
    while let Some(used) = using.join_next().await {
        let (client, seen) = used.map_err(failed)?;
        clients.push(client);
        all.samples.extend(seen.samples);
        all.errors += seen.errors;
    }
    Ok((clients, all))
}
