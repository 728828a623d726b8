//! Ctrl-C: a file that becomes readable, and a token that is cancelled.

use crate::failure::Failure;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// Becomes readable on SIGINT, SIGTERM or SIGHUP.
#[derive(Debug)]
pub struct Cancel {
    readable: UnixStream,
    token: CancellationToken,
}

impl Cancel {
    /// Takes over the signals. Once per process.
    pub fn install() -> Result<Self, Failure> {
        let pair = UnixStream::pair();
        let (readable, mut written) =
            pair.map_err(|error| Failure::host(error, "the host is out of file handles"))?;
        let token = CancellationToken::new();
        let cancelled = token.clone();
        ctrlc::set_handler(move || {
            cancelled.cancel();
            // The first signal is enough; a full socket has been told.
            let _ = written.write(b"!");
        })
        .map_err(|error| Failure::host(error, "signal handlers cannot be installed"))?;
        Ok(Self { readable, token })
    }

    /// Is cancelled at the same moment.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// The file to wait for.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}
