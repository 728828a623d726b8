//! The console device's second port, on VMMs that have no vsock: a stream of bytes, whose other
//! end may come and go.
//!
//! ```text
//!   control queues ── port 1 opened, closed ──> connections
//!   queues of port 1 ── bytes, of whichever connection ──> what belongs to the open one
//! ```
//! The queues know nothing of each other. So bytes that wait when a connection closes are dropped;
//! if the next has been opened already, those before the buffer that begins with its greeting. A
//! buffer never holds bytes of two connections.
//!
//! The first port is for consoles, which QEMU lets lose bytes when nobody reads them.
#![expect(unsafe_code, reason = "buffers shared with the device")]

use super::hal::KernelHal;
use super::handshake::SteppedTransport;
use super::link::{Event, Link};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use bitflags::bitflags;
use ukernel_abi::frame::Decoder;
use ukernel_abi::message::HostMessage;
use virtio_drivers::Error;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

/// Queues (virtio 1.2, 5.3.2), of control messages and of the second port.
const CONTROL_RECEIVE: u16 = 2;
const CONTROL_TRANSMIT: u16 = 3;
const RECEIVE: u16 = 4;
const TRANSMIT: u16 = 5;

/// The port that is used.
const PORT: u32 = 1;

/// Control messages (virtio 1.2, 5.3.6.2).
const DEVICE_READY: u16 = 0;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;

/// Buffers of each queue.
const BUFFERS: usize = 8;
/// Their size.
const BUFFER_BYTES: usize = 8192;
/// That of control messages: one with a name is a few bytes longer than its head.
const CONTROL_BYTES: usize = 64;

bitflags! {
    /// Features (virtio 1.2, 5.3.3 and 6).
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const MULTIPORT = 1 << 1;
        const VERSION_1 = 1 << 32;
    }
}

/// A buffer, and how much of it is filled.
type Filled = (Box<[u8]>, usize);

/// A queue with its buffers.
struct Queue {
    number: u16,
    queue: VirtQueue<KernelHal, BUFFERS>,
    /// What the device has, oldest first.
    lent: VecDeque<(u16, Box<[u8]>)>,
}

impl Queue {
    fn new(transport: &mut SteppedTransport, number: u16) -> Result<Self, Error> {
        Ok(Self {
            number,
            queue: VirtQueue::new(transport, number, false, false)?,
            lent: VecDeque::with_capacity(BUFFERS),
        })
    }

    /// Gives the device a buffer to fill, or to read.
    fn lend(&mut self, mut buffer: Box<[u8]>, is_to_fill: bool) -> Result<(), Error> {
        // SAFETY: `lent` keeps the buffer, untouched, until `take` has popped it.
        let token = unsafe {
            match is_to_fill {
                true => self.queue.add(&[], &mut [&mut buffer]),
                false => self.queue.add(&[&buffer], &mut []),
            }
        }?;
        self.lent.push_back((token, buffer));
        Ok(())
    }

    fn notify(&mut self, transport: &mut SteppedTransport) {
        if self.queue.should_notify() {
            transport.notify(self.number);
        }
    }

    /// Takes a buffer back the device is done with, and how much of it was filled.
    fn take(&mut self, is_to_fill: bool) -> Result<Option<Filled>, Error> {
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let at = self.lent.iter().position(|(lent, _)| *lent == token);
        let lent = at.and_then(|at| self.lent.remove(at));
        let (_, mut buffer) = lent.ok_or(Error::WrongToken)?;
        // SAFETY: the buffer that was added with this token, in the same way.
        let count = unsafe {
            match is_to_fill {
                true => self.queue.pop_used(token, &[], &mut [&mut buffer]),
                false => self.queue.pop_used(token, &[&buffer], &mut []),
            }
        }?;
        // What the device claims beyond the buffer is not there.
        let count = (count as usize).min(buffer.len());
        Ok(Some((buffer, count)))
    }

    fn has_used(&self) -> bool {
        self.queue.peek_used().is_some()
    }

    fn is_full(&self) -> bool {
        self.lent.len() == BUFFERS
    }
}

/// The device.
pub(super) struct Console {
    transport: SteppedTransport,
    control_receive: Queue,
    control_transmit: Queue,
    receive: Queue,
    transmit: Queue,
    /// Received and not handed on.
    arrived: VecDeque<Filled>,
    /// Handed on; the device gets them back when their bytes have been used.
    used: VecDeque<Box<[u8]>>,
    is_open: bool,
}

impl Console {
    /// Starts the device.
    pub(super) fn start(mut transport: SteppedTransport) -> Option<Self> {
        if !transport
            .begin_init(Features::all())
            .contains(Features::all())
        {
            return None;
        }
        let mut queue = |number| Queue::new(&mut transport, number).ok();
        let mut console = Self {
            control_receive: queue(CONTROL_RECEIVE)?,
            control_transmit: queue(CONTROL_TRANSMIT)?,
            receive: queue(RECEIVE)?,
            transmit: queue(TRANSMIT)?,
            transport,
            arrived: VecDeque::with_capacity(BUFFERS),
            used: (0..BUFFERS).map(|_| vec![0; BUFFER_BYTES].into()).collect(),
            is_open: false,
        };
        console.transport.finish_init();
        console.announce().ok()?;
        Some(console)
    }

    /// Says that the driver and its port are there, and can be written to.
    fn announce(&mut self) -> Result<(), Error> {
        for _ in 0..BUFFERS {
            let buffer = vec![0; CONTROL_BYTES].into();
            self.control_receive.lend(buffer, true)?;
        }
        self.control_receive.notify(&mut self.transport);
        for (port, event) in [
            (u32::MAX, DEVICE_READY),
            (PORT, PORT_READY),
            (PORT, PORT_OPEN),
        ] {
            let mut message = [0; 8];
            message[..4].copy_from_slice(&port.to_le_bytes());
            message[4..6].copy_from_slice(&event.to_le_bytes());
            message[6..].copy_from_slice(&1_u16.to_le_bytes());
            self.control_transmit.lend(message.into(), false)?;
        }
        self.control_transmit.notify(&mut self.transport);
        // Last: QEMU looks for what a host has sent already when it hears of these buffers.
        self.acknowledge()
    }

    /// Follows what the device says of the port. Whether it was closed, opened or both meanwhile; what
    /// arrived for a connection that was closed is dropped.
    fn follow(&mut self) -> Result<bool, Error> {
        let (mut has_changed, mut has_closed) = (false, false);
        while let Some((message, count)) = self.control_receive.take(true)? {
            if let Some(is_open) = opened(&message[..count]) {
                self.is_open = is_open;
                has_changed = true;
                has_closed |= !is_open;
            }
            self.control_receive.lend(message, true)?;
            self.control_receive.notify(&mut self.transport);
        }
        if has_closed {
            self.drop_stale()?;
        }
        Ok(has_changed)
    }

    /// Takes what has arrived off the device.
    fn collect(&mut self) -> Result<(), Error> {
        while let Some(filled) = self.receive.take(true)? {
            self.arrived.push_back(filled);
        }
        Ok(())
    }

    /// Drops what arrived for a connection that is gone.
    fn drop_stale(&mut self) -> Result<(), Error> {
        self.collect()?;
        let greeting = self
            .arrived
            .iter()
            .rposition(|(buffer, count)| is_greeting(&buffer[..*count]));
        let stale = match greeting {
            Some(at) if self.is_open => at,
            _ => self.arrived.len(),
        };
        self.used
            .extend(self.arrived.drain(..stale).map(|(buffer, _)| buffer));
        self.acknowledge()
    }
}

/// Whether a control message says that our port was opened, or closed.
fn opened(message: &[u8]) -> Option<bool> {
    let (port, rest) = message.split_first_chunk::<4>()?;
    let (event, rest) = rest.split_first_chunk::<2>()?;
    let value = rest.first_chunk::<2>()?;
    let is_ours = u32::from_le_bytes(*port) == PORT && u16::from_le_bytes(*event) == PORT_OPEN;
    is_ours.then(|| u16::from_le_bytes(*value) != 0)
}

/// Whether these bytes begin with a host's greeting.
fn is_greeting(bytes: &[u8]) -> bool {
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    matches!(decoder.next_message(), Ok(Some(HostMessage::Hello { .. })))
}

impl Link for Console {
    fn poll(&mut self, receive: &mut dyn FnMut(&[u8])) -> Result<Option<Event>, Error> {
        // Until it is acknowledged the line stays up, and an edge is what wakes us.
        self.transport.ack_interrupt();
        while self.control_transmit.take(false)?.is_some() {}
        if self.follow()? {
            let event = match self.is_open {
                true => Event::Opened,
                false => Event::Closed,
            };
            return Ok(Some(event));
        }
        if self.transmit.take(false)?.is_some() {
            return Ok(Some(Event::Other));
        }
        self.collect()?;
        let Some((buffer, count)) = self.arrived.pop_front() else {
            return Ok(None);
        };
        receive(&buffer[..count]);
        self.used.push_back(buffer);
        Ok(Some(Event::Received))
    }

    fn acknowledge(&mut self) -> Result<(), Error> {
        if self.used.is_empty() {
            return Ok(());
        }
        while let Some(buffer) = self.used.pop_front() {
            self.receive.lend(buffer, true)?;
        }
        self.receive.notify(&mut self.transport);
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        while self.transmit.take(false)?.is_some() {}
        let count = bytes.len().min(BUFFER_BYTES);
        // What the port has become comes first: these bytes may be of a connection that is gone.
        if !self.is_open || self.control_receive.has_used() || count == 0 || self.transmit.is_full()
        {
            return Ok(0);
        }
        self.transmit.lend(bytes[..count].into(), false)?;
        self.transmit.notify(&mut self.transport);
        Ok(count)
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}
