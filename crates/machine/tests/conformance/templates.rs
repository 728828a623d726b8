//! Templates and their forks.

use crate::Behaviour;
use crate::ground::{DONE, Ground, fork, is_gone, run, value};
use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ukernel_abi::message::{Limits, Outcome};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_fork_has_the_state_of_its_template", has_state),
    ("forks_know_nothing_of_each_other", isolated),
    ("forks_draw_different_random_numbers", random),
    ("a_fork_knows_what_time_it_is", clock),
    ("eight_forks_run_at_once", parallel),
    ("a_template_can_be_saved_and_opened", saved),
    ("what_is_no_template_is_refused", refused),
    ("a_fork_becomes_a_template_or_says_why_not", grandchild),
    ("a_fork_can_be_paused", paused),
];

fn has_state(ground: &Ground) {
    let template = ground.template("x = [1, 2]\nopen('/tmp/f', 'w').write('kept')");
    let (_machine, mut guest) = fork(template.as_ref());
    assert_eq!(value(&mut guest, "x"), "[1, 2]");
    assert_eq!(guest.read_file("/tmp/f", 100).expect("read"), b"kept");
}

fn isolated(ground: &Ground) {
    let template = ground.template("x = 0");
    let (first, mut one) = fork(template.as_ref());
    let (_second, mut two) = fork(template.as_ref());
    assert_eq!(
        run(&mut one, "x = 1\nopen('/tmp/f', 'w').write('1')").outcome,
        DONE
    );
    assert_eq!(value(&mut two, "x"), "0");
    assert!(two.read_file("/tmp/f", 1).is_err());
    let process = first.process_id();
    drop(one);
    drop(first);
    assert!(is_gone(process));
    assert_eq!(value(&mut two, "x"), "0");
    let (_third, mut three) = fork(template.as_ref());
    assert_eq!(value(&mut three, "x"), "0", "the template is as it was");
}

fn random(ground: &Ground) {
    let template = ground.template("import os, random\nrandom.random(); os.urandom(8)");
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let (_machine, mut guest) = fork(template.as_ref());
        for source in ["os.urandom(16).hex()", "random.random()"] {
            assert!(
                seen.insert(value(&mut guest, source)),
                "{source} came twice"
            );
        }
    }
}

fn clock(ground: &Ground) {
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.expect("after 1970").as_secs_f64()
    };
    let template = ground.template("import time\nearlier = time.monotonic()");
    std::thread::sleep(Duration::from_secs(2));
    let (_machine, mut guest) = fork(template.as_ref());
    let before = now();
    let inside: f64 = value(&mut guest, "time.time()").parse().expect("a number");
    let after = now();
    assert!(
        before - 0.2 < inside && inside < after + 0.2,
        "{before} {inside} {after}"
    );
    assert_eq!(value(&mut guest, "time.monotonic() >= earlier"), "True");
}

fn parallel(ground: &Ground) {
    let template = ground.template("x = 100");
    let mut names = HashSet::new();
    std::thread::scope(|scope| {
        let forks: Vec<_> = (0..8)
            .map(|n| {
                let template = template.as_ref();
                scope.spawn(move || {
                    let (machine, mut guest) = fork(template);
                    let result = value(&mut guest, &format!("x + {n}"));
                    // Returned, so that all are alive together.
                    (result, machine, guest)
                })
            })
            .collect();
        let alive: Vec<_> = forks
            .into_iter()
            .map(|fork| fork.join().expect("no panic"))
            .collect();
        for (n, (result, machine, _)) in alive.iter().enumerate() {
            assert_eq!(*result, (100 + n).to_string());
            assert!(names.insert(machine.process_id()));
        }
    });
}

fn saved(ground: &Ground) {
    let folder = tempfile::tempdir().expect("folder");
    let template = ground.template("x = 'saved'");
    template.save(folder.path()).expect("save");
    drop(template);
    let opened = ground
        .backend
        .open_template(folder.path(), &ground.spec.image)
        .expect("open");
    for _ in 0..2 {
        let (_machine, mut guest) = fork(opened.as_ref());
        assert_eq!(value(&mut guest, "x"), "'saved'");
    }
    drop(opened);
    assert!(folder.path().exists(), "a saved template is its owner's");
}

fn refused(ground: &Ground) {
    let folder = tempfile::tempdir().expect("folder");
    let open = || {
        ground
            .backend
            .open_template(folder.path(), &ground.spec.image)
    };
    assert!(open().is_err(), "an empty folder");
    ground.template("x = 1").save(folder.path()).expect("save");
    let opened = open().map(drop);
    assert!(opened.is_ok(), "{opened:?}");
    for entry in std::fs::read_dir(folder.path()).expect("folder") {
        let path = entry.expect("entry").path();
        let content = std::fs::read(&path).expect("read");
        std::fs::write(&path, b"").expect("write");
        let result = open().and_then(|template| template.fork(Limits::NONE).map(drop));
        // What one backend may do without (a list of pages to read first) is not missed.
        if result.is_ok() {
            println!("{} is not missed", path.display());
        }
        std::fs::remove_file(&path).expect("remove");
        assert!(
            open().and_then(|t| t.fork(Limits::NONE).map(drop)).is_err(),
            "without {}",
            path.display()
        );
        std::fs::write(&path, content).expect("write");
    }
}

fn grandchild(ground: &Ground) {
    let template = ground.template("x = 1");
    let (machine, mut guest) = fork(template.as_ref());
    assert_eq!(run(&mut guest, "x += 1").outcome, DONE);
    drop(guest);
    match machine.into_template() {
        Ok(template) => {
            let (_machine, mut guest) = fork(template.as_ref());
            assert_eq!(value(&mut guest, "x"), "2");
        }
        Err(error) => println!("this backend says: {error}"),
    }
    let (_machine, mut guest) = fork(template.as_ref());
    assert_eq!(value(&mut guest, "x"), "1", "the template is as it was");
}

fn paused(ground: &Ground) {
    let template = ground.template("x = 1");
    let (mut machine, mut guest) = fork(template.as_ref());
    machine.pause().expect("pause");
    machine.resume().expect("resume");
    let ran = run(&mut guest, "undefined");
    assert!(matches!(ran.outcome, Outcome::Exception { .. }));
    assert_eq!(value(&mut guest, "x"), "1");
}
