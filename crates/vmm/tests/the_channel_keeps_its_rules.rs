//! The vsock device against drivers honest and hostile, without a VM.

mod fake_driver;

use fake_driver::{Driver, RAM_BYTES, RX, TX, avail, table, used};
use proptest::prelude::*;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

const RESET: u16 = 3;
const SHUTDOWN: u16 = 4;
const DATA: u16 = 5;
const CREDIT_UPDATE: u16 = 6;
const CREDIT_REQUEST: u16 = 7;

#[test]
fn data_passes_both_ways() {
    let (mut driver, mut host) = Driver::new(16);
    driver.accept();
    host.write_all(b"to the guest").expect("write");
    driver.process().expect("honest");
    let packets = driver.take();
    assert_eq!(packets[0].operation, DATA);
    assert_eq!(packets[0].data, b"to the guest");
    driver
        .send(&driver.packet(DATA, b"to the host"))
        .expect("honest");
    let mut bytes = [0; 11];
    host.read_exact(&mut bytes).expect("read");
    assert_eq!(&bytes, b"to the host");
}

#[test]
fn the_guest_is_never_sent_more_than_it_has_room_for() {
    let (mut driver, mut host) = Driver::new(16);
    driver.buffer = 5000;
    driver.accept();
    host.write_all(&[7; 20_000]).expect("write");
    let mut got = 0;
    while got < 20_000 {
        driver.process().expect("honest");
        let packets = driver.take();
        let data: usize = packets.iter().map(|packet| packet.data.len()).sum();
        assert!(data <= 5000, "{data} bytes at once");
        assert!(
            packets
                .iter()
                .any(|packet| packet.operation == CREDIT_REQUEST),
            "the device asks for room"
        );
        got += data;
        driver.forwarded += u32::try_from(data).expect("small");
        driver
            .send(&driver.packet(CREDIT_UPDATE, b""))
            .expect("honest");
    }
}

#[test]
fn a_host_that_does_not_read_stops_the_guest_not_the_machine() {
    let (mut driver, mut host) = Driver::new(16);
    driver.accept();
    let piece = [9; 32 << 10];
    let (mut sent, mut told, mut overrun) = (0u32, 0u32, None);
    for _ in 0..64 {
        match driver.send(&driver.packet(DATA, &piece)) {
            Ok(()) => sent += 32 << 10,
            Err(violation) => {
                overrun = Some(violation.to_string());
                break;
            }
        }
        for packet in driver.take() {
            told = packet.forwarded;
        }
    }
    let overrun = overrun.expect("sending without credit is a breach");
    assert!(overrun.contains("credit"), "{overrun}");
    assert!(sent - told >= 256 << 10, "only after all credit was used");

    // What was accepted is still the host's.
    let mut got = 0;
    let mut bytes = vec![0; 64 << 10];
    loop {
        match host.read(&mut bytes) {
            Ok(read) => got += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        let before = got;
        // The device is asked only to write on: the driver that broke the rules is gone.
        let _ = driver.process();
        assert!(got >= before);
    }
    assert!(got > 0 && got <= sent as usize);
}

#[test]
fn an_honest_guest_is_told_of_room_as_the_host_reads() {
    let (mut driver, mut host) = Driver::new(16);
    driver.accept();
    let piece = [3; 16 << 10];
    let (mut sent, mut told, mut read) = (0u32, 0u32, 0);
    let mut bytes = vec![0; 1 << 20];
    while sent < 2 << 20 {
        while sent - told + (16 << 10) <= 256 << 10 {
            driver.send(&driver.packet(DATA, &piece)).expect("honest");
            sent += 16 << 10;
        }
        while let Ok(count) = host.read(&mut bytes) {
            read += count;
        }
        driver.process().expect("honest");
        for packet in driver.take() {
            told = packet.forwarded;
        }
    }
    for _ in 0..10 {
        driver.process().expect("honest");
        while let Ok(count) = host.read(&mut bytes) {
            read += count;
        }
    }
    assert_eq!(read, sent as usize);
}

#[test]
fn a_refused_request_is_repeated() {
    let (mut driver, _host) = Driver::new(16);
    for _ in 0..3 {
        driver.process().expect("honest");
        let request = driver.take();
        assert_eq!(request.len(), 1);
        driver.port = request[0].source_port;
        driver.send(&driver.packet(RESET, b"")).expect("honest");
        assert!(driver.take().is_empty(), "not at once");
        std::thread::sleep(Duration::from_millis(2));
    }
    driver.accept();
}

#[test]
fn the_end_of_the_host_s_stream_ends_the_connection() {
    let (mut driver, mut host) = Driver::new(16);
    driver.accept();
    host.write_all(b"last words").expect("write");
    drop(host);
    driver.process().expect("honest");
    let operations: Vec<u16> = driver
        .take()
        .iter()
        .map(|packet| packet.operation)
        .collect();
    assert_eq!(operations, [DATA, SHUTDOWN, RESET]);
    assert!(!driver.transport.vsock.is_connected());
    // A late packet of the guest is answered, not punished.
    driver
        .send(&driver.packet(DATA, b"too late"))
        .expect("honest");
    let packets = driver.take();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].operation, RESET);
}

#[test]
fn the_guest_can_end_the_connection() {
    let (mut driver, mut host) = Driver::new(16);
    driver.accept();
    driver.send(&driver.packet(DATA, b"bye")).expect("honest");
    driver.send(&driver.packet(SHUTDOWN, b"")).expect("honest");
    assert_eq!(
        driver.take().last().map(|packet| packet.operation),
        Some(RESET)
    );
    let mut bytes = Vec::new();
    host.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, b"bye");
}

#[test]
fn without_buffers_nothing_is_lost() {
    let (mut driver, mut host) = Driver::new(1);
    driver.accept();
    host.write_all(&[1; 10_000]).expect("write");
    let mut got = 0;
    for _ in 0..20 {
        driver.process().expect("honest");
        got += driver
            .take()
            .iter()
            .map(|packet| packet.data.len())
            .sum::<usize>();
    }
    assert_eq!(got, 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Total: whatever lies in the rings, descriptors and packets, the device decides,
    /// in bounded time, and touches only what the rules allow.
    #[test]
    fn any_memory_is_decided(
        rings in proptest::collection::vec((any::<prop::sample::Index>(), any::<u16>()), 0..60),
        descriptors in proptest::collection::vec((0u64..2, 0u64..16, address(), length(), 0u16..8, 0u16..20), 0..24),
        packet in proptest::collection::vec(any::<u8>(), 0..60),
        open in any::<bool>(),
        rounds in 1usize..4,
    ) {
        let (mut driver, mut host) = Driver::new(8);
        if open {
            driver.accept();
        }
        let _ = host.write_all(b"something to deliver");
        for (queue, index, at, length, flags, next) in descriptors {
            driver.descriptor(queue, index, at, length, flags, next);
        }
        let places = [avail(RX), avail(TX), used(RX), used(TX), table(RX), table(TX)];
        for (place, value) in rings {
            let place = place.index(places.len() * 32);
            driver.put(places[place / 32] + (place % 32) as u64 * 2, &value.to_le_bytes());
        }
        driver.put(0x20_0000, &packet);
        for _ in 0..rounds {
            if driver.process().is_err() {
                break;
            }
        }
    }

    /// Total: any sequence of register accesses.
    #[test]
    fn any_registers_are_decided(
        accesses in proptest::collection::vec((0u64..0x110, any::<u32>(), 0usize..9), 0..200),
    ) {
        let (mut driver, _host) = Driver::new(2);
        for (offset, value, width) in accesses {
            let bytes = u64::from(value).to_le_bytes();
            let _ = driver.transport.write(&driver.ram, offset, &bytes[..width]);
            let mut bytes = [0; 8];
            driver.transport.read(offset, &mut bytes[..width]);
            if driver.transport.driver_ok() {
                let _ = driver.process();
            }
        }
    }

    /// Headers of any content on a valid chain.
    #[test]
    fn any_header_is_decided(
        fields in (0u64..5, 0u64..5, 0u32..2000, any::<bool>(), 0u16..3, 0u16..10, any::<u32>(), any::<u32>()),
        data in proptest::collection::vec(any::<u8>(), 0..100),
        open in any::<bool>(),
    ) {
        let (mut driver, _host) = Driver::new(4);
        if open {
            driver.accept();
        }
        let (source_cid, destination_cid, source_port, known, kind, operation, buffer, forwarded) = fields;
        let mut packet = driver.packet(operation, &data);
        packet.source_cid = source_cid;
        packet.destination_cid = destination_cid;
        packet.kind = kind;
        packet.buffer = buffer;
        packet.forwarded = forwarded;
        if !known {
            packet.source_port = source_port;
        }
        let honest = source_cid == 3 && destination_cid == 2 && kind == 1 && (1..8).contains(&operation);
        let result = driver.send(&packet);
        prop_assert!(honest || result.is_err(), "a header that makes no sense passed");
    }
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..RAM_BYTES as u64 + 4096,
        Just(0x20_0000u64),
        any::<u64>(),
        (u64::MAX - 100)..u64::MAX,
    ]
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..200, Just(4096u32), any::<u32>()]
}
