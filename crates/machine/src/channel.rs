//! The host's end of a channel: frames over a Unix stream socket.

use crate::greeting::Greeting;
use crate::{MachineError, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use ukernel_abi::frame::{Decoder, encode};
use ukernel_abi::message::{GuestMessage, HostMessage, PROTOCOL_VERSION};

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
    /// What is sent while it is waited for messages.
    outgoing: VecDeque<u8>,
    /// The greeting that is still to be sent.
    greeting: Option<Greeting>,
}

impl Channel {
    /// A channel over a connected stream to a machine, with nothing said on it yet.
    ///
    /// # Errors
    /// The socket takes no time-out.
    pub(crate) fn new(stream: UnixStream, greeting: Greeting) -> Result<Self> {
        stream
            .set_write_timeout(Some(SEND_TIMEOUT))
            .map_err(|error| MachineError::io("setting the channel's time-out", error))?;
        Ok(Self {
            stream,
            decoder: Decoder::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            outgoing: VecDeque::new(),
            greeting: Some(greeting),
        })
    }

    /// Says hello and makes the guest an individual, without waiting for its answers, if
    /// that was not done yet. A backend that knows the channel before the guest runs does it
    /// ahead: the guest then finds the greeting instead of waiting for it.
    pub(crate) fn send_greeting(&mut self) -> Result<()> {
        if let Some(greeting) = self.greeting.take() {
            self.send(&HostMessage::Hello {
                version: PROTOCOL_VERSION,
            })?;
            self.send(&greeting.resume()?)?;
        }
        Ok(())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`MachineError::Closed`], [`MachineError::TimedOut`] if the guest does not read,
    /// [`MachineError::Frame`] if the message is too large.
    pub fn send(&mut self, message: &HostMessage) -> Result<()> {
        let mut frame = Vec::new();
        encode(message, &mut frame)?;
        let (first, second) = self.outgoing.as_slices();
        self.stream
            .write_all(first)
            .and_then(|()| self.stream.write_all(second))
            .and_then(|()| {
                self.outgoing.clear();
                self.stream.write_all(&frame)
            })
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => MachineError::TimedOut(SEND_TIMEOUT),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => MachineError::Closed,
                _ => MachineError::io("sending to the guest", error),
            })
    }

    /// Sends a message while [`Self::receive`] waits: the guest may have to be read from before
    /// it takes more.
    ///
    /// # Errors
    /// [`MachineError::Frame`] if the message is too large.
    pub(crate) fn queue(&mut self, message: &HostMessage) -> Result<()> {
        let mut frame = Vec::new();
        encode(message, &mut frame)?;
        self.outgoing.extend(frame);
        Ok(())
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
        loop {
            if let Some(message) = self.receive_or_wake(deadline, cancel, None)? {
                return Ok(message);
            }
        }
    }

    /// As [`Self::receive`]; `None` when `wake` became readable.
    pub(crate) fn receive_or_wake(
        &mut self,
        deadline: Option<Instant>,
        cancel: Option<BorrowedFd<'_>>,
        wake: Option<BorrowedFd<'_>>,
    ) -> Result<Option<GuestMessage>> {
        let began = Instant::now();
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(Some(message));
            }
            match self.wait(began, deadline, cancel, wake)? {
                Ready::Message => {}
                Ready::Room => {
                    self.send_queued()?;
                    continue;
                }
                Ready::Wake => return Ok(None),
            }
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

    /// Sends what is queued, as far as there is room.
    fn send_queued(&mut self) -> Result<()> {
        let (first, _) = self.outgoing.as_slices();
        match send(
            &self.stream,
            first,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) {
            Ok(sent) => drop(self.outgoing.drain(..sent)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(MachineError::Closed),
            Err(error) => return Err(MachineError::io("sending to the guest", error)),
        }
        Ok(())
    }

    /// Waits until something can be done.
    fn wait(
        &self,
        began: Instant,
        deadline: Option<Instant>,
        cancel: Option<BorrowedFd<'_>>,
        wake: Option<BorrowedFd<'_>>,
    ) -> Result<Ready> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut wanted = PollFlags::IN;
            if !self.outgoing.is_empty() {
                wanted |= PollFlags::OUT;
            }
            // Who is absent is stood in for by the stream, asked nothing.
            let watch = |file: Option<BorrowedFd<'_>>| file.is_some().then_some(PollFlags::IN);
            let stream = self.stream.as_fd();
            let files = &mut [
                PollFd::from_borrowed_fd(stream, wanted),
                PollFd::from_borrowed_fd(
                    cancel.unwrap_or(stream),
                    watch(cancel).unwrap_or(PollFlags::empty()),
                ),
                PollFd::from_borrowed_fd(
                    wake.unwrap_or(stream),
                    watch(wake).unwrap_or(PollFlags::empty()),
                ),
            ];
            match poll(files, timeout.as_ref()) {
                Ok(0) => return Err(MachineError::TimedOut(began.elapsed())),
                Ok(_) if cancel.is_some() && !files[1].revents().is_empty() => {
                    return Err(MachineError::Cancelled);
                }
                Ok(_) if wake.is_some() && !files[2].revents().is_empty() => {
                    return Ok(Ready::Wake);
                }
                Ok(_) if files[0].revents() == PollFlags::OUT => return Ok(Ready::Room),
                Ok(_) => return Ok(Ready::Message),
                Err(Errno::INTR) => {}
                Err(error) => return Err(MachineError::io("waiting for the guest", error)),
            }
        }
    }
}

/// What can be done on a channel.
enum Ready {
    /// Something came, or the channel ended.
    Message,
    /// There is room for what is queued.
    Room,
    /// The caller is wanted.
    Wake,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use ukernel_abi::frame::MAX_FRAME_BYTES;
    use ukernel_abi::message::Limits;

    fn channel() -> (Channel, UnixStream) {
        let (near, far) = UnixStream::pair().expect("a pair");
        let greeting = Greeting::new(Limits::NONE).expect("random numbers");
        (Channel::new(near, greeting).expect("a channel"), far)
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(20))
    }

    /// What a guest sends that is no frame is an error that lasts, whatever it is.
    #[test]
    fn garbage_is_refused() {
        let oversized = (MAX_FRAME_BYTES as u32 + 1).to_le_bytes();
        for garbage in [&b"GET / HTTP/1.1\r\n"[..], &[0; 64], &[255; 64], &oversized] {
            let (mut channel, mut guest) = channel();
            guest.write_all(garbage).expect("sent");
            for _ in 0..2 {
                let received = channel.receive(soon(), None);
                assert!(
                    matches!(received, Err(MachineError::Frame(_))),
                    "{received:?}"
                );
            }
        }
    }

    /// A guest that never stops sending costs one error, not memory.
    #[test]
    fn endless_garbage_is_refused() {
        let (mut channel, mut guest) = channel();
        let sender = thread::spawn(move || while guest.write_all(&[7; 4096]).is_ok() {});
        let received = channel.receive(soon(), None);
        assert!(
            matches!(received, Err(MachineError::Frame(_))),
            "{received:?}"
        );
        drop(channel);
        sender.join().expect("the sender sees the end");
    }

    #[test]
    fn a_frame_cut_in_the_middle_is_a_closed_channel() {
        let (mut channel, mut guest) = channel();
        guest.write_all(&[200, 0, 0, 0, 1, 2, 3]).expect("sent");
        drop(guest);
        assert!(matches!(
            channel.receive(soon(), None),
            Err(MachineError::Closed)
        ));
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let (mut channel, _guest) = channel();
        let deadline = Some(Instant::now() + Duration::from_millis(20));
        assert!(matches!(
            channel.receive(deadline, None),
            Err(MachineError::TimedOut(_))
        ));
    }

    #[test]
    fn a_caller_can_stop_waiting() {
        let (mut channel, _guest) = channel();
        let (cancel, mut stop) = UnixStream::pair().expect("a pair");
        stop.write_all(b"!").expect("sent");
        let received = channel.receive(soon(), Some(cancel.as_fd()));
        assert!(matches!(received, Err(MachineError::Cancelled)));
    }
}
