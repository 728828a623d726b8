//! Archives between a client and a session, piece by piece.
//!
//! Either side is read only as fast as the other takes it. A client that goes away ends what it
//! asked for: in the queue nothing happens, later what was written so far stays.

use crate::connection::{Ears, Mouth};
use crate::protocol::Reply;
use std::io::{self, Cursor, Read, Write};
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::SandboxError;
use ukernel_sandbox::session::{Moved, Session};

/// How long a client may take for one piece: meanwhile nothing else is done in the session.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

/// Pieces that may wait for a client; then the guest is not read on.
const PIECE_QUEUE: usize = 4;

/// Writes the archive a client sends to `path`.
pub async fn put(
    session: &Session,
    path: &str,
    ears: &mut Ears,
    mouth: &mut Mouth,
) -> io::Result<Result<Moved, SandboxError>> {
    let (pieces, received) = mpsc::channel(1);
    let (wanted, mut wants) = mpsc::channel(1);
    let archive = Incoming {
        wanted,
        received,
        piece: Cursor::default(),
        has_ended: false,
        session_end: session.token().clone(),
    };
    let mut put = pin!(session.put_tree(archive, path));
    let mut listening = pin!(ears.listen(&pieces));
    loop {
        tokio::select! {
            biased;
            moved = &mut put => return Ok(moved),
            Some(()) = wants.recv() => mouth.say(Reply::Input, &[]).await?,
            () = &mut listening => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Sends what is at `path` to a client as an archive.
pub async fn get(
    session: &Session,
    path: &str,
    ears: &mut Ears,
    mouth: &mut Mouth,
) -> io::Result<Result<Moved, SandboxError>> {
    let (sender, mut pieces) = mpsc::channel(PIECE_QUEUE);
    let mut get = pin!(session.get_tree(path, Outgoing(sender)));
    let (unheard, _) = mpsc::channel(1);
    let mut listening = pin!(ears.listen(&unheard));
    let mut moved = None;
    loop {
        tokio::select! {
            biased;
            piece = pieces.recv() => match (piece, moved.take()) {
                (Some(piece), kept) => {
                    moved = kept;
                    let stream = "archive".to_owned();
                    mouth.say(Reply::Output { stream }, &piece).await?;
                }
                // The sender went with the end of the work, and nothing of it is left.
                (None, Some(moved)) => return Ok(moved),
                (None, None) => return Ok(get.await),
            },
            ended = &mut get, if moved.is_none() => moved = Some(ended),
            () = &mut listening => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// The archive that comes from a client. Only on a thread that may block.
struct Incoming {
    wanted: mpsc::Sender<()>,
    received: mpsc::Receiver<Vec<u8>>,
    piece: Cursor<Vec<u8>>,
    has_ended: bool,
    session_end: CancellationToken,
}

impl Incoming {
    /// The next piece: an empty one is the end.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let piece = async {
            // Fails when the client is gone, as receiving then does.
            let _ = self.wanted.send(()).await;
            timeout(PIECE_TIMEOUT, self.received.recv()).await
        };
        match Handle::current().block_on(self.session_end.run_until_cancelled(piece)) {
            Some(Ok(Some(piece))) => Ok(piece),
            Some(Ok(None)) => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Err(_)) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing came for {PIECE_TIMEOUT:?}"),
            )),
            None => Err(io::Error::other("the session ended")),
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.has_ended {
                return Ok(count);
            }
            let piece = self.next()?;
            self.has_ended = piece.is_empty();
            self.piece = Cursor::new(piece);
        }
    }
}

/// The archive that goes to a client. Only on a thread that may block.
struct Outgoing(mpsc::Sender<Vec<u8>>);

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(bytes.to_vec())
            .map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
