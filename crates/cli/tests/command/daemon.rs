//! The daemon that keeps sessions: its starts and ends, who may see what, who may talk to it.

use crate::desk::{Desk, eventually, is_alive, signal};
use crate::ground::{Behaviour, Ran, children_of, ukernel};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("sessions_outlive_the_daemon", restart),
    ("a_killed_daemon_loses_no_session_silently", killed),
    ("many_first_commands_start_one_daemon", one_daemon),
    ("what_is_kept_is_for_its_owner_alone", private),
    ("clients_that_say_nothing_shut_nobody_out", idle_clients),
    ("a_daemon_that_ends_is_no_daemon", ending),
    ("daemons_of_other_releases_are_said", other_release),
];

fn restart() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "x = 1; open('/f', 'w').write('kept')"]);
    desk.says(&["snapshot", "lab", "one"]);
    desk.says(&["exec", "lab", "x = 2"]);
    desk.stop();
    eventually("it is gone", || desk.daemons().is_empty());
    assert_eq!(
        desk.says(&["exec", "lab", "x, open('/f').read()"]),
        "(2, 'kept')\n"
    );
    desk.says(&["rollback", "lab", "one"]);
    assert_eq!(desk.says(&["exec", "lab", "x"]), "1\n");
}

fn killed() {
    let desk = Desk::new();
    for name in ["a", "b", "c"] {
        desk.says(&["create", "--name", name]);
        desk.says(&["exec", name, &format!("x = '{name}'")]);
    }
    let mut load: Vec<Child> = ["a", "b"]
        .iter()
        .map(|name| desk.start(&["exec", name, "x = 'lost'\nwhile True: pass"]))
        .collect();
    desk.until_running("a");
    desk.until_running("b");
    let daemon = desk.daemon();
    let vms = children_of(daemon);
    assert!(vms.len() >= 3, "{vms:?}");
    signal(daemon, Signal::KILL);
    for client in load.drain(..) {
        let ran: Ran = client.wait_with_output().expect("it ends").into();
        let ran = ran.expect(1);
        assert!(
            ran.stderr.contains("the daemon went away"),
            "{}",
            ran.stderr
        );
    }
    eventually("no VM is an orphan", || !vms.iter().any(|vm| is_alive(*vm)));
    let listed = desk.says(&["list"]);
    for name in ["a", "b", "c"] {
        assert!(
            listed.lines().any(|line| line.starts_with(name)),
            "{listed}"
        );
        assert_eq!(desk.says(&["exec", name, "x"]), format!("'{name}'\n"));
    }
    assert!(listed.contains("was running: x = "), "{listed}");
    assert_ne!(desk.daemon(), daemon);
}

fn one_daemon() {
    let desk = Desk::new();
    let starting: Vec<Child> = (0..6)
        .map(|number| desk.start(&["create", "--name", &format!("s{number}")]))
        .collect();
    for client in starting {
        Ran::from(client.wait_with_output().expect("it ends")).expect(0);
    }
    let daemon = desk.daemon();
    assert_eq!(desk.list()["sessions"].as_array().map(Vec::len), Some(6));
    let asked = ukernel(desk.home.path(), &["serve", "--status", "--json"]).output();
    let status: Value =
        serde_json::from_slice(&Ran::from(asked.expect("it starts")).expect(0).stdout)
            .expect("JSON");
    assert_eq!(status["process"], daemon);
    assert_eq!(status["pool"]["allocations"], 6);
}

fn private() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "x = 1"]);
    desk.says(&["snapshot", "lab", "one"]);
    desk.says(&["exec", "lab", "x = 2"]);
    desk.says(&["rollback", "lab", "one"]);
    desk.says(&["fork", "lab"]);
    desk.says(&["exec", "lab", "x = 3"]);
    let mut folders = vec![desk.home.path().join("daemon")];
    let mut kinds = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        // A checkpoint may be written meanwhile: its folder changes its name.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(metadata) = path.symlink_metadata() else {
                continue;
            };
            let mode = metadata.permissions().mode() & 0o7777;
            assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            kinds.insert(path.file_name().expect("a name").to_owned());
        }
    }
    for kind in [
        "socket",
        "lock",
        "log",
        "session.json",
        "journal.jsonl",
        "pages",
        "snapshots",
    ] {
        assert!(
            kinds.contains(std::ffi::OsStr::new(kind)),
            "{kind}: {kinds:?}"
        );
    }
}

fn idle_clients() {
    let files = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: files.maximum,
        ..files
    };
    setrlimit(Resource::Nofile, wanted).expect("as many files as this process may have");
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let socket = desk.home.path().join("daemon/socket");
    let idle: Vec<UnixStream> = (0..1100)
        .map(|_| UnixStream::connect(&socket).expect("connected"))
        .collect();
    let began = Instant::now();
    let asked = ukernel(desk.home.path(), &["serve", "--status"]).output();
    Ran::from(asked.expect("it starts")).expect(0);
    assert_eq!(desk.says(&["exec", "lab", "6 * 7"]), "42\n");
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "none was waited for"
    );
    drop(idle);
}

/// Takes the place of a daemon, greets each client by `greeting` and hangs up.
fn pretend(home: &Path, greeting: &'static str) -> JoinHandle<()> {
    let folder = home.join("daemon");
    fs::create_dir_all(&folder).expect("made");
    let socket = folder.join("socket");
    let listener = UnixListener::bind(&socket).expect("bound");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        // Gone for the next one, as when a process ends.
        fs::remove_file(&socket).expect("removed");
        drop(listener);
        client.write_all(greeting.as_bytes()).expect("greeted");
    })
}

fn ending() {
    let desk = Desk::new();
    let dying = pretend(desk.home.path(), "");
    desk.says(&["create", "--name", "lab"]);
    dying.join().expect("it ended");
    assert_eq!(desk.says(&["exec", "lab", "6 * 7"]), "42\n");
}

fn other_release() {
    let desk = Desk::new();
    for (greeting, part) in [
        (
            "{\"version\":\"0.0.1\"}\n",
            "the daemon is of release 0.0.1",
        ),
        ("HTTP/1.1 400\n", "the daemon does not greet"),
    ] {
        let other = pretend(desk.home.path(), greeting);
        let ran = desk.session(&["list"]).expect(3);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
        other.join().expect("it ended");
    }
}
