//! The vsock device: one connection at a time, opened by the host.
#![expect(unsafe_code, reason = "a register of the device")]

use super::hal::KernelHal;
use super::handshake::SteppedTransport;
use super::link::{Event, Link};
use ukernel_abi::layout::{CHANNEL_PORT, HOST_CID};
use virtio_drivers::Error;
use virtio_drivers::device::socket::{
    ConnectionInfo, DisconnectReason, SocketError, VirtIOSocket, VsockAddr, VsockEventType,
};

/// Size of one receive buffer; there are eight.
const RX_BUFFER_BYTES: usize = 8192;

/// Credit given to the host, in bytes.
const CREDIT_BYTES: u32 = 64 << 10;

/// Largest packet sent at once, in bytes.
const MAX_PACKET_BYTES: usize = 32 << 10;

/// Register that tells the device a queue has buffers, and the number of the event queue.
const QUEUE_NOTIFY: u64 = 0x50;
const EVENT_QUEUE: u32 = 2;

/// The device and its one connection.
pub(crate) struct Vsock {
    driver: VirtIOSocket<KernelHal, SteppedTransport, RX_BUFFER_BYTES>,
    connection: Option<ConnectionInfo>,
    /// Bytes received and not used yet.
    unacknowledged: usize,
    /// Bytes used since the host was last told.
    unreported: u32,
    notify: *mut u32,
}

impl Vsock {
    /// Starts the device whose registers are at `base`.
    pub(super) fn start(transport: SteppedTransport, base: u64) -> Option<Self> {
        Some(Self {
            driver: VirtIOSocket::new(transport).ok()?,
            connection: None,
            unacknowledged: 0,
            unreported: 0,
            notify: (base + QUEUE_NOTIFY) as *mut u32,
        })
    }

    fn accept(
        &mut self,
        source: VsockAddr,
        destination: VsockAddr,
        event: &virtio_drivers::device::socket::VsockEvent,
    ) -> Result<Event, Error> {
        let mut connection = ConnectionInfo::new(source, destination.port);
        connection.buf_alloc = CREDIT_BYTES;
        if source.cid != HOST_CID || destination.port != CHANNEL_PORT {
            self.driver.force_close(&connection)?;
            return Ok(Event::Other);
        }
        if let Some(old) = self.connection.take().filter(|old| old.dst != source) {
            self.driver.force_close(&old)?;
        }
        connection.update_for_event(event);
        self.driver.accept(&connection)?;
        self.connection = Some(connection);
        self.unacknowledged = 0;
        self.unreported = 0;
        Ok(Event::Opened)
    }

    fn close(&mut self, reason: DisconnectReason) -> Result<(), Error> {
        if let Some(old) = self.connection.take()
            && reason == DisconnectReason::Shutdown
        {
            self.driver.force_close(&old)?;
        }
        Ok(())
    }
}

impl Link for Vsock {
    fn poll(&mut self, receive: &mut dyn FnMut(&[u8])) -> Result<Option<Event>, Error> {
        let connection = &mut self.connection;
        let mut received = 0;
        let event = self.driver.poll(|event, body| {
            let ours = connection.as_ref().is_some_and(|known| {
                event.source == known.dst && event.destination.port == known.src_port
            });
            if ours && let Some(known) = connection.as_mut() {
                known.update_for_event(&event);
                if let VsockEventType::Received { .. } = event.event_type {
                    receive(body);
                    received = body.len();
                }
            }
            Ok(Some(event))
        })?;
        let Some(event) = event else { return Ok(None) };
        let ours = self.connection.as_ref().is_some_and(|known| {
            event.source == known.dst && event.destination.port == known.src_port
        });
        Ok(Some(match event.event_type {
            VsockEventType::ConnectionRequest => {
                self.accept(event.source, event.destination, &event)?
            }
            VsockEventType::Received { .. } if ours => {
                self.unacknowledged += received;
                Event::Received
            }
            VsockEventType::Disconnected { reason } if ours => {
                self.close(reason)?;
                Event::Closed
            }
            VsockEventType::CreditRequest if ours => {
                if let Some(known) = &self.connection {
                    self.driver.credit_update(known)?;
                }
                Event::Other
            }
            _ => Event::Other,
        }))
    }

    /// The host is told at once when half of its credit is used, else with the next packet.
    fn acknowledge(&mut self) -> Result<(), Error> {
        let used = core::mem::take(&mut self.unacknowledged);
        let Some(known) = self.connection.as_mut() else {
            return Ok(());
        };
        known.done_forwarding(used);
        self.unreported += used as u32;
        if self.unreported >= CREDIT_BYTES / 2 {
            self.unreported = 0;
            self.driver.credit_update(known)?;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let Some(connection) = self.connection.as_mut() else {
            return Ok(0);
        };
        let mut length = bytes.len().min(MAX_PACKET_BYTES);
        while length > 0 {
            match self.driver.send(&bytes[..length], connection) {
                Ok(()) => {
                    // Every packet carries the count of what was received.
                    self.unreported = 0;
                    return Ok(length);
                }
                // The driver does not say how much room there is: try less.
                Err(Error::SocketDeviceError(SocketError::InsufficientBufferSpaceInPeer)) => {
                    length = if length > 4096 { length / 2 } else { 0 };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Tells the device the event queue was looked at. Some VMMs hold packets back after a
    /// resume until they hear this (Firecracker 1.16).
    fn notify_events(&mut self) {
        // SAFETY: a register of the device started in `start`.
        unsafe { core::ptr::write_volatile(self.notify, EVENT_QUEUE) };
    }
}
