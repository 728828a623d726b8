//! The channel: frames in both directions over the device that carries them.
//!
//! Every task may say something ([`say`]); only the service task touches the
//! device. What waits to be sent is bounded, so a host that does not read stops the workload
//! instead of filling the kernel's memory.

use crate::dev::link::{Event, Link};
use crate::local::Local;
use crate::{report, task};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use ukernel_abi::frame::{Decoder, encode};
use ukernel_abi::message::{GuestMessage, HostMessage};

/// Bytes that may wait to be sent before whoever speaks has to wait.
const OUTBOX_BYTES: usize = 256 << 10;

struct Outbox {
    open: bool,
    bytes: VecDeque<u8>,
}

static OUTBOX: Local<Outbox> = Local::new(Outbox {
    open: false,
    bytes: VecDeque::new(),
});

/// Queues a message for the host. Waits while too much is queued; without a connection
/// nobody listens and the message is dropped.
pub(crate) fn say(message: &GuestMessage) {
    let frame = frame(message);
    task::wait_until(None, has_room);
    enqueue(&frame);
}

/// Whether what waits to be sent is below its bound. The service task takes no message from
/// the host while it is not, so that answers are bounded too.
fn has_room() -> bool {
    let outbox = OUTBOX.get();
    !outbox.open || outbox.bytes.len() < OUTBOX_BYTES
}

/// Queues an answer without waiting: for the service task, which does the sending.
pub(crate) fn reply(message: &GuestMessage) {
    enqueue(&frame(message));
}

fn frame(message: &GuestMessage) -> Vec<u8> {
    let mut frame = Vec::new();
    if let Err(error) = encode(message, &mut frame) {
        report::fatal(format_args!("{error}"));
    }
    frame
}

fn enqueue(frame: &[u8]) {
    let mut outbox = OUTBOX.get();
    if outbox.open {
        outbox.bytes.extend(frame);
        drop(outbox);
        task::wake_all();
    }
}

/// The host's end of the channel, as the service task sees it.
pub(crate) struct Channel {
    device: Box<dyn Link>,
    decoder: Decoder<HostMessage>,
}

/// What the channel has for the service task.
pub(crate) enum Incoming {
    /// A new connection: whoever was there before is gone.
    Opened,
    /// The connection is gone.
    Closed,
    /// A message.
    Message(Box<HostMessage>),
    /// The host does not speak the protocol.
    Broken,
}

impl Channel {
    pub(crate) fn new(device: Box<dyn Link>) -> Self {
        Self {
            device,
            decoder: Decoder::new(),
        }
    }

    /// Takes what has arrived, one thing at a time, `None` when there is nothing more.
    /// Messages only while there is room for their answers; what the device itself says
    /// (credit, the end of the connection) always, or nothing would ever be sent again.
    pub(crate) fn receive(&mut self) -> Option<Incoming> {
        loop {
            if has_room() {
                match self.decoder.next_message() {
                    Ok(Some(message)) => return Some(Incoming::Message(Box::new(message))),
                    Ok(None) => self.acknowledge(),
                    Err(_) => {
                        self.decoder = Decoder::new();
                        return Some(Incoming::Broken);
                    }
                }
            }
            let decoder = &mut self.decoder;
            match self.device.poll(&mut |bytes| decoder.push(bytes)) {
                Ok(None) => return None,
                Ok(Some(Event::Opened)) => {
                    self.reset(true);
                    return Some(Incoming::Opened);
                }
                Ok(Some(Event::Closed)) => {
                    self.reset(false);
                    return Some(Incoming::Closed);
                }
                Ok(Some(Event::Received | Event::Other)) => {}
                Err(error) => report::fatal(format_args!("channel's device: {error}")),
            }
        }
    }

    fn acknowledge(&mut self) {
        if let Err(error) = self.device.acknowledge() {
            report::fatal(format_args!("channel's device: {error}"));
        }
    }

    fn reset(&mut self, open: bool) {
        self.decoder = Decoder::new();
        let mut outbox = OUTBOX.get();
        outbox.open = open;
        outbox.bytes.clear();
        drop(outbox);
        task::wake_all();
    }

    /// Sends what is queued, as far as the host has room. Whether anything went out.
    pub(crate) fn flush(&mut self) -> bool {
        let mut sent_any = false;
        loop {
            let mut outbox = OUTBOX.get();
            if outbox.bytes.is_empty() || !self.device.is_open() {
                break;
            }
            let sent = match self.device.send(outbox.bytes.make_contiguous()) {
                Ok(sent) => sent,
                Err(error) => report::fatal(format_args!("channel's device: {error}")),
            };
            if sent == 0 {
                break;
            }
            outbox.bytes.drain(..sent);
            sent_any = true;
        }
        if sent_any {
            task::wake_all();
        }
        sent_any
    }

    /// See [`Link::notify_events`].
    pub(crate) fn notify_events(&mut self) {
        self.device.notify_events();
    }
}
