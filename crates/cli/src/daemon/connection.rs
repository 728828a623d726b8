//! One client of the daemon.

use super::protocol::{Answered, Asked, MAX_HEAD_BYTES, Reply};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// How long a client may take for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

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
    /// The request and its body of at most `max_body` bytes.
    pub async fn request(&mut self, max_body: usize) -> io::Result<(Asked, Vec<u8>)> {
        tokio::time::timeout(REQUEST_TIMEOUT, self.read(max_body))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn read(&mut self, max_body: usize) -> io::Result<(Asked, Vec<u8>)> {
        let mut head = Vec::new();
        let mut limited = (&mut self.reader).take(MAX_HEAD_BYTES as u64);
        limited.read_until(b'\n', &mut head).await?;
        if head.pop() != Some(b'\n') {
            return Err(invalid("the head of the request has no end"));
        }
        let asked: Asked =
            serde_json::from_slice(&head).map_err(|error| invalid(&error.to_string()))?;
        if asked.body > max_body as u64 {
            return Err(invalid(&format!(
                "the body is larger than {max_body} bytes"
            )));
        }
        let mut body = Vec::new();
        (&mut self.reader)
            .take(asked.body)
            .read_to_end(&mut body)
            .await?;
        if (body.len() as u64) < asked.body {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((asked, body))
    }

    /// Returns when the client is gone or says more, which it should not.
    pub async fn gone(&mut self) {
        // Whatever it is, the request is over for this client.
        let _ = self.reader.fill_buf().await;
    }
}

impl Mouth {
    /// Says something, with a body.
    pub async fn say(&mut self, reply: Reply, body: &[u8]) -> io::Result<()> {
        let answered = Answered {
            reply,
            body: body.len() as u64,
        };
        let mut bytes = serde_json::to_vec(&answered)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(body);
        tokio::time::timeout(REPLY_TIMEOUT, self.writer.write_all(&bytes))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
