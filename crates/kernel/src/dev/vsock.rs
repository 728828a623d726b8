//! The vsock device: one connection at a time, opened by the host.
#![expect(unsafe_code, reason = "device memory and DMA")]

use super::handshake::SteppedTransport;
use crate::boot::VirtioMmio;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;
use ukernel_abi::layout::{CHANNEL_PORT, HOST_CID, PAGE_BYTES};
use virtio_drivers::device::socket::{
    ConnectionInfo, DisconnectReason, SocketError, VirtIOSocket, VsockAddr, VsockEventType,
};
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::{BufferDirection, Error, Hal, PhysAddr};

/// Size of one receive buffer; there are eight.
const RX_BUFFER_BYTES: usize = 8192;

/// Credit given to the host, in bytes.
const CREDIT_BYTES: u32 = 64 << 10;

/// Largest packet sent at once, in bytes.
const MAX_PACKET_BYTES: usize = 32 << 10;

/// Register that tells the device a queue has buffers, and the number of the event queue.
const QUEUE_NOTIFY: u64 = 0x50;
const EVENT_QUEUE: u32 = 2;

struct KernelHal;

// SAFETY: the heap and the kernel stack, where all buffers the driver shares live, are
// identity mapped and physically contiguous.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let memory = dma_layout(pages).and_then(|layout| {
            // SAFETY: the layout has a size above zero.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        });
        memory.map_or((0, NonNull::dangling()), |memory| {
            (memory.as_ptr() as PhysAddr, memory)
        })
    }

    unsafe fn dma_dealloc(_: PhysAddr, memory: NonNull<u8>, pages: usize) -> i32 {
        let Some(layout) = dma_layout(pages) else {
            return -1;
        };
        // SAFETY: allocated by `dma_alloc` with the same layout.
        unsafe { dealloc(memory.as_ptr(), layout) };
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(physical as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

fn dma_layout(pages: usize) -> Option<Layout> {
    let bytes = pages
        .checked_mul(PAGE_BYTES as usize)
        .filter(|bytes| *bytes > 0)?;
    Layout::from_size_align(bytes, PAGE_BYTES as usize).ok()
}

/// What happened on the device.
pub(crate) enum Event {
    /// The host opened a connection; any earlier one is gone.
    Opened,
    /// Bytes arrived and were handed to the receiver.
    Received,
    /// The connection is gone.
    Closed,
    /// Credit or something that does not concern the connection.
    Other,
}

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
    /// Starts the device.
    pub(crate) fn start(device: VirtioMmio) -> Option<Self> {
        let header = NonNull::new(device.base as *mut VirtIOHeader)?;
        // SAFETY: the boot information placed the registers among the devices (checked
        // there), where nothing else lives, and they stay mapped for ever.
        let transport = unsafe { MmioTransport::new(header, device.bytes as usize) }.ok()?;
        let driver = VirtIOSocket::new(SteppedTransport(transport)).ok()?;
        let notify = (device.base + QUEUE_NOTIFY) as *mut u32;
        Some(Self {
            driver,
            connection: None,
            unacknowledged: 0,
            unreported: 0,
            notify,
        })
    }

    /// Tells the device the event queue was looked at. Some VMMs hold packets back after a
    /// resume until they hear this (Firecracker 1.16).
    pub(crate) fn notify_events(&mut self) {
        // SAFETY: a register of the device started in `start`.
        unsafe { core::ptr::write_volatile(self.notify, EVENT_QUEUE) };
    }

    /// Whether a connection is open.
    pub(crate) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Takes one packet off the device, if there is one, and hands its bytes to `receive`.
    pub(crate) fn poll(&mut self, receive: impl FnOnce(&[u8])) -> Result<Option<Event>, Error> {
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

    /// Says that everything received so far has been used: its room is the host's again. The
    /// host is told at once when half of its credit is used, else with the next packet.
    pub(crate) fn acknowledge(&mut self) -> Result<(), Error> {
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

    /// Sends the first bytes of `bytes`, as many as fit a packet and the host has room
    /// for. Zero: no room now, or no connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
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
}
