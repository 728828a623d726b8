//! Snapshots of forks, and machines restored from them.

use crate::Behaviour;
use crate::ground::Guest;
use crate::ground::{DONE, Ground, LONG, fork, greet, run, value};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use ukernel_abi::message::Limits;
use ukernel_machine::saved::Body;
use ukernel_machine::{Machine, Template};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("snapshots_the_machine_goes_on_as_it_was", goes_on),
    ("snapshots_a_restored_machine_has_the_state", has_state),
    ("snapshots_restored_machines_are_individuals", individuals),
    ("snapshots_of_a_restored_machine_work", again),
    ("snapshots_that_fail_cost_no_state", failing),
    ("snapshots_that_are_damaged_are_refused", damaged),
];

/// Takes a snapshot.
fn snapshot_to(folder: &Path, machine: &mut dyn Machine, guest: Guest) -> Guest {
    let mut body = Body::create(folder).expect("files");
    machine.snapshot(&mut body).expect("a snapshot");
    after_snapshot(machine, guest)
}

/// The guest, greeted again where a snapshot costs it its channel.
fn after_snapshot(machine: &mut dyn Machine, guest: Guest) -> Guest {
    if machine.keeps_channel() {
        return guest;
    }
    drop(guest);
    greet(machine)
}

fn snapshot(machine: &mut dyn Machine, guest: Guest) -> (TempDir, Guest) {
    let folder = tempfile::tempdir().expect("folder");
    let guest = snapshot_to(folder.path(), machine, guest);
    (folder, guest)
}

fn restore(template: &dyn Template, folder: &Path) -> (Box<dyn Machine>, Guest) {
    let body = Body::open(folder).expect("files");
    let restored = template.restore(body, Limits::NONE);
    let mut machine = restored.expect("a restored machine");
    let guest = greet(machine.as_mut());
    (machine, guest)
}

fn goes_on(ground: &Ground) {
    let template = ground.template("import random");
    let (mut machine, mut guest) = fork(template.as_ref());
    let code = "random.seed(1); twin = random.Random(1); x = [1, 2]";
    assert_eq!(run(&mut guest, code).outcome, DONE);
    let (folder, mut guest) = snapshot(machine.as_mut(), guest);
    for _ in 0..2 {
        guest = snapshot_to(folder.path(), machine.as_mut(), guest);
        assert_eq!(value(&mut guest, "x"), "[1, 2]");
        assert_eq!(
            value(&mut guest, "random.random() == twin.random()"),
            "True"
        );
    }
}

fn has_state(ground: &Ground) {
    let template = ground.template("base = 1");
    let (mut machine, mut guest) = fork(template.as_ref());
    let code = "x = list(range(100000))\nopen('/tmp/f', 'w').write('kept')";
    assert_eq!(run(&mut guest, code).outcome, DONE);
    let (folder, mut guest) = snapshot(machine.as_mut(), guest);
    assert_eq!(run(&mut guest, "x = 'later'").outcome, DONE);
    drop((guest, machine));
    let (_machine, mut guest) = restore(template.as_ref(), folder.path());
    drop(folder);
    assert_eq!(value(&mut guest, "(base, sum(x))"), "(1, 4999950000)");
    assert_eq!(guest.read_file("/tmp/f", 10).expect("read"), b"kept");
}

fn individuals(ground: &Ground) {
    let template = ground.template("import os, random, uuid");
    let (mut machine, mut guest) = fork(template.as_ref());
    assert_eq!(run(&mut guest, "random.random()").outcome, DONE);
    let (folder, guest) = snapshot(machine.as_mut(), guest);
    let one = restore(template.as_ref(), folder.path());
    let two = restore(template.as_ref(), folder.path());
    let mut seen = HashSet::new();
    for (_machine, mut guest) in [(machine, guest), one, two] {
        for source in ["os.urandom(16).hex()", "random.random()", "uuid.uuid4()"] {
            let drawn = value(&mut guest, source);
            assert!(seen.insert(drawn), "{source} came twice");
        }
    }
}

fn again(ground: &Ground) {
    let template = ground.template("x = 0");
    let (mut machine, mut guest) = fork(template.as_ref());
    for n in 1..4 {
        assert_eq!(run(&mut guest, "x += 1").outcome, DONE);
        let (folder, _) = snapshot(machine.as_mut(), guest);
        (machine, guest) = restore(template.as_ref(), folder.path());
        assert_eq!(value(&mut guest, "x"), n.to_string());
    }
}

fn failing(ground: &Ground) {
    let full = || {
        let file = || {
            fs::File::options()
                .write(true)
                .open("/dev/full")
                .expect("a device")
        };
        let (state, pages) = (file(), file());
        Body { state, pages }
    };
    let mut machine = ground.backend.boot(&ground.spec).expect("it boots");
    let mut guest = greet(machine.as_mut());
    assert_eq!(run(&mut guest, "x = 1").outcome, DONE);
    let refused = machine.snapshot(&mut full());
    assert!(refused.is_err(), "it was not forked");
    let mut guest = after_snapshot(machine.as_mut(), guest);
    assert_eq!(value(&mut guest, "x"), "1");
    drop(guest);
    let template = machine.into_template().expect("a template");
    let (mut machine, mut guest) = fork(template.as_ref());
    for n in 2..4 {
        assert_eq!(
            run(&mut guest, &format!("x = {n}; y{n} = 'new'")).outcome,
            DONE
        );
        assert!(machine.snapshot(&mut full()).is_err(), "a full disk");
        guest = after_snapshot(machine.as_mut(), guest);
        assert_eq!(value(&mut guest, "x"), n.to_string());
    }
    let (folder, _guest) = snapshot(machine.as_mut(), guest);
    let (_machine, mut guest) = restore(template.as_ref(), folder.path());
    assert_eq!(value(&mut guest, "x, y2, y3"), "(3, 'new', 'new')");
}

fn damaged(ground: &Ground) {
    let template = ground.template("x = 0");
    let (mut machine, mut guest) = fork(template.as_ref());
    assert_eq!(run(&mut guest, "x = 1").outcome, DONE);
    let (folder, mut guest) = snapshot(machine.as_mut(), guest);
    let try_restore = || {
        let body = Body::open(folder.path())?;
        template.restore(body, Limits::NONE).map(drop)
    };
    for entry in fs::read_dir(folder.path()).expect("folder") {
        let path = entry.expect("entry").path();
        let whole = fs::read(&path).expect("read");
        let mut flipped = whole.clone();
        flipped[0] ^= 0x10;
        let mut shorter = whole.clone();
        shorter.truncate(whole.len() / 2);
        for (what, bytes) in [("empty", &vec![]), ("cut", &shorter), ("flipped", &flipped)] {
            fs::write(&path, bytes).expect("write");
            assert!(try_restore().is_err(), "{what} {}", path.display());
        }
        fs::remove_file(&path).expect("remove");
        assert!(try_restore().is_err(), "without {}", path.display());
        fs::write(&path, whole).expect("write");
    }
    try_restore().expect("whole again");
    guest.ping(LONG).expect("it lives on");
}
