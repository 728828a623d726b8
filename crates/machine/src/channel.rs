//! The host's end of a channel: frames over a Unix stream socket.

use crate::{MachineError, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use ukernel_abi::frame::{Decoder, encode};
use ukernel_abi::message::{GuestMessage, HostMessage};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 64 << 10;

/// How long a guest may take to make room for a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// Messages to and from one guest.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    decoder: Decoder<GuestMessage>,
    buffer: Box<[u8]>,
    /// The greeting was sent ahead, before the guest could read it.
    pub(crate) greeting_sent: bool,
}

impl Channel {
    /// A channel over a connected stream, with nothing said on it yet.
    ///
    /// # Errors
    /// The socket takes no time-out.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream
            .set_write_timeout(Some(SEND_TIMEOUT))
            .map_err(|error| MachineError::io("setting the channel's time-out", error))?;
        Ok(Self {
            stream,
            decoder: Decoder::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            greeting_sent: false,
        })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`MachineError::Closed`], [`MachineError::TimedOut`] if the guest does not read,
    /// [`MachineError::Frame`] if the message is too large.
    pub fn send(&mut self, message: &HostMessage) -> Result<()> {
        let mut frame = Vec::new();
        encode(message, &mut frame)?;
        self.stream
            .write_all(&frame)
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => MachineError::TimedOut(SEND_TIMEOUT),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => MachineError::Closed,
                _ => MachineError::io("sending to the guest", error),
            })
    }

    /// The next message, waiting for it until `deadline` or until `cancel` is readable.
    ///
    /// # Errors
    /// [`MachineError::TimedOut`], [`MachineError::Cancelled`], [`MachineError::Closed`],
    /// [`MachineError::Frame`].
    pub fn receive(
        &mut self,
        deadline: Option<Instant>,
        cancel: Option<BorrowedFd<'_>>,
    ) -> Result<GuestMessage> {
        let began = Instant::now();
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(message);
            }
            self.wait(began, deadline, cancel)?;
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(MachineError::Closed),
                Ok(count) => self.decoder.push(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Err(MachineError::Closed);
                }
                Err(error) => return Err(MachineError::io("receiving from the guest", error)),
            }
        }
    }

    /// Waits until there is something to read.
    fn wait(
        &self,
        began: Instant,
        deadline: Option<Instant>,
        cancel: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut files = vec![PollFd::new(&self.stream, PollFlags::IN)];
            files.extend(cancel.map(|cancel| PollFd::from_borrowed_fd(cancel, PollFlags::IN)));
            match poll(&mut files, timeout.as_ref()) {
                Ok(0) => return Err(MachineError::TimedOut(began.elapsed())),
                Ok(_)
                    if files
                        .get(1)
                        .is_some_and(|cancel| !cancel.revents().is_empty()) =>
                {
                    return Err(MachineError::Cancelled);
                }
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(MachineError::io("waiting for the guest", error)),
            }
        }
    }
}
