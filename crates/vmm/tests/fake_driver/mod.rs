//! A driver without a VM: brings the vsock device up in memory of its own, and speaks to
//! it as a guest would, or worse.

use std::os::unix::net::UnixStream;
use ukernel_vmm::memory::Ram;
use ukernel_vmm::mmio::{Effect, Transport};
use ukernel_vmm::vsock::Violation;
use vm_memory::{Bytes, GuestAddress};

pub const RAM_BYTES: usize = 4 << 20;
pub const RX: u64 = 0;
pub const TX: u64 = 1;
const SIZE: u64 = 16;
const RX_BUFFER_BYTES: u32 = 4096;
const HEADER_BYTES: usize = 44;

/// Descriptor table of a queue; the rings follow at distances of 0x1000.
pub const fn table(queue: u64) -> u64 {
    0x1_0000 + queue * 0x1_0000
}

pub const fn avail(queue: u64) -> u64 {
    table(queue) + 0x1000
}

pub const fn used(queue: u64) -> u64 {
    table(queue) + 0x2000
}

const fn buffer(queue: u64, index: u64) -> u64 {
    0x10_0000 + (queue * SIZE + index) * 0x1_0000
}

/// A packet as the driver sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    pub source_cid: u64,
    pub destination_cid: u64,
    pub source_port: u32,
    pub destination_port: u32,
    pub kind: u16,
    pub operation: u16,
    pub flags: u32,
    pub buffer: u32,
    pub forwarded: u32,
    pub data: Vec<u8>,
}

pub struct Driver {
    pub ram: Ram,
    pub transport: Transport,
    tx_next: u16,
    rx_seen: u16,
    rx_given: u16,
    /// Host's port of the connection.
    pub port: u32,
    /// Bytes taken out of the driver's buffer.
    pub forwarded: u32,
    /// What the driver says its buffer is.
    pub buffer: u32,
}

impl Driver {
    /// A driver that is up, with `rx` buffers given, and the host's end of a channel.
    pub fn new(rx: u16) -> (Self, UnixStream) {
        let ram = Ram::from_ranges(&[(GuestAddress(0), RAM_BYTES)]).expect("RAM");
        let mut driver = Self {
            ram,
            transport: Transport::default(),
            tx_next: 0,
            rx_seen: 0,
            rx_given: 0,
            port: 0,
            forwarded: 0,
            buffer: 64 << 10,
        };
        driver.bring_up();
        driver.give_rx(rx);
        let (host, guest) = UnixStream::pair().expect("pair");
        host.set_nonblocking(true).expect("non-blocking");
        guest.set_nonblocking(true).expect("non-blocking");
        assert!(driver.transport.vsock.attach(guest.into()));
        (driver, host)
    }

    fn bring_up(&mut self) {
        for (offset, value) in [(0x70, 0), (0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11)] {
            self.register(offset, value);
        }
        for queue in [RX, TX] {
            let low = |address: u64| u32::try_from(address).expect("low");
            for (offset, value) in [
                (0x30, low(queue)),
                (0x38, low(SIZE)),
                (0x80, low(table(queue))),
                (0x90, low(avail(queue))),
                (0xa0, low(used(queue))),
                (0x44, 1),
            ] {
                assert_ne!(self.register(offset, value), Effect::BadQueue);
            }
        }
        self.register(0x70, 15);
        assert!(self.transport.driver_ok());
    }

    pub fn register(&mut self, offset: u64, value: u32) -> Effect {
        self.transport
            .write(&self.ram, offset, &value.to_le_bytes())
    }

    pub fn process(&mut self) -> Result<(), Violation> {
        self.transport.vsock.process(&self.ram, true)
    }

    pub fn give_rx(&mut self, count: u16) {
        for _ in 0..count {
            let index = u64::from(self.rx_given) % SIZE;
            self.descriptor(RX, index, buffer(RX, index), RX_BUFFER_BYTES, 2, 0);
            self.offer(RX, self.rx_given, index);
            self.rx_given = self.rx_given.wrapping_add(1);
        }
    }

    pub fn descriptor(&self, queue: u64, index: u64, at: u64, length: u32, flags: u16, next: u16) {
        let mut bytes = at.to_le_bytes().to_vec();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&next.to_le_bytes());
        self.put(table(queue) + index * 16, &bytes);
    }

    fn offer(&self, queue: u64, position: u16, index: u64) {
        let index = u16::try_from(index).expect("small");
        let slot = avail(queue) + 4 + u64::from(position) % SIZE * 2;
        self.put(slot, &index.to_le_bytes());
        self.put(avail(queue) + 2, &position.wrapping_add(1).to_le_bytes());
    }

    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.ram
            .write_slice(bytes, GuestAddress(at))
            .expect("in RAM");
    }

    fn get(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.ram
            .read_slice(&mut bytes, GuestAddress(at))
            .expect("in RAM");
        bytes
    }

    /// A packet of the driver's on its connection.
    pub fn packet(&self, operation: u16, data: &[u8]) -> Packet {
        Packet {
            source_cid: 3,
            destination_cid: 2,
            source_port: 1024,
            destination_port: self.port,
            kind: 1,
            operation,
            flags: 0,
            buffer: self.buffer,
            forwarded: self.forwarded,
            data: data.to_vec(),
        }
    }

    pub fn send(&mut self, packet: &Packet) -> Result<(), Violation> {
        let index = u64::from(self.tx_next) % SIZE;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&packet.source_cid.to_le_bytes());
        bytes.extend_from_slice(&packet.destination_cid.to_le_bytes());
        bytes.extend_from_slice(&packet.source_port.to_le_bytes());
        bytes.extend_from_slice(&packet.destination_port.to_le_bytes());
        let length = u32::try_from(packet.data.len()).expect("small");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&packet.kind.to_le_bytes());
        bytes.extend_from_slice(&packet.operation.to_le_bytes());
        bytes.extend_from_slice(&packet.flags.to_le_bytes());
        bytes.extend_from_slice(&packet.buffer.to_le_bytes());
        bytes.extend_from_slice(&packet.forwarded.to_le_bytes());
        bytes.extend_from_slice(&packet.data);
        self.put(buffer(TX, index), &bytes);
        let length = u32::try_from(bytes.len()).expect("small");
        self.descriptor(TX, index, buffer(TX, index), length, 0, 0);
        self.offer(TX, self.tx_next, index);
        self.tx_next = self.tx_next.wrapping_add(1);
        self.process()
    }

    /// Takes what was delivered and gives the buffers back.
    pub fn take(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        let end = u16::from_le_bytes(self.get(used(RX) + 2, 2).try_into().expect("two"));
        while self.rx_seen != end {
            let slot = used(RX) + 4 + u64::from(self.rx_seen) % SIZE * 8;
            let index = u32::from_le_bytes(self.get(slot, 4).try_into().expect("four"));
            packets.push(self.read_packet(buffer(RX, index.into())));
            self.rx_seen = self.rx_seen.wrapping_add(1);
            self.give_rx(1);
        }
        packets
    }

    fn read_packet(&self, at: u64) -> Packet {
        let bytes = self.get(at, HEADER_BYTES);
        let word =
            |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().expect("four"));
        let half = |from: usize| u16::from_le_bytes(bytes[from..from + 2].try_into().expect("two"));
        let length = word(24) as usize;
        Packet {
            source_cid: word(0).into(),
            destination_cid: word(8).into(),
            source_port: word(16),
            destination_port: word(20),
            kind: half(28),
            operation: half(30),
            flags: word(32),
            buffer: word(36),
            forwarded: word(40),
            data: self.get(at + HEADER_BYTES as u64, length),
        }
    }

    /// Accepts the connection the device asks for.
    pub fn accept(&mut self) {
        self.process().expect("an honest driver");
        let packets = self.take();
        assert_eq!(packets.len(), 1, "{packets:?}");
        assert_eq!(packets[0].operation, 1, "a request");
        assert_eq!((packets[0].source_cid, packets[0].destination_cid), (2, 3));
        assert_eq!(packets[0].destination_port, 1024);
        self.port = packets[0].source_port;
        self.send(&self.packet(2, b"")).expect("a response");
    }
}
