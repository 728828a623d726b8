//! The vsock device: three virtqueues and one stream.
//!
//! The host opens the only connection there is; requests of the guest are refused.
//! Everything in guest memory is a claim: a chain, header or credit that does not hold
//! is a [`Violation`], which ends the VM and nothing else.

pub mod connection;
pub mod credit;
pub mod header;

use crate::memory::Ram;
use connection::{Connection, HostRead};
use credit::CreditError;
use header::{Header, HeaderError, Operation};
use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;
use ukernel_abi::layout::GUEST_CID;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use virtio_vsock::packet::{PKT_HEADER_SIZE, VsockPacket};

/// Queue of packets to the guest.
pub const RX: usize = 0;
/// Queue of packets from the guest.
pub const TX: usize = 1;
/// Queue of transport events; none is ever sent.
pub const EVENT: usize = 2;
/// Number of queues.
pub const QUEUES: usize = 3;
/// Largest size of a queue, in descriptors.
pub const QUEUE_SIZE: u16 = 256;

/// Largest payload of one packet, in bytes; more is a breach of the contract.
const MAX_PAYLOAD_BYTES: u32 = 1 << 20;

/// Resets owed to connections that do not exist. A guest that provokes more of them
/// without taking them loses the rest.
const MAX_RESETS: usize = 16;

/// First port of the host's side.
const FIRST_PORT: u32 = 0x4000_0000;

/// The guest broke the contract with the device.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// A queue's rings or a chain's head make no sense.
    #[error("vsock queue {queue}: {cause}")]
    Queue {
        /// Its index.
        queue: usize,
        /// What was found.
        cause: virtio_queue::Error,
    },
    /// A chain is not a packet.
    #[error("vsock queue {queue}: {cause}")]
    Chain {
        /// Index of the queue.
        queue: usize,
        /// What was found.
        cause: virtio_vsock::packet::Error,
    },
    /// A packet's header makes no sense.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Credit was overrun or invented.
    #[error(transparent)]
    Credit(#[from] CreditError),
}

/// The device's side of the vsock device.
#[derive(Debug)]
pub struct Vsock {
    /// The virtqueues, set up through the register block.
    pub queues: [Queue; QUEUES],
    connection: Option<Connection>,
    resets: VecDeque<Header>,
    next_port: u32,
    /// Something was delivered that the guest may not have seen yet.
    news: bool,
    /// The rx queue had room the last time it was looked at.
    rx_room: bool,
    /// The driver was told not to report buffers it puts back into the rx queue: as long as
    /// there are some left, its exits would be for nothing.
    rx_quiet: bool,
}

impl Default for Vsock {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Vsock {
    /// A device without connection that has made `connections` of them before.
    #[must_use]
    pub fn new(connections: u32) -> Self {
        Self {
            queues: std::array::from_fn(|_| new_queue()),
            connection: None,
            resets: VecDeque::new(),
            next_port: FIRST_PORT.wrapping_add(connections),
            news: false,
            rx_room: false,
            rx_quiet: false,
        }
    }

    /// Number of connections made so far, for a snapshot.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.next_port.wrapping_sub(FIRST_PORT)
    }

    /// The device-specific configuration: the guest's context id.
    #[must_use]
    pub fn config(&self) -> [u8; 8] {
        GUEST_CID.to_le_bytes()
    }

    /// Makes `socket`, which must not block, the channel. `false`: there is one already.
    #[must_use]
    pub fn attach(&mut self, socket: OwnedFd) -> bool {
        if self.connection.is_some() {
            return false;
        }
        self.connection = Some(Connection::new(socket, self.next_port));
        self.next_port = self.next_port.wrapping_add(1);
        true
    }

    /// Whether a channel is attached or its end is not told to the guest yet.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection.is_some() || !self.resets.is_empty()
    }

    /// The driver reset the device: an open connection is gone with its queues, one that
    /// was still to be made stays so (every driver begins with a reset).
    pub fn reset(&mut self) {
        for queue in &mut self.queues {
            queue.reset();
        }
        self.connection = self.connection.take().and_then(Connection::after_reset);
        self.resets.clear();
        self.rx_room = false;
        self.rx_quiet = false;
    }

    /// The guest has come to listen, as far as it says.
    pub fn guest_listens(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.retry_now();
        }
    }

    /// Whether something was delivered since this was last asked.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// The channel's socket, whether to wait for its data, and for room in it.
    #[must_use]
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, bool, bool)> {
        let connection = self.connection.as_ref()?;
        let read = connection.wants_read() && self.rx_room;
        let write = connection.wants_write();
        (read || write).then(|| (connection.socket(), read, write))
    }

    /// When a refused connection request is due again.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        // Without an rx buffer it would be due over and over.
        self.connection
            .as_ref()
            .filter(|_| self.rx_room)?
            .retry_at()
    }

    /// Moves everything that can be moved, both ways. `tx_is_news`: returned tx buffers
    /// count as news (the guest is not just now looking at them).
    ///
    /// # Errors
    /// [`Violation`].
    pub fn process(&mut self, ram: &Ram, tx_is_news: bool) -> Result<(), Violation> {
        self.process_tx(ram, tx_is_news)?;
        if let Some(connection) = &mut self.connection {
            connection.flush();
        }
        self.process_rx(ram)
    }

    /// Takes the packets the guest sent.
    fn process_tx(&mut self, ram: &Ram, tx_is_news: bool) -> Result<(), Violation> {
        if !self.queues[TX].ready() {
            return Ok(());
        }
        while let Some(mut chain) = next_chain(&mut self.queues[TX], ram, TX)? {
            let packet = VsockPacket::from_tx_virtq_chain(ram, &mut chain, MAX_PAYLOAD_BYTES)
                .map_err(|cause| Violation::Chain { queue: TX, cause })?;
            let header = header::read(&packet)?;
            match &mut self.connection {
                Some(connection) if connection.owns(&header) => {
                    if connection.guest_sent(&header, packet.data_slice())? {
                        self.owe_reset(&header);
                    }
                }
                _ => self.owe_reset(&header),
            }
            self.queues[TX]
                .add_used(ram, chain.head_index(), 0)
                .map_err(|cause| Violation::Queue { queue: TX, cause })?;
            self.news |= tx_is_news;
        }
        Ok(())
    }

    /// A packet for a connection that does not exist is answered by a reset.
    fn owe_reset(&mut self, header: &Header) {
        if header.operation != Operation::Reset && self.resets.len() < MAX_RESETS {
            self.resets.push_back(Header {
                source_port: header.destination_port,
                destination_port: header.source_port,
                operation: Operation::Reset,
                flags: 0,
                buffer_bytes: 0,
                forwarded: 0,
            });
        }
    }

    /// Delivers what the guest should get, as far as it has buffers.
    fn process_rx(&mut self, ram: &Ram) -> Result<(), Violation> {
        if !self.queues[RX].ready() {
            return Ok(());
        }
        self.rx_room = true;
        while self.has_rx_work() {
            if !self.rx_room && !self.hear_of_buffers(ram)? {
                break;
            }
            let Some(mut chain) = next_chain(&mut self.queues[RX], ram, RX)? else {
                if !self.rx_room {
                    break;
                }
                self.rx_room = false;
                continue;
            };
            self.rx_room = true;
            let mut packet = VsockPacket::from_rx_virtq_chain(ram, &mut chain, MAX_PAYLOAD_BYTES)
                .map_err(|cause| Violation::Chain { queue: RX, cause })?;
            let Some(written) = self.fill(&mut packet) else {
                self.queues[RX].go_to_previous_position();
                break;
            };
            self.queues[RX]
                .add_used(ram, chain.head_index(), written)
                .map_err(|cause| Violation::Queue { queue: RX, cause })?;
            self.news = true;
        }
        if self.rx_room && !self.rx_quiet {
            self.queues[RX]
                .disable_notification(ram)
                .map_err(|cause| Violation::Queue { queue: RX, cause })?;
            self.rx_quiet = true;
        }
        if self
            .connection
            .as_ref()
            .is_some_and(Connection::is_finished)
        {
            self.connection = None;
        }
        Ok(())
    }

    /// Asks the driver to report rx buffers. Whether there is one already.
    fn hear_of_buffers(&mut self, ram: &Ram) -> Result<bool, Violation> {
        self.rx_quiet = false;
        self.queues[RX]
            .enable_notification(ram)
            .map_err(|cause| Violation::Queue { queue: RX, cause })
    }

    /// Whether it is worth looking for an rx buffer.
    fn has_rx_work(&self) -> bool {
        !self.resets.is_empty()
            || self
                .connection
                .as_ref()
                .is_some_and(Connection::has_rx_work)
    }

    /// Fills `packet` with the next thing to deliver; returns the bytes used, `None` if
    /// there is nothing after all.
    fn fill<B: vm_memory::bitmap::BitmapSlice>(
        &mut self,
        packet: &mut VsockPacket<'_, B>,
    ) -> Option<u32> {
        const HEADER: u32 = PKT_HEADER_SIZE as u32;
        if let Some(reset) = self.resets.pop_front() {
            header::write(packet, reset, 0);
            return Some(HEADER);
        }
        let connection = self.connection.as_mut()?;
        if let Some(control) = connection.next_control() {
            header::write(packet, control, 0);
            return Some(HEADER);
        }
        if !connection.wants_read() {
            return None;
        }
        match connection.read_host(packet.data_slice()?) {
            HostRead::Data(length) => {
                let header = connection.header(Operation::Data);
                header::write(packet, header, length);
                Some(HEADER + length)
            }
            HostRead::Empty => None,
            HostRead::Closed => {
                let control = connection.next_control()?;
                header::write(packet, control, 0);
                Some(HEADER)
            }
        }
    }
}

/// An unconfigured queue.
fn new_queue() -> Queue {
    Queue::new(QUEUE_SIZE).expect("256 is a valid queue size")
}

/// The next chain the driver made available.
fn next_chain<'m>(
    queue: &mut Queue,
    ram: &'m Ram,
    index: usize,
) -> Result<Option<virtio_queue::DescriptorChain<&'m Ram>>, Violation> {
    match queue.iter(ram) {
        Ok(mut chains) => Ok(chains.next()),
        Err(cause) => Err(Violation::Queue {
            queue: index,
            cause,
        }),
    }
}
