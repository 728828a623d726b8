//! Ctrl-C: a file that becomes readable.

use crate::failure::Failure;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Becomes readable on SIGINT, SIGTERM or SIGHUP.
#[derive(Debug)]
pub struct Cancel {
    readable: UnixStream,
}

impl Cancel {
    /// Takes over the signals. Once per process.
    pub fn install() -> Result<Self, Failure> {
        let pair = UnixStream::pair();
        let (readable, mut written) =
            pair.map_err(|error| Failure::host(error, "the host is out of file handles"))?;
        ctrlc::set_handler(move || {
            // The first signal is enough; a full socket has been told.
            let _ = written.write(b"!");
        })
        .map_err(|error| Failure::host(error, "signal handlers cannot be installed"))?;
        Ok(Self { readable })
    }

    /// The file to wait for.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}
