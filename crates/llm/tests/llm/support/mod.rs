//! A server on loopback that does what it is told, and remembers what it heard.

pub mod wire;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use ukernel_llm::{
    LlmConfig, Message, ModelName, ProviderClient, ProviderConfig, ReplyLimits, Request,
    RetryPolicy,
};

/// Longer than anything here takes; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(60);

/// One thing the server does.
#[derive(Clone)]
pub enum Act {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits until it is told to go on.
    Gate(Arc<Notify>),
    /// Waits until the client closes the connection.
    Hang,
    /// Hears another request on the same connection.
    Hear,
}

/// A request the server heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Request line and headers, in lower case.
    pub head: String,
    /// Its JSON.
    pub body: serde_json::Value,
}

/// The server. Dropped, it stops.
pub struct Server {
    pub url: String,
    pub heard: Arc<Mutex<Vec<Heard>>>,
    /// Told when a client closed a connection on which the server hung.
    pub closed: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// One that answers the first request by the first list of acts, and so on; the last list
    /// answers all further ones. After its acts it closes the connection.
    pub async fn start(answers: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let closed = Arc::new(Notify::new());
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let task = tokio::spawn({
            let (heard, closed) = (heard.clone(), closed.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (heard, closed) = (heard.clone(), closed.clone());
                    let answers = answers.clone();
                    tokio::spawn(async move {
                        let _ = serve(stream, &answers, &heard, &closed).await;
                    });
                }
            }
        });
        Self {
            url,
            heard,
            closed,
            task,
        }
    }

    /// One that sends these bytes to everybody.
    pub async fn sending(bytes: impl Into<Vec<u8>>) -> Self {
        Self::start(vec![vec![Act::Send(bytes.into())]]).await
    }

    /// What was heard until now.
    pub fn requests(&self) -> Vec<Heard> {
        self.heard.lock().expect("not poisoned").clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    answers: &Mutex<VecDeque<Vec<Act>>>,
    heard: &Mutex<Vec<Heard>>,
    closed: &Notify,
) -> std::io::Result<()> {
    let request = read_request(&mut stream).await?;
    heard.lock().expect("not poisoned").push(request);
    let acts = {
        let mut answers = answers.lock().expect("not poisoned");
        match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().expect("an answer"),
        }
    };
    for act in acts {
        match act {
            Act::Send(bytes) => stream.write_all(&bytes).await?,
            Act::Gate(gate) => gate.notified().await,
            Act::Hear => {
                let request = read_request(&mut stream).await?;
                heard.lock().expect("not poisoned").push(request);
            }
            Act::Hang => {
                let mut rest = [0; 64];
                while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {}
                closed.notify_one();
            }
        }
    }
    stream.shutdown().await
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Heard> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().expect("a number"));
    while bytes.len() < head_end + length {
        stream.read_buf(&mut bytes).await?;
    }
    let body = serde_json::from_slice(&bytes[head_end..]).expect("JSON");
    Ok(Heard { head, body })
}

/// An HTTP answer with a status, headers (each with its line end) and a body.
pub fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Status\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// Limits under which tests end soon, and waits that are short.
pub fn quick_config() -> LlmConfig {
    LlmConfig {
        limits: ReplyLimits {
            connect_timeout_ms: 20_000,
            stall_timeout_ms: 20_000,
            request_timeout_ms: 40_000,
            ..ReplyLimits::default()
        },
        retry: RetryPolicy {
            max_attempts: 3,
            base_wait_ms: 10,
            max_wait_ms: 2_000,
            max_total_wait_ms: 5_000,
        },
        ..LlmConfig::default()
    }
}

/// A configuration in which a provider is at this URL.
pub fn config_at(provider: &str, url: &str, key: Option<&str>) -> LlmConfig {
    let mut config = quick_config();
    let set = ProviderConfig {
        base_url: Some(url.to_owned()),
        key: key.map(|key| key.parse().expect("a key")),
    };
    config.providers.insert(provider.to_owned(), set);
    config
}

/// A client of that configuration.
pub fn client_of(config: LlmConfig) -> ProviderClient {
    ProviderClient::new(config).expect("a client")
}

/// A request that says hello.
pub fn hello(model: &str) -> Request {
    let model: ModelName = model.parse().expect("a name");
    Request::new(
        model,
        vec![Message::system("Be brief."), Message::user("Hello?")],
    )
}
