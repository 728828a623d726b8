//! What carries the channel's bytes: one device, whichever the VMM has.
#![expect(unsafe_code, reason = "device registers")]

use super::console::Console;
use super::handshake::SteppedTransport;
use super::vsock::Vsock;
use crate::boot::VirtioMmio;
use alloc::boxed::Box;
use core::ptr::NonNull;
use virtio_drivers::Error;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};

/// What happened on the device.
pub(crate) enum Event {
    /// The host opened a connection; any earlier one is gone.
    Opened,
    /// Bytes arrived and were handed to the receiver.
    Received,
    /// The connection is gone.
    Closed,
    /// Room to send, or something that does not concern the connection.
    Other,
}

/// A device of the channel, with one connection at a time.
pub(crate) trait Link {
    /// Takes one thing off the device, if there is one, and hands its bytes to `receive`.
    fn poll(&mut self, receive: &mut dyn FnMut(&[u8])) -> Result<Option<Event>, Error>;

    /// Says that everything received so far has been used: its room is the host's again.
    fn acknowledge(&mut self) -> Result<(), Error>;

    /// Sends the first bytes of `bytes`, as many as there is room for. Zero: no room now, or no
    /// connection.
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Error>;

    /// Whether a connection is open.
    fn is_open(&self) -> bool;

    /// Does what some VMMs wait for after a resume.
    fn notify_events(&mut self) {}
}

/// Starts the device. `None`: it is not there, or not one for a channel.
pub(crate) fn start(device: VirtioMmio) -> Option<Box<dyn Link>> {
    let header = NonNull::new(device.base as *mut VirtIOHeader)?;
    // SAFETY: the boot information placed the registers among the devices (checked there),
    // where nothing else lives, and they stay mapped for ever.
    let transport = unsafe { MmioTransport::new(header, device.bytes as usize) }.ok()?;
    let kind = transport.device_type();
    let transport = SteppedTransport(transport);
    match kind {
        DeviceType::Socket => Some(Box::new(Vsock::start(transport, device.base)?)),
        DeviceType::Console => Some(Box::new(Console::start(transport)?)),
        _ => None,
    }
}
