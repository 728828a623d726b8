//! A guest that says anything at all: no guest of ours, a socket.

use super::*;
use crate::greeting::Greeting;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;
use ukernel_abi::frame::{Decoder, MAX_FRAME_BYTES, encode};
use ukernel_abi::message::{
    Limits, LogLevel, MAX_CALL_BYTES, MAX_CHUNK_BYTES, OUTPUT_WINDOW_BYTES, Outcome, Refusal,
    Stream,
};

/// A greeted guest, and the far end of its socket.
async fn greeted(capacity: u32) -> (Guest, Far) {
    let (channel, mut far) = pair();
    far.say(&GuestMessage::Hello {
        version: PROTOCOL_VERSION,
        guest: "test".to_owned(),
    });
    far.say(&GuestMessage::Ready { capacity });
    (Guest::greet(channel).await.expect("a greeting"), far)
}

fn pair() -> (Channel, Far) {
    let (near, stream) = UnixStream::pair().expect("a pair");
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).expect("a time-out");
    let greeting = Greeting::new(Limits::NONE).expect("random numbers");
    let decoder = Decoder::new();
    (Channel::new(near, greeting), Far { stream, decoder })
}

struct Far {
    stream: UnixStream,
    decoder: Decoder<HostMessage>,
}

impl Far {
    fn say(&mut self, message: &GuestMessage) {
        let mut frame = Vec::new();
        encode(message, &mut frame).expect("a frame");
        self.stream.write_all(&frame).expect("sent");
    }

    fn hear(&mut self) -> HostMessage {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next_message().expect("frames") {
                return message;
            }
            let count = self.stream.read(&mut buffer).expect("bytes");
            assert!(count > 0, "the host hung up");
            self.decoder.push(&buffer[..count]);
        }
    }

    /// The number of the next execution that is asked for.
    fn hear_exec(&mut self) -> u32 {
        loop {
            if let HostMessage::Exec { id, .. } = self.hear() {
                return id;
            }
        }
    }

    fn output(&mut self, id: u32, bytes: usize) {
        self.say(&GuestMessage::Output {
            id,
            stream: Stream::Stdout,
            bytes: vec![b'x'; bytes],
        });
    }

    fn done(&mut self, id: u32) {
        self.say(&GuestMessage::Done {
            id,
            outcome: Outcome::Exited {
                code: 0,
                value: None,
            },
            spilled: Vec::new(),
        });
    }
}

struct Nothing;

impl Events for Nothing {
    async fn take(&mut self, _: Event) -> Result<()> {
        Ok(())
    }
}

fn program() -> Exec {
    Exec::program("a", *b"x")
}

/// What a guest sends that is no frame is an error, whatever it is.
#[tokio::test]
async fn garbage_is_refused() {
    let oversized = (MAX_FRAME_BYTES as u32 + 1).to_le_bytes();
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], &[0; 64], &[255; 64], &oversized] {
        let (channel, mut far) = pair();
        far.stream.write_all(garbage).expect("sent");
        let greeted = Guest::greet(channel).await;
        assert!(
            matches!(greeted, Err(MachineError::Frame(_))),
            "{greeted:?}"
        );
    }
}

/// A guest that never stops sending costs one error, not memory.
#[tokio::test(flavor = "multi_thread")]
async fn endless_garbage_is_refused() {
    let (channel, mut far) = pair();
    let sender = thread::spawn(move || while far.stream.write_all(&[7; 4096]).is_ok() {});
    let greeted = Guest::greet(channel).await;
    assert!(
        matches!(greeted, Err(MachineError::Frame(_))),
        "{greeted:?}"
    );
    sender.join().expect("the sender sees the end");
}

#[tokio::test]
async fn a_guest_of_another_version_is_refused_by_name() {
    let (channel, mut far) = pair();
    far.say(&GuestMessage::Hello {
        version: 3,
        guest: "old".to_owned(),
    });
    let greeted = Guest::greet(channel).await;
    assert!(
        matches!(greeted, Err(MachineError::Version { theirs: 3, .. })),
        "{greeted:?}"
    );
}

#[tokio::test]
async fn a_frame_cut_in_the_middle_is_a_closed_channel() {
    let (channel, mut far) = pair();
    far.stream
        .write_all(&[200, 0, 0, 0, 1, 2, 3])
        .expect("sent");
    drop(far);
    let greeted = Guest::greet(channel).await;
    assert!(matches!(greeted, Err(MachineError::Closed)), "{greeted:?}");
}

#[tokio::test]
async fn dropping_the_guest_closes_the_channel_at_once() {
    let (guest, mut far) = greeted(1).await;
    drop(guest);
    // Without a turn of the runtime: what is left of the greeting, then the end.
    let mut rest = Vec::new();
    far.stream.read_to_end(&mut rest).expect("the end");
}

/// Executions overlap, and one whose output nobody reads does not stop the other.
#[tokio::test(flavor = "multi_thread")]
async fn executions_overlap() {
    let (guest, mut far) = greeted(2).await;
    let mut idle = guest.exec(program()).await.expect("begun");
    let other = guest.exec(program()).await.expect("begun");
    let (first, second) = (far.hear_exec(), far.hear_exec());
    for _ in 0..OUTPUT_WINDOW_BYTES / MAX_CHUNK_BYTES as u64 {
        far.output(first, MAX_CHUNK_BYTES);
    }
    far.output(second, 1);
    far.done(second);
    let reach = follow::out_of_reach();
    let ended = follow(other, &Until::default(), &reach, &mut Nothing).await;
    assert!(ended.is_ok(), "{ended:?}");
    for _ in 0..OUTPUT_WINDOW_BYTES / MAX_CHUNK_BYTES as u64 {
        idle.next().await.expect("output");
    }
    let granted = tokio::spawn(async move { idle.next().await });
    assert!(matches!(far.hear(), HostMessage::OutputRoom { id, .. } if id == first));
    far.done(first);
    granted.await.expect("a task").expect("the end");
}

/// More is asked for than the guest can run: the rest waits, and a guest that claims to run more
/// than it can refuses by name.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_executions_at_once_are_borne() {
    let (guest, mut far) = greeted(3).await;
    let guest = Arc::new(guest);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        let guest = Arc::clone(&guest);
        asked.spawn(async move {
            let execution = guest.exec(program()).await?;
            follow(
                execution,
                &Until::default(),
                &follow::out_of_reach(),
                &mut Nothing,
            )
            .await
        });
    }
    let answering = thread::spawn(move || {
        for number in 0..10_000 {
            let id = far.hear_exec();
            if number % 10 == 0 {
                far.say(&GuestMessage::Done {
                    id,
                    outcome: Outcome::Refused(Refusal::Busy),
                    spilled: Vec::new(),
                });
            } else {
                far.done(id);
            }
        }
    });
    let (mut ended, mut refused) = (0, 0);
    while let Some(result) = asked.join_next().await {
        match result.expect("a task") {
            Ok(_) => ended += 1,
            Err(MachineError::Refused(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((ended, refused), (9_000, 1_000));
    answering.join().expect("the guest");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_output_than_the_window_is_hostile() {
    let (guest, mut far) = greeted(1).await;
    let mut execution = guest.exec(program()).await.expect("begun");
    let id = far.hear_exec();
    let flooding = thread::spawn(move || {
        for _ in 0..100 {
            let mut frame = Vec::new();
            let message = GuestMessage::Log {
                id,
                level: LogLevel::Info,
                message: "x".repeat(60_000),
            };
            encode(&message, &mut frame).expect("a frame");
            if far.stream.write_all(&frame).is_err() {
                return;
            }
        }
    });
    flooding.join().expect("the guest");
    let failed = loop {
        match execution.next().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, MachineError::Unexpected(_)), "{failed}");
}

/// A flood does not hide the deadline, and neither does a reader that stands still.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_is_seen_in_a_flood() {
    struct Slow;
    impl Events for Slow {
        async fn take(&mut self, _: Event) -> Result<()> {
            std::future::pending().await
        }
    }
    for is_slow in [false, true] {
        let (guest, mut far) = greeted(1).await;
        let execution = guest.exec(program()).await.expect("begun");
        let id = far.hear_exec();
        let flooding = thread::spawn(move || {
            let mut room = OUTPUT_WINDOW_BYTES;
            loop {
                let mut frame = Vec::new();
                let bytes = vec![b'x'; 1000];
                let stream = Stream::Stdout;
                encode(&GuestMessage::Output { id, stream, bytes }, &mut frame).expect("a frame");
                if room < 1000 {
                    let mut buffer = [0; 4096];
                    match far.stream.read(&mut buffer) {
                        Ok(0) | Err(_) => return,
                        Ok(count) => far.decoder.push(&buffer[..count]),
                    }
                    while let Ok(Some(message)) = far.decoder.next_message() {
                        if let HostMessage::OutputRoom { bytes, .. } = message {
                            room += bytes;
                        }
                    }
                } else if far.stream.write_all(&frame).is_err() {
                    return;
                } else {
                    room -= 1000;
                }
            }
        });
        let until = Until {
            deadline: Some(Instant::now() + Duration::from_millis(300)),
            ..Until::default()
        };
        let began = Instant::now();
        let reach = follow::out_of_reach();
        let followed = if is_slow {
            follow(execution, &until, &reach, &mut Slow).await
        } else {
            follow(execution, &until, &reach, &mut Nothing).await
        };
        assert!(
            matches!(followed, Err(MachineError::TimedOut(_))),
            "{followed:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(10));
        drop(guest);
        flooding.join().expect("the guest");
    }
}

/// Whole calls that nobody has answered are bounded in bytes: those beyond are refused.
#[tokio::test(flavor = "multi_thread")]
async fn host_calls_are_bounded() {
    let (guest, mut far) = greeted(1).await;
    let mut execution = guest.exec(program()).await.expect("begun");
    let id = far.hear_exec();
    let calling = thread::spawn(move || {
        for call in 0..5 {
            far.say(&GuestMessage::Call {
                id,
                call,
                token: [0; 32],
                name: "x".to_owned(),
                length: MAX_CALL_BYTES as u64,
                bytes: vec![0; MAX_CHUNK_BYTES],
            });
            for _ in 1..MAX_CALL_BYTES / MAX_CHUNK_BYTES {
                let bytes = vec![0; MAX_CHUNK_BYTES];
                far.say(&GuestMessage::CallPart { id, call, bytes });
            }
        }
        match far.hear() {
            HostMessage::Answer {
                call, is_result, ..
            } => (call, is_result),
            other => panic!("{other:?}"),
        }
    });
    for expected in 0..4 {
        match execution.next().await.expect("a call") {
            Event::Call(call) => assert_eq!(call.number, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(calling.join().expect("the guest"), (4, false));
}

/// A guest that does not read makes who sends wait, in bytes, not in memory.
#[tokio::test]
async fn what_waits_to_be_sent_is_bounded() {
    let (guest, _far) = greeted(1).await;
    let execution = guest.exec(program()).await.expect("begun");
    let answers = execution.answers();
    let sending = answers.answer(1, Ok(vec![0; MAX_CALL_BYTES]));
    let sent = timeout(Duration::from_millis(300), sending).await;
    assert!(sent.is_err(), "16 MiB fitted somewhere");
}
