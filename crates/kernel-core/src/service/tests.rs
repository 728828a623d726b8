//! The service against what a host may say, in any order.

use super::*;
use crate::surroundings::Calm;
use proptest::prelude::*;
use std::string::ToString;
use std::vec;
use std::vec::Vec;
use ukernel_abi::message::{FileError, FileOp, FileReply};

fn tree() -> Tree {
    let mut tree = Tree::empty(&Calm);
    tree.format(1 << 20);
    tree
}

fn exec(id: u32, source: &[u8]) -> HostMessage {
    HostMessage::Exec {
        id,
        exec: Exec::program("a", source),
        source_bytes: source.len() as u64,
    }
}

fn resume(instance: u8) -> HostMessage {
    HostMessage::Resume {
        entropy: [0; 32],
        wall_clock_ns: 0,
        instance: [instance; 16],
        limits: Limits::NONE,
    }
}

/// A service that has been greeted.
fn individual() -> (Service, Tree) {
    let (mut service, mut tree) = (Service::new("test".to_string()), tree());
    let version = PROTOCOL_VERSION;
    service.follow(HostMessage::Hello { version }, &mut tree);
    service.follow(resume(1), &mut tree);
    assert!(matches!(
        service.jobs.pop_front(),
        Some(Job::Resume { is_copy: true })
    ));
    (service, tree)
}

fn take(service: &mut Service) -> Running {
    match service.jobs.pop_front() {
        Some(Job::Exec(running)) => running,
        _ => panic!("an execution was expected"),
    }
}

/// The interrupt is the execution's own from the moment it is accepted: one that comes in the
/// same batch is not lost.
#[test]
fn an_interrupt_in_the_same_batch_is_kept() {
    let (mut service, mut tree) = individual();
    assert_eq!(
        service.follow(exec(7, b"while True: pass"), &mut tree),
        None
    );
    let signal = Signal::Interrupt;
    service.follow(HostMessage::Signal { id: 7, signal }, &mut tree);
    let running = take(&mut service);
    assert!(running.get().is_interrupted());
    assert!(running.get().take_interrupt(false));
    let done = service.ended(&running, Outcome::Interrupted, &mut tree);
    assert!(matches!(done, Some(GuestMessage::Done { id: 7, .. })));
    // The next one is not touched by it, nor by a signal for the one that ended.
    service.follow(exec(8, b"x"), &mut tree);
    service.follow(HostMessage::Signal { id: 7, signal }, &mut tree);
    assert!(!take(&mut service).get().is_interrupted());
}

#[test]
fn a_source_comes_in_parts() {
    let (mut service, mut tree) = individual();
    let first = HostMessage::Exec {
        id: 1,
        exec: Exec::program("a", *b"ab"),
        source_bytes: 4,
    };
    service.follow(first, &mut tree);
    assert!(service.jobs.is_empty());
    let part = |bytes: &[u8]| HostMessage::ExecPart {
        id: 1,
        bytes: bytes.to_vec(),
    };
    service.follow(part(b"cd"), &mut tree);
    let refused = service.follow(part(b"e"), &mut tree);
    assert!(matches!(
        refused,
        Some(Effect::Say(GuestMessage::Refused { .. }))
    ));
    let exec = take(&mut service).get().take_exec().expect("an execution");
    assert_eq!(exec.source, b"abcd");
}

#[test]
fn what_this_guest_lacks_is_said_by_name() {
    let (mut service, mut tree) = individual();
    let mut wanted = Exec::program("a", *b"x");
    wanted.user = Some("root".to_string());
    let message = HostMessage::Exec {
        id: 3,
        exec: wanted,
        source_bytes: 1,
    };
    let said = service.follow(message, &mut tree);
    let expected = never_began(3, Refusal::NoUsers);
    assert_eq!(said, expected);
    service.follow(exec(4, b"x"), &mut tree);
    assert_eq!(
        service.follow(exec(5, b"x"), &mut tree),
        never_began(5, Refusal::Busy)
    );
    let kill = HostMessage::Signal {
        id: 4,
        signal: Signal::Kill,
    };
    let said = service.follow(kill, &mut tree);
    assert!(
        matches!(
            said,
            Some(Effect::Say(GuestMessage::Signalled {
                is_supported: false,
                ..
            }))
        ),
        "{said:?}"
    );
}

#[test]
fn a_new_connection_hears_nothing_of_the_one_before() {
    let (mut service, mut tree) = individual();
    service.follow(exec(1, b"x"), &mut tree);
    let running = take(&mut service);
    running.get().take_exec();
    service.opened();
    assert!(running.get().has_room() && !running.get().is_heard());
    let version = PROTOCOL_VERSION;
    service.follow(HostMessage::Hello { version }, &mut tree);
    service.follow(resume(1), &mut tree);
    assert!(matches!(
        service.jobs.pop_front(),
        Some(Job::Resume { is_copy: false })
    ));
    assert_eq!(
        service.follow(exec(1, b"y"), &mut tree),
        never_began(1, Refusal::Busy)
    );
    let outcome = Outcome::Exited {
        code: 0,
        value: None,
    };
    assert_eq!(service.ended(&running, outcome, &mut tree), None);
    assert_eq!(service.follow(exec(1, b"y"), &mut tree), None);
}

#[test]
fn folders_are_listed_in_pages() {
    let (mut service, mut tree) = individual();
    let mut file = |op| match service.follow(HostMessage::File { request: 1, op }, &mut tree) {
        Some(Effect::Say(GuestMessage::File { result, .. })) => result,
        other => panic!("{other:?}"),
    };
    let path = |name: &str| std::format!("/d/{name}");
    for number in 0..600 {
        let made = file(FileOp::MakeFolder {
            path: path(&std::format!("{number:03}")),
        });
        assert_eq!(made, Ok(FileReply::Done));
    }
    let mut names = Vec::new();
    loop {
        let after = names.last().cloned();
        let page = file(FileOp::List {
            path: "/d".to_string(),
            after,
        });
        let Ok(FileReply::Entries { entries, has_more }) = page else {
            panic!("{page:?}");
        };
        assert!(entries.len() <= ukernel_abi::message::MAX_ENTRIES);
        names.extend(entries.into_iter().map(|entry| entry.name));
        if !has_more {
            break;
        }
    }
    assert_eq!(names.len(), 600);
    assert!(names.is_sorted());
    let itself = FileOp::Rename {
        from: path("000"),
        to: path("000"),
    };
    assert_eq!(
        file(itself),
        Ok(FileReply::Done),
        "a rename onto itself changes nothing"
    );
    let remove = |path: &str| FileOp::Remove {
        path: path.to_string(),
    };
    assert_eq!(file(remove("/d")), Err(FileError::NotEmpty));
    assert_eq!(file(remove("/d/000")), Ok(FileReply::Done));
    assert_eq!(file(remove("d/001")), Err(FileError::BadPath));
    let stat = FileOp::Stat {
        path: "/d/000".to_string(),
    };
    assert_eq!(file(stat), Err(FileError::NotFound));
}

fn message() -> impl Strategy<Value = HostMessage> {
    let id = 0u32..3;
    let bytes = proptest::collection::vec(any::<u8>(), 0..8);
    let signal = prop_oneof![Just(Signal::Interrupt), Just(Signal::Kill)];
    let path = "(/|a|/a|/a/b|/tmp|)";
    prop_oneof![
        Just(HostMessage::Hello { version: 3 }),
        (0u8..2).prop_map(resume),
        (id.clone(), bytes.clone(), 0u64..9).prop_map(|(id, source, source_bytes)| {
            HostMessage::Exec {
                id,
                exec: Exec::program("a", source),
                source_bytes,
            }
        }),
        (id.clone(), bytes.clone()).prop_map(|(id, bytes)| HostMessage::ExecPart { id, bytes }),
        (id.clone(), bytes.clone()).prop_map(|(id, bytes)| HostMessage::Input { id, bytes }),
        (id.clone(), any::<u64>()).prop_map(|(id, bytes)| HostMessage::OutputRoom { id, bytes }),
        (id.clone(), signal).prop_map(|(id, signal)| HostMessage::Signal { id, signal }),
        (id, 0u32..3, any::<bool>(), any::<u64>(), bytes.clone()).prop_map(
            |(id, call, is_result, length, bytes)| HostMessage::Answer {
                id,
                call,
                is_result,
                length,
                bytes
            }
        ),
        (path, path).prop_map(|(from, to)| HostMessage::File {
            request: 1,
            op: FileOp::Rename { from, to },
        }),
        (path, bytes).prop_map(|(path, bytes)| HostMessage::File {
            request: 1,
            op: FileOp::Write {
                path,
                offset: 0,
                truncate: false,
                bytes
            },
        }),
    ]
}

proptest! {
    /// Total; what is accepted never exceeds the capacity, and each execution ends exactly once.
    #[test]
    fn any_host_is_borne(steps in proptest::collection::vec(proptest::option::weighted(0.8, message()), 0..64)) {
        let (mut service, mut tree) = (Service::new("test".to_string()), tree());
        let mut begun = vec![];
        for step in steps {
            match step {
                Some(message) => drop(service.follow(message, &mut tree)),
                None => match service.jobs.pop_front() {
                    Some(Job::Exec(running)) => {
                        prop_assert!(running.get().take_exec().is_some(), "run once");
                        begun.push(running);
                    }
                    Some(Job::Resume { .. }) => {}
                    None => match begun.pop() {
                        Some(running) => {
                            let outcome = Outcome::Interrupted;
                            let heard = running.get().is_heard();
                            let said = service.ended(&running, outcome, &mut tree);
                            prop_assert_eq!(said.is_some(), heard);
                        }
                        None => service.opened(),
                    },
                },
            }
            prop_assert!(service.executions.len() <= CAPACITY as usize);
        }
    }
}
