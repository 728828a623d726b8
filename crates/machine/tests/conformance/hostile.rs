//! A host that does not keep to the protocol.

use crate::Behaviour;
use crate::ground::{Ground, Inside, LONG, greet, value};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use ukernel_abi::frame::{Decoder, MAX_FRAME_BYTES, encode};
use ukernel_abi::message::{
    Exec, FileError, FileOp, GuestMessage, HostMessage, Limits, Outcome, PROTOCOL_VERSION, Refusal,
    Signal,
};
use ukernel_machine::Machine;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("garbage_does_not_end_the_guest", garbage),
    ("messages_out_of_turn_are_refused", out_of_turn),
    ("a_connection_cut_in_a_frame_does_no_harm", cut_off),
    ("absurd_numbers_are_refused", absurd),
];

/// The protocol as a host speaks it that does not keep to it.
pub struct Raw {
    stream: UnixStream,
    decoder: Decoder<GuestMessage>,
}

impl Raw {
    pub fn send(&mut self, message: &HostMessage) {
        let mut frame = Vec::new();
        encode(message, &mut frame).expect("a frame");
        self.write(&frame);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("write");
    }

    /// Writes, again and again, until something comes back: a guest that hears of a hang-up and of the
    /// next connection at once may drop what is no greeting.
    fn write_until_answered(&mut self, bytes: &[u8]) -> GuestMessage {
        let mut buffer = [0; 4096];
        let again = Some(Duration::from_secs(2));
        self.stream.set_read_timeout(again).expect("a time-out");
        for _ in 0..10 {
            self.write(bytes);
            match self.stream.read(&mut buffer) {
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{error}"),
            }
            self.stream
                .set_read_timeout(Some(LONG))
                .expect("a time-out");
            return self.receive();
        }
        panic!("no answer");
    }

    pub fn receive(&mut self) -> GuestMessage {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next_message().expect("frames") {
                return message;
            }
            let count = self.stream.read(&mut buffer).expect("an answer");
            assert!(count > 0, "the guest hung up");
            self.decoder.push(&buffer[..count]);
        }
    }
}

/// The guest refuses a message.
fn refuses(channel: &mut Raw, message: &HostMessage, when: &str) {
    channel.send(message);
    let answer = channel.receive();
    let is_refused = matches!(answer, GuestMessage::Refused { .. });
    assert!(is_refused, "{when}: {answer:?}");
}

/// A connection, and whether the backend has greeted the guest on it ahead of the caller;
/// then the answers are taken off.
pub fn connect(machine: &mut dyn Machine) -> (Raw, bool) {
    let (stream, is_greeted) = machine.connect().expect("a channel").into_parts();
    stream.set_read_timeout(Some(LONG)).expect("a time-out");
    let mut channel = Raw {
        stream,
        decoder: Decoder::new(),
    };
    if is_greeted {
        assert!(matches!(channel.receive(), GuestMessage::Hello { .. }));
        assert!(matches!(channel.receive(), GuestMessage::Ready { .. }));
    }
    (channel, is_greeted)
}

/// The guest still serves whoever comes next.
fn lives_on(machine: &mut dyn Machine) {
    let mut guest = greet(machine);
    assert_eq!(value(&mut guest, "6 * 7"), "42");
}

fn garbage(ground: &Ground) {
    let mut machine = ground.machine();
    let too_long = u32::try_from(MAX_FRAME_BYTES + 1)
        .expect("small")
        .to_le_bytes();
    let nonsense: [&[u8]; 5] = [
        &[0, 0, 0, 0],
        &[0xff; 64],
        &too_long,
        &[3, 0, 0, 0, 0xff, 0xff, 0xff],
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in nonsense {
        let (mut channel, _) = connect(machine.as_mut());
        let answer = channel.write_until_answered(bytes);
        assert!(
            matches!(answer, GuestMessage::Refused { .. }),
            "{bytes:x?}: {answer:?}"
        );
        drop(channel);
    }
    lives_on(machine.as_mut());
}

fn cut_off(ground: &Ground) {
    let mut machine = ground.machine();
    for bytes in [&[2][..], &[0, 1, 0, 0, 7]] {
        let (mut channel, _) = connect(machine.as_mut());
        channel.write(bytes);
        drop(channel);
    }
    lives_on(machine.as_mut());
}

fn out_of_turn(ground: &Ground) {
    let mut machine = ground.machine();
    let (mut channel, is_greeted) = connect(machine.as_mut());
    let exec = HostMessage::Exec {
        id: 1,
        exec: Exec::program("", *b"print(1)"),
        source_bytes: 8,
    };
    let hello = HostMessage::Hello {
        version: PROTOCOL_VERSION,
    };
    // A Linux cannot see that its host hung up and came again, so that a second hello begins anew.
    let is_once = ground.inside == Inside::Ukernel;
    if is_greeted {
        if is_once {
            refuses(&mut channel, &hello, "a second hello");
        }
    } else {
        if is_once {
            refuses(&mut channel, &exec, "before the hello");
        }
        channel.send(&hello);
        assert!(matches!(channel.receive(), GuestMessage::Hello { .. }));
        refuses(&mut channel, &exec, "while a twin");
        if is_once {
            refuses(&mut channel, &hello, "a second hello");
        }
    }
    drop(channel);
    lives_on(machine.as_mut());
}

fn absurd(ground: &Ground) {
    let mut machine = ground.machine();
    drop(greet(machine.as_mut()));
    let (mut channel, is_greeted) = connect(machine.as_mut());
    if !is_greeted {
        let hello = HostMessage::Hello { version: 0 };
        channel.send(&hello);
        assert!(matches!(channel.receive(), GuestMessage::Hello { .. }));
    }
    let resume = HostMessage::Resume {
        entropy: [0; 32],
        wall_clock_ns: match ground.inside {
            Inside::Ukernel => u64::MAX,
            // Linux has no such year.
            Inside::Linux => 1 << 60,
        },
        instance: [0; 16],
        limits: Limits::NONE,
    };
    channel.send(&resume);
    assert!(matches!(channel.receive(), GuestMessage::Ready { .. }));
    let (id, signal) = (u32::MAX, Signal::Interrupt);
    channel.send(&HostMessage::Signal { id, signal });
    let bytes = u64::MAX;
    channel.send(&HostMessage::OutputRoom { id, bytes });
    let exec = Exec::program("", *b"print(1)");
    let source_bytes = u64::MAX;
    channel.send(&HostMessage::Exec {
        id: 7,
        exec,
        source_bytes,
    });
    match channel.receive() {
        GuestMessage::Done {
            id: 7,
            outcome: Outcome::Refused(Refusal::BadSource),
            ..
        } => {}
        other => panic!("{other:?}"),
    }
    // A Linux has files with holes, as far as its numbers go.
    let far = match ground.inside {
        Inside::Ukernel => &[u64::MAX, u64::MAX - 1, 1 << 62, 1 << 40][..],
        Inside::Linux => &[u64::MAX, u64::MAX - 1, 1 << 63],
    };
    for &offset in far {
        let op = FileOp::Write {
            path: "/tmp/far".to_owned(),
            offset,
            truncate: false,
            bytes: vec![1],
        };
        let write = HostMessage::File { request: 1, op };
        channel.send(&write);
        match channel.receive() {
            GuestMessage::File { result: Err(_), .. } => {}
            other => panic!("{offset:#x}: {other:?}"),
        }
    }
    let op = FileOp::Read {
        path: format!("/{}", "x/".repeat(50_000)),
        offset: u64::MAX,
        max_bytes: u32::MAX,
    };
    let read = HostMessage::File { request: 2, op };
    channel.send(&read);
    match channel.receive() {
        GuestMessage::File {
            result: Err(error), ..
        } => {
            assert!(
                matches!(error, FileError::BadPath | FileError::NotFound),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    drop(channel);
    lives_on(machine.as_mut());
}
