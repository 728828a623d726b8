//! One client of the daemon.

use crate::protocol::{Answered, Asked, Greeting, MAX_HEAD_BYTES, MAX_INPUT_BYTES, Reply};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// How long a client may take to say what it wants: clients say it when they connect.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for the body of its request.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take to hear an answer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// What comes from a client.
pub struct Ears {
    reader: BufReader<OwnedReadHalf>,
}

/// What goes to a client.
pub struct Mouth {
    writer: OwnedWriteHalf,
}

pub fn split(stream: UnixStream) -> (Ears, Mouth) {
    let (reader, writer) = stream.into_split();
    let reader = BufReader::new(reader);
    (Ears { reader }, Mouth { writer })
}

impl Ears {
    /// What the client wants.
    pub async fn head(&mut self) -> io::Result<Asked> {
        let mut head = Vec::new();
        let mut limited = (&mut self.reader).take(MAX_HEAD_BYTES as u64);
        within(HEAD_TIMEOUT, limited.read_until(b'\n', &mut head)).await?;
        if head.pop() != Some(b'\n') {
            return Err(invalid("the head of the request has no end"));
        }
        serde_json::from_slice(&head).map_err(|error| invalid(&error.to_string()))
    }

    /// The body of a request: `bytes`, at most `max_bytes`.
    pub async fn body(&mut self, bytes: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
        if bytes > max_bytes as u64 {
            return Err(invalid(&format!(
                "the body is larger than {max_bytes} bytes"
            )));
        }
        let mut body = Vec::new();
        let mut limited = (&mut self.reader).take(bytes);
        within(BODY_TIMEOUT, limited.read_to_end(&mut body)).await?;
        if (body.len() as u64) < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }

    /// Hands on pieces of standard input as they come. Returns when the client is gone, or says
    /// what is no input: whatever it is, the request is over for this client.
    pub async fn listen(&mut self, input: &mpsc::Sender<Vec<u8>>) {
        loop {
            let Ok(length) = self.reader.read_u32_le().await else {
                return;
            };
            let length = length as usize;
            if length > MAX_INPUT_BYTES {
                return;
            }
            let mut piece = vec![0; length];
            if self.reader.read_exact(&mut piece).await.is_err() {
                return;
            }
            // Room for one: who sends more than it was asked for is not heard.
            if input.try_send(piece).is_err() {
                return;
            }
        }
    }
}

impl Mouth {
    /// Says who serves.
    pub async fn greet(&mut self, greeting: &Greeting) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(greeting)?;
        bytes.push(b'\n');
        within(REPLY_TIMEOUT, self.writer.write_all(&bytes)).await
    }

    /// Says something, with a body.
    pub async fn say(&mut self, reply: Reply, body: &[u8]) -> io::Result<()> {
        let answered = Answered {
            reply,
            body: body.len() as u64,
        };
        let mut bytes = serde_json::to_vec(&answered)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        within(REPLY_TIMEOUT, self.writer.write_all(&bytes)).await
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
