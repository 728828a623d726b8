//! A host that does not keep to the protocol.

use crate::Behaviour;
use crate::ground::{Ground, LONG, greet, value};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Instant;
use ukernel_abi::frame::MAX_FRAME_BYTES;
use ukernel_abi::message::{
    FileError, GuestMessage, HostMessage, Limits, Mode, PROTOCOL_VERSION, Source,
};
use ukernel_machine::{Channel, Machine};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("garbage_does_not_end_the_guest", garbage),
    ("messages_out_of_turn_are_refused", out_of_turn),
    ("a_connection_cut_in_a_frame_does_no_harm", cut_off),
    ("absurd_numbers_are_refused", absurd),
];

pub fn receive(channel: &mut Channel) -> GuestMessage {
    let deadline = Some(Instant::now() + LONG);
    channel.receive(deadline, None).expect("an answer")
}

/// The guest refuses a message.
fn refuses(channel: &mut Channel, message: &HostMessage, when: &str) {
    channel.send(message).expect("send");
    let answer = receive(channel);
    let is_refused = matches!(answer, GuestMessage::Refused { .. });
    assert!(is_refused, "{when}: {answer:?}");
}

/// The stream under a channel, whose type lends no way to write nonsense. The number of
/// its file is in its debug form.
fn raw(channel: &Channel) -> UnixStream {
    let text = format!("{channel:?}");
    let number = text
        .split("fd: ")
        .find_map(|rest| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .expect("a file number");
    let this = pidfd_open(getpid(), PidfdFlags::empty()).expect("pidfd");
    let file = pidfd_getfd(this, number, PidfdGetfdFlags::empty()).expect("the stream");
    UnixStream::from(file)
}

/// A connection, and whether the backend has greeted the guest on it ahead of the caller;
/// then the answers are taken off.
pub fn connect(machine: &mut dyn Machine) -> (Channel, bool) {
    let mut channel = machine.connect().expect("a channel");
    let is_greeted = format!("{channel:?}").contains("greeting: None");
    if is_greeted {
        assert!(matches!(receive(&mut channel), GuestMessage::Hello { .. }));
        assert_eq!(receive(&mut channel), GuestMessage::Ready);
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
        raw(&channel).write_all(bytes).expect("write");
        let answer = receive(&mut channel);
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
        let (channel, _) = connect(machine.as_mut());
        raw(&channel).write_all(bytes).expect("write");
        drop(channel);
    }
    lives_on(machine.as_mut());
}

fn out_of_turn(ground: &Ground) {
    let mut machine = ground.machine();
    let (mut channel, is_greeted) = connect(machine.as_mut());
    let exec = HostMessage::Exec {
        id: 1,
        source: Source::Inline(b"print(1)".to_vec()),
        name: String::new(),
        args: Vec::new(),
        mode: Mode::Program,
        inline_output_bytes: u64::MAX,
        token: None,
    };
    let hello = HostMessage::Hello {
        version: PROTOCOL_VERSION,
    };
    if is_greeted {
        refuses(&mut channel, &hello, "a second hello");
    } else {
        refuses(&mut channel, &exec, "before the hello");
        channel.send(&hello).expect("send");
        assert!(matches!(receive(&mut channel), GuestMessage::Hello { .. }));
        refuses(&mut channel, &exec, "while a twin");
        refuses(&mut channel, &hello, "a second hello");
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
        channel.send(&hello).expect("send");
        assert!(matches!(receive(&mut channel), GuestMessage::Hello { .. }));
    }
    let resume = HostMessage::Resume {
        entropy: [0; 32],
        wall_clock_ns: u64::MAX,
        instance: [0; 16],
        limits: Limits::NONE,
    };
    channel.send(&resume).expect("send");
    assert_eq!(receive(&mut channel), GuestMessage::Ready);
    channel
        .send(&HostMessage::Cancel { id: u32::MAX })
        .expect("send");
    for offset in [u64::MAX, u64::MAX - 1, 1 << 62, 1 << 40] {
        let write = HostMessage::FileWrite {
            request: 1,
            path: "/tmp/far".to_owned(),
            offset,
            truncate: false,
            bytes: vec![1],
        };
        channel.send(&write).expect("send");
        match receive(&mut channel) {
            GuestMessage::FileWritten { result: Err(_), .. } => {}
            other => panic!("{offset:#x}: {other:?}"),
        }
    }
    let read = HostMessage::FileRead {
        request: 2,
        path: format!("/{}", "x/".repeat(50_000)),
        offset: u64::MAX,
        max_bytes: u32::MAX,
    };
    channel.send(&read).expect("send");
    match receive(&mut channel) {
        GuestMessage::FileContent {
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
