//! Pausing machines, reconnecting to them, ending them from outside.

use crate::Behaviour;
use crate::ground::{Ground, Guest, LONG, greet, is_gone, run_endlessly, value};
use std::time::Duration;
use ukernel_machine::ExitReason;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_paused_machine_waits", paused_waits),
    ("pausing_again_and_again_does_no_harm", pause_often),
    ("a_busy_machine_can_be_paused", pause_busy),
    ("a_busy_machine_can_be_killed", kill_busy),
    ("a_machine_can_be_connected_to_again", reconnect),
    ("a_dropped_machine_leaves_nothing", dropped),
    ("a_prepared_machine_is_as_good", prepared),
    ("a_killed_machine_answers_nothing", killed),
];

fn paused_waits(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    machine.pause().expect("pause");
    std::thread::scope(|scope| {
        let pinging = scope.spawn(|| guest.ping(LONG));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!pinging.is_finished(), "a paused guest answered");
        machine.resume().expect("resume");
        pinging.join().expect("no panic").expect("a pong");
    });
    assert_eq!(value(&mut guest, "1 + 1"), "2");
}

fn pause_often(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    for round in 0..10 {
        machine.pause().expect("pause");
        machine.resume().expect("resume");
        assert_eq!(value(&mut guest, &round.to_string()), round.to_string());
    }
}

fn pause_busy(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    run_endlessly(&mut guest);
    machine.pause().expect("pause");
    machine.resume().expect("resume");
    assert!(
        machine
            .wait_ending(Duration::from_millis(50))
            .expect("asked")
            .is_none()
    );
    machine.pause().expect("pause");
}

fn kill_busy(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    run_endlessly(&mut guest);
    let process = machine.process_id();
    let ending = machine.kill().expect("kill");
    assert!(
        matches!(ending.reason, ExitReason::Killed { .. }),
        "{ending}"
    );
    assert!(is_gone(process));
    assert!(guest.ping(LONG).is_err());
}

fn reconnect(ground: &Ground) {
    let (mut machine, mut guest) = ground.boot();
    assert_eq!(value(&mut guest, "(kept := 7)"), "7");
    for _ in 0..3 {
        drop(guest);
        guest = greet(machine.as_mut());
        assert_eq!(value(&mut guest, "kept"), "7");
    }
}

fn dropped(ground: &Ground) {
    let (machine, guest) = ground.boot();
    let process = machine.process_id();
    drop(guest);
    drop(machine);
    assert!(is_gone(process));
    let failed = ground.is_clean();
    assert!(failed.is_ok(), "{failed:?}");
}

fn prepared(ground: &Ground) {
    for _ in 0..2 {
        ground.backend.prepare();
        ground.backend.prepare();
        let (_machine, mut guest) = ground.boot();
        assert_eq!(value(&mut guest, "2 + 2"), "4");
    }
}

fn killed(ground: &Ground) {
    let (mut machine, guest) = ground.boot();
    drop(guest);
    machine.kill().expect("kill");
    assert!(machine.pause().is_err());
    assert!(machine.stats().is_err());
    // A channel may still be had where making one asks nobody; it carries nothing.
    if let Ok(channel) = machine.connect() {
        assert!(Guest::greet(channel).is_err(), "a dead machine answers");
    }
    assert!(machine.kill().is_ok(), "ending it twice is no error");
    assert!(
        machine
            .wait_ending(Duration::ZERO)
            .expect("asked")
            .is_some()
    );
}
