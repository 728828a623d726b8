//! Sessions and the daemon that keeps them.

use crate::ground::{Behaviour, Ran, children_of, home, ukernel};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("the_transcript_of_the_documents", transcript),
    ("commands_share_files_with_python", commands),
    ("ends_have_their_codes", codes),
    ("what_makes_no_sense_is_refused", refused),
    ("json_is_one_document_even_of_failures", json),
    ("ctrl_c_interrupts_and_keeps_the_state", interrupt),
    ("who_waits_in_a_queue_interrupts_only_itself", queued),
    ("a_time_limit_goes_back_one_command", time_limit),
    ("sessions_outlive_the_daemon", restart),
    ("a_killed_daemon_loses_no_session_silently", killed),
    ("many_first_commands_start_one_daemon", one_daemon),
    ("what_is_kept_is_for_its_owner_alone", private),
    ("clients_that_say_nothing_shut_nobody_out", idle_clients),
];

/// A home with a daemon of its own, over the store all tests share.
pub struct Desk {
    pub home: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        // Not below the target folder: paths of sockets are short.
        let folder = tempfile::tempdir().expect("a folder");
        let store = home().join("store");
        std::os::unix::fs::symlink(store, folder.path().join("store")).expect("a link");
        Self { home: folder }
    }

    pub fn session(&self, words: &[&str]) -> Ran {
        let words: Vec<&str> = std::iter::once("session")
            .chain(words.iter().copied())
            .collect();
        ukernel(self.home.path(), &words)
            .output()
            .expect("it starts")
            .into()
    }

    /// What a command that succeeds prints.
    pub fn says(&self, words: &[&str]) -> String {
        self.session(words).expect(0).text()
    }

    pub fn start(&self, words: &[&str]) -> Child {
        let words: Vec<&str> = std::iter::once("session")
            .chain(words.iter().copied())
            .collect();
        ukernel(self.home.path(), &words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    }

    fn list(&self) -> Value {
        serde_json::from_str(&self.says(&["list", "--json"])).expect("JSON")
    }

    fn until_running(&self, name: &str) {
        eventually("it runs", || {
            self.list()["sessions"]
                .as_array()
                .expect("a list")
                .iter()
                .any(|session| session["name"] == name && session["is_running"] == true)
        });
    }

    /// Processes of daemons of this home.
    fn daemons(&self) -> Vec<u32> {
        let ours = format!("UKERNEL_HOME={}", self.home.path().display());
        let processes = fs::read_dir("/proc").expect("proc").flatten();
        processes
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|process| {
                let read = |file: &str| {
                    let bytes = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).into_owned()
                };
                read("environ").split('\0').any(|variable| variable == ours)
                    && read("cmdline").contains("\0--on-demand\0")
            })
            .collect()
    }

    fn stop(&self) {
        let stopped = ukernel(self.home.path(), &["serve", "--stop"]).output();
        Ran::from(stopped.expect("it starts")).expect(0);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // A test that failed has said why.
        let _ = ukernel(self.home.path(), &["serve", "--stop"]).output();
    }
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "not in time: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(process.expect("a process"), signal).expect("it is there");
}

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}/exe")).exists()
        && fs::read_link(format!("/proc/{process}/exe")).is_ok()
}

fn transcript() {
    let desk = Desk::new();
    assert_eq!(desk.says(&["create", "--name", "lab"]), "lab\n");
    assert_eq!(desk.says(&["exec", "lab", "x = 41"]), "");
    assert_eq!(desk.says(&["exec", "lab", "print(x+1)"]), "42\n");
    desk.says(&["snapshot", "lab", "before"]);
    desk.says(&[
        "exec",
        "lab",
        "import os; x = 0; open('f','w').write('gone')",
    ]);
    desk.says(&["rollback", "lab", "before"]);
    assert_eq!(
        desk.says(&["exec", "lab", "import os; x, os.path.exists('f')"]),
        "(41, False)\n"
    );
    let forks = desk.says(&["fork", "lab", "-n", "8"]);
    let forks: Vec<&str> = forks.lines().collect();
    assert_eq!(forks.len(), 8);
    for (number, fork) in forks.iter().enumerate() {
        desk.says(&["exec", fork, &format!("x += {number}")]);
    }
    for (number, fork) in forks.iter().enumerate() {
        assert_eq!(
            desk.says(&["exec", fork, "x"]),
            format!("{}\n", 41 + number)
        );
    }
    assert_eq!(
        desk.says(&["exec", "lab", "x"]),
        "41\n",
        "apart from its forks"
    );
    assert!(desk.says(&["snapshots", "lab"]).contains("before"));
    desk.says(&["extend", "lab"]);
    desk.says(&["destroy", "lab"]);
    desk.session(&["exec", "lab", "x"]).expect(2);
    let daemons = desk.daemons();
    assert_eq!(daemons.len(), 1);
    let vms = children_of(daemons[0]);
    assert!(vms.len() >= 8, "{vms:?}");
    desk.stop();
    eventually("no process is left", || {
        desk.daemons().is_empty() && !vms.iter().any(|vm| is_alive(*vm))
    });
}

fn commands() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let file = desk.home.path().join("words");
    fs::write(&file, "b 2\na 1\n").expect("written");
    let host = file.to_str().expect("UTF-8");
    desk.says(&["put", "lab", host, "/words"]);
    assert_eq!(
        desk.says(&[
            "bash",
            "lab",
            "sort /words | awk '{print $1}' > /first; cat /first"
        ]),
        "a\nb\n"
    );
    assert_eq!(
        desk.says(&["exec", "lab", "open('/first').read()"]),
        "'a\\nb\\n'\n"
    );
    assert_eq!(desk.says(&["get", "lab", "/first", "-"]), "a\nb\n");
    let kept = desk.session(&["get", "lab", "/first", host]).expect(2);
    assert!(kept.stderr.contains("--force"), "{}", kept.stderr);
    assert_eq!(fs::read_to_string(&file).expect("read"), "b 2\na 1\n");
    desk.says(&["get", "lab", "/first", host, "--force"]);
    assert_eq!(fs::read_to_string(&file).expect("read"), "a\nb\n");
    desk.session(&["bash", "lab", "exit 7"]).expect(7);
    let absent = desk.session(&["bash", "lab", "curl x"]).expect(127);
    assert!(absent.stderr.contains("no network"), "{}", absent.stderr);
    desk.session(&["get", "lab", "/nosuch", "-"]).expect(1);
}

fn codes() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.session(&["exec", "lab", "import sys; sys.exit(9)"])
        .expect(9);
    let raised = desk.session(&["exec", "lab", "1/0"]).expect(1);
    assert!(
        raised.stderr.contains("ZeroDivisionError"),
        "{}",
        raised.stderr
    );
    let wrong = desk.session(&["exec", "lab", "print("]).expect(1);
    assert!(wrong.stderr.contains("SyntaxError"), "{}", wrong.stderr);
    assert_eq!(desk.says(&["exec", "lab", ""]), "");
}

fn refused() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let long = "x".repeat(10_000);
    for name in ["", "../lab", "a/b", " ", "-x y", &long, "é"] {
        let name = format!("--name={name}");
        let refused = desk.session(&["create", &name]).expect(2);
        assert!(refused.stderr.starts_with("error: "), "{}", refused.stderr);
        assert!(refused.stderr.len() < 500, "{}", refused.stderr);
    }
    for name in ["", "../before", "a/b", &long] {
        desk.session(&["snapshot", "lab", name]).expect(2);
    }
    desk.says(&["snapshot", "lab", "before"]);
    let twice = desk.session(&["snapshot", "lab", "before"]).expect(2);
    assert!(twice.stderr.contains("already"), "{}", twice.stderr);
    let twice = desk.session(&["create", "--name", "lab"]).expect(2);
    assert!(twice.stderr.contains("already"), "{}", twice.stderr);
    desk.session(&["rollback", "lab", "nosuch"]).expect(2);
    for unknown in ["nosuch", "", "../lab", &long] {
        let refused = desk.session(&["exec", unknown, "1"]).expect(2);
        assert!(refused.stderr.contains("session"), "{}", refused.stderr);
    }
    let linux = desk.session(&["create", "--guest", "linux"]).expect(3);
    assert!(linux.stderr.contains("Linux guest"), "{}", linux.stderr);
}

fn json() {
    let desk = Desk::new();
    let document = |ran: Ran| -> Value {
        serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.text()))
    };
    let made = document(
        desk.session(&["create", "--name", "lab", "--json"])
            .expect(0),
    );
    assert_eq!(made["name"], "lab");
    let ran = desk.session(&["exec", "lab", "--json", "print('out'); 6 * 7"]);
    let done = document(ran.expect(0));
    assert_eq!(done["stdout"], "out\n");
    assert_eq!(done["value"], "42");
    let ran = desk.session(&[
        "exec",
        "lab",
        "--json",
        "--timeout",
        "0.5",
        "print('first')\nwhile True: pass",
    ]);
    let failed = document(ran.expect(124));
    assert_eq!(failed["error"]["kind"], "time_limit");
    assert_eq!(failed["stdout"], "first\n");
}

fn interrupt() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "x = 1"]);
    let code = "x = 2\nprint('go', flush=True)\nwhile True: pass";
    let mut running = desk.start(&["exec", "lab", code]);
    // Before its first line an interrupt ends it without a traceback, and without that line.
    let mut go = [0; 3];
    let mut stdout = running.stdout.take().expect("a pipe");
    stdout.read_exact(&mut go).expect("it runs");
    signal(running.id(), Signal::INT);
    let ran: Ran = running.wait_with_output().expect("it ends").into();
    let ran = ran.expect(130);
    assert!(ran.stderr.contains("KeyboardInterrupt"), "{}", ran.stderr);
    assert_eq!(desk.says(&["exec", "lab", "x"]), "2\n");
    let running = desk.start(&["exec", "lab", "while True: pass"]);
    desk.until_running("lab");
    assert_eq!(desk.says(&["interrupt", "lab"]), "interrupted\n");
    let ran: Ran = running.wait_with_output().expect("it ends").into();
    ran.expect(130);
}

fn queued() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let long = "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass\n\
                print('whole')";
    let running = desk.start(&["exec", "lab", long]);
    desk.until_running("lab");
    for how in [Signal::KILL, Signal::INT] {
        let waiting = desk.start(&["exec", "lab", "x = 1"]);
        thread::sleep(Duration::from_millis(300));
        signal(waiting.id(), how);
        let ran: Ran = waiting.wait_with_output().expect("it ends").into();
        if how == Signal::INT {
            let ran = ran.expect(130);
            assert!(ran.stderr.contains("before it began"), "{}", ran.stderr);
        }
    }
    let ran: Ran = running.wait_with_output().expect("it ends").into();
    assert_eq!(ran.expect(0).text(), "whole\n");
    assert_eq!(desk.says(&["exec", "lab", "'x' in globals()"]), "False\n");
}

fn time_limit() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "x = 1"]);
    let late = desk.session(&[
        "exec",
        "lab",
        "--timeout",
        "0.5",
        "x = 2; print('begun')\nwhile True: pass",
    ]);
    let late = late.expect(124);
    assert_eq!(late.text(), "begun\n");
    assert!(
        late.stderr.contains("stands as it was before this command"),
        "{}",
        late.stderr
    );
    assert_eq!(desk.says(&["exec", "lab", "x"]), "1\n");
}

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
    let daemons = desk.daemons();
    assert_eq!(daemons.len(), 1);
    let vms = children_of(daemons[0]);
    assert!(vms.len() >= 3, "{vms:?}");
    signal(daemons[0], Signal::KILL);
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
    assert_ne!(desk.daemons(), daemons);
}

fn one_daemon() {
    let desk = Desk::new();
    let starting: Vec<Child> = (0..6)
        .map(|number| desk.start(&["create", "--name", &format!("s{number}")]))
        .collect();
    for client in starting {
        Ran::from(client.wait_with_output().expect("it ends")).expect(0);
    }
    assert_eq!(desk.daemons().len(), 1);
    assert_eq!(desk.list()["sessions"].as_array().map(Vec::len), Some(6));
    let asked = ukernel(desk.home.path(), &["serve", "--status", "--json"]).output();
    let status: Value =
        serde_json::from_slice(&Ran::from(asked.expect("it starts")).expect(0).stdout)
            .expect("JSON");
    assert_eq!(status["process"], desk.daemons()[0]);
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
