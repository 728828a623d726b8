//! A connected stream to a machine, on its way to become a [`Guest`](crate::guest::Guest).

use crate::greeting::Greeting;
use crate::{MachineError, Result};
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use ukernel_abi::frame::encode;
use ukernel_abi::message::{HostMessage, PROTOCOL_VERSION};

/// How long a machine may take to make room for the greeting.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// The host's end of a channel to one machine.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// The greeting that is still to be sent.
    greeting: Option<Greeting>,
}

impl Channel {
    /// A channel over a connected stream, with nothing said on it yet.
    pub(crate) fn new(stream: UnixStream, greeting: Greeting) -> Self {
        Self {
            stream,
            greeting: Some(greeting),
        }
    }

    /// Says hello and makes the guest an individual, without waiting for its answers, if
    /// that was not done yet. A backend that knows the channel before the guest runs does it
    /// ahead: the guest then finds the greeting instead of waiting for it.
    ///
    /// # Errors
    /// [`MachineError::Closed`], [`MachineError::TimedOut`] if the machine does not read.
    pub(crate) fn send_greeting(&mut self) -> Result<()> {
        let Some(greeting) = self.greeting.take() else {
            return Ok(());
        };
        let version = PROTOCOL_VERSION;
        let mut frames = Vec::new();
        encode(&HostMessage::Hello { version }, &mut frames)?;
        encode(&greeting.resume()?, &mut frames)?;
        self.stream
            .set_write_timeout(Some(SEND_TIMEOUT))
            .and_then(|()| self.stream.write_all(&frames))
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => MachineError::TimedOut(SEND_TIMEOUT),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => MachineError::Closed,
                _ => MachineError::io("greeting the guest", error),
            })
    }

    /// The stream, and whether the greeting has been sent on it: for who speaks the protocol itself.
    #[must_use]
    pub fn into_parts(self) -> (UnixStream, bool) {
        (self.stream, self.greeting.is_none())
    }

    /// The stream, with the greeting sent.
    pub(crate) fn into_stream(mut self) -> Result<UnixStream> {
        self.send_greeting()?;
        Ok(self.stream)
    }
}
