//! The one stream of a VM: host socket on one side, vsock packets on the other.
//!
//! ```text
//!             REQUEST sent            RESPONSE
//!  CONNECTING ───────────> REQUESTED ──────────> OPEN ── host end of file ──> HOST_CLOSED
//!      ^                      │ RST                │                              │ SHUTDOWN,
//!      └── 1 ms or a hint ────┘                    │ RST or SHUTDOWN              │ RST sent
//!                                                  v                              v
//!                                            GUEST_CLOSED ── rest written ──>  FINISHED
//! ```
//! Memory is bounded by [`BUFFER_BYTES`]: that is the credit the guest gets, and a guest
//! that sends more breaks the contract.

use super::credit::{CreditError, FromGuest, ToGuest};
use super::header::{Header, Operation, SHUTDOWN_BOTH};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use ukernel_abi::layout::CHANNEL_PORT;
use vm_memory::bitmap::BitmapSlice;
use vm_memory::{Bytes, ReadVolatile, VolatileMemoryError, VolatileSlice};

/// Bytes from the guest the device buffers while the host does not read.
pub const BUFFER_BYTES: u32 = 256 << 10;

/// How long a refused request waits before it is repeated. The guest refuses while it
/// boots, and would otherwise do little else.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// Bytes moved from guest memory to the host socket at a time.
const COPY_BYTES: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting { not_before: Option<Instant> },
    Requested,
    Open,
    HostClosed { shutdown_sent: bool },
    GuestClosed,
    Finished,
}

/// Outcome of reading from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRead {
    /// So many bytes are in the packet.
    Data(u32),
    /// Nothing there now.
    Empty,
    /// The host closed its end; control packets will say so.
    Closed,
}

/// One connection, from the host's socket to the guest's port.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    port: u32,
    state: State,
    to_guest: ToGuest,
    from_guest: FromGuest,
    /// From the guest, not yet taken by the host.
    backlog: VecDeque<u8>,
}

impl Connection {
    /// A connection to be made from `port` on the host's side. `socket` must not block.
    #[must_use]
    pub fn new(socket: OwnedFd, port: u32) -> Self {
        Self {
            socket,
            port,
            state: State::Connecting { not_before: None },
            to_guest: ToGuest::default(),
            from_guest: FromGuest::new(BUFFER_BYTES),
            backlog: VecDeque::new(),
        }
    }

    /// What is left of the connection when the driver resets the device.
    #[must_use]
    pub fn after_reset(self) -> Option<Self> {
        match self.state {
            State::Connecting { .. } | State::Requested => Some(Self::new(self.socket, self.port)),
            _ => None,
        }
    }

    /// Whether a packet with these ports belongs to this connection.
    #[must_use]
    pub fn owns(&self, header: &Header) -> bool {
        let known = !matches!(
            self.state,
            State::Connecting { .. } | State::GuestClosed | State::Finished
        );
        known && header.source_port == CHANNEL_PORT && header.destination_port == self.port
    }

    /// Nothing is left to do: the socket can be closed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// The host's socket.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// When a refused request is to be repeated.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { not_before } => not_before,
            _ => None,
        }
    }

    /// The guest may be listening now: repeat a refused request without waiting.
    pub fn retry_now(&mut self) {
        if let State::Connecting { not_before } = &mut self.state {
            *not_before = None;
        }
    }

    /// Whether data from the host could be passed on.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.state == State::Open && self.to_guest.free() > 0
    }

    /// Whether data from the guest waits for the host.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether an rx buffer may be needed now.
    #[must_use]
    pub fn has_rx_work(&self) -> bool {
        match self.state {
            State::Connecting { not_before } => not_before.is_none_or(|at| Instant::now() >= at),
            State::HostClosed { .. } => true,
            State::Open => {
                self.from_guest.update_due() || self.wants_read() || self.to_guest.should_ask()
            }
            State::Requested | State::GuestClosed | State::Finished => false,
        }
    }

    /// The next packet without data that the guest should get.
    pub fn next_control(&mut self) -> Option<Header> {
        if !self.has_rx_work() {
            return None;
        }
        let operation = match self.state {
            State::Connecting { .. } => {
                self.state = State::Requested;
                Operation::Request
            }
            State::HostClosed {
                shutdown_sent: false,
            } => {
                self.state = State::HostClosed {
                    shutdown_sent: true,
                };
                Operation::Shutdown
            }
            State::HostClosed { .. } => {
                self.state = State::Finished;
                Operation::Reset
            }
            State::Open if self.from_guest.update_due() => Operation::CreditUpdate,
            State::Open if self.to_guest.should_ask() => {
                self.to_guest.asked();
                Operation::CreditRequest
            }
            _ => return None,
        };
        Some(self.header(operation))
    }

    /// The header of a packet sent now.
    pub fn header(&mut self, operation: Operation) -> Header {
        let (buffer_bytes, forwarded) = self.from_guest.tell();
        Header {
            source_port: self.port,
            destination_port: CHANNEL_PORT,
            operation,
            flags: match operation {
                Operation::Shutdown => SHUTDOWN_BOTH,
                _ => 0,
            },
            buffer_bytes,
            forwarded,
        }
    }

    /// Reads what the host has to say into `target`, as far as the guest has credit.
    pub fn read_host<B: BitmapSlice>(&mut self, target: &VolatileSlice<'_, B>) -> HostRead {
        let length = target.len().min(self.to_guest.free() as usize);
        let Ok(mut target) = target.subslice(0, length) else {
            return HostRead::Empty;
        };
        if length == 0 {
            return HostRead::Empty;
        }
        match self.socket.as_fd().read_volatile(&mut target) {
            Ok(0) => self.host_closed(),
            Ok(read) => {
                // At most the credit, a u32.
                #[expect(clippy::cast_possible_truncation)]
                let read = read as u32;
                self.to_guest.sent(read);
                HostRead::Data(read)
            }
            Err(VolatileMemoryError::IOError(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                HostRead::Empty
            }
            Err(_) => self.host_closed(),
        }
    }

    fn host_closed(&mut self) -> HostRead {
        self.state = State::HostClosed {
            shutdown_sent: false,
        };
        self.backlog = VecDeque::new();
        HostRead::Closed
    }

    /// The guest sent a packet on this connection. `true`: it wants a reset back.
    ///
    /// # Errors
    /// [`CreditError`].
    pub fn guest_sent<B: BitmapSlice>(
        &mut self,
        header: &Header,
        data: Option<&VolatileSlice<'_, B>>,
    ) -> Result<bool, CreditError> {
        self.to_guest.told(header.buffer_bytes, header.forwarded)?;
        match header.operation {
            Operation::Response if self.state == State::Requested => self.state = State::Open,
            Operation::Reset if self.state == State::Requested => {
                self.to_guest = ToGuest::default();
                self.state = State::Connecting {
                    not_before: Some(Instant::now() + RETRY_AFTER),
                };
            }
            Operation::Reset => self.guest_closed(),
            Operation::Shutdown => {
                self.guest_closed();
                return Ok(true);
            }
            Operation::Data => {
                if let Some(data) = data {
                    self.take_data(data)?;
                }
            }
            Operation::CreditRequest => self.from_guest.requested(),
            Operation::Request | Operation::Response | Operation::CreditUpdate => {}
        }
        Ok(false)
    }

    /// The guest is done: what it sent before is still the host's.
    fn guest_closed(&mut self) {
        self.state = if self.backlog.is_empty() {
            State::Finished
        } else {
            State::GuestClosed
        };
    }

    fn take_data<B: BitmapSlice>(
        &mut self,
        data: &VolatileSlice<'_, B>,
    ) -> Result<(), CreditError> {
        self.from_guest.received(data.len())?;
        let mut copy = [0u8; COPY_BYTES];
        let mut offset = 0;
        while offset < data.len() {
            let piece = &mut copy[..COPY_BYTES.min(data.len() - offset)];
            if data.read_slice(piece, offset).is_err() {
                break;
            }
            offset += piece.len();
            self.pass_on(piece);
        }
        Ok(())
    }

    /// Gives `bytes` to the host, or keeps what it does not take.
    fn pass_on(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.backlog.is_empty() {
            match self.write_host(rest) {
                Some(written) => rest = rest.get(written..).unwrap_or_default(),
                None => break,
            }
        }
        if !matches!(self.state, State::HostClosed { .. }) {
            self.backlog.extend(rest);
        }
    }

    /// Writes to the host; `None` if it takes nothing now or ever again.
    fn write_host(&mut self, bytes: &[u8]) -> Option<usize> {
        match send(
            &self.socket,
            bytes,
            SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        ) {
            Ok(written) => {
                self.from_guest.forwarded(written);
                Some(written)
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => {
                if self.state == State::Open {
                    self.host_closed();
                } else {
                    self.state = State::Finished;
                }
                None
            }
        }
    }

    /// Writes what waited for the host.
    pub fn flush(&mut self) {
        while !self.backlog.is_empty() {
            let mut backlog = std::mem::take(&mut self.backlog);
            let written = self.write_host(backlog.as_slices().0);
            backlog.drain(..written.unwrap_or(0));
            if matches!(self.state, State::Open | State::GuestClosed) {
                self.backlog = backlog;
            }
            if written.is_none() {
                break;
            }
        }
        if self.backlog.is_empty() {
            // Constant memory for an idle VM: the buffer is needed only under pressure.
            self.backlog = VecDeque::new();
            if self.state == State::GuestClosed {
                self.state = State::Finished;
            }
        }
    }
}
