//! A small HTTP client that also sends what a good one would not.

use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use terraphim_rlm::BridgeServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server said.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub kind: String,
    pub body: Vec<u8>,
    /// Whether the server took all that was sent: many clients do not read the answer otherwise.
    pub took_all: bool,
}

impl Answered {
    pub fn json(&self) -> Value {
        assert_eq!(self.kind, "application/json", "{self:?}");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Why it was refused.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().expect("a reason").to_owned()
    }

    fn of((bytes, took_all): (Vec<u8>, bool)) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let body = bytes[end + 4..].to_vec();
        let field = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let length = field("content-length:").and_then(|length| length.parse().ok());
        assert_eq!(length.unwrap_or(0), body.len(), "{head}");
        Some(Self {
            status: head.get(9..12)?.parse().ok()?,
            kind: field("content-type:").unwrap_or_default(),
            body,
            took_all,
        })
    }
}

/// A call as it is sent.
pub fn request(name: &str, token: &str, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let head = format!(
        "POST /v1/call/{name} HTTP/1.1\r\nhost: x\r\nx-session-token: {token}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), payload].concat()
}

pub async fn post(server: &BridgeServer, name: &str, token: &str, payload: &[u8]) -> Answered {
    let answered = send(server.local_addr(), &request(name, token, payload)).await;
    answered.expect("an answer")
}

/// Asks a model one thing.
pub async fn query(server: &BridgeServer, token: &str, prompt: &str) -> Answered {
    let payload = serde_json::json!({"prompts": [prompt], "schema": null}).to_string();
    post(server, "query_llm", token, payload.as_bytes()).await
}

/// Sends bytes, and reads until the server hangs up; `None` if it does without an answer.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> Option<Answered> {
    Answered::of(send_raw(address, bytes).await)
}

/// The same: all that comes back, and whether all was taken.
pub async fn send_raw(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let mut answer = Vec::new();
    let talking = async {
        let sent = stream.write_all(bytes).await;
        // It need not say goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        sent.is_ok()
    };
    let talked = tokio::time::timeout(Duration::from_secs(60), talking).await;
    let took_all = talked.expect("the server answers or hangs up");
    (answer, took_all)
}
