//! A home with a daemon of its own, and short ways to use it.

use crate::ground::{Ran, home, ukernel};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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

    pub fn list(&self) -> Value {
        serde_json::from_str(&self.says(&["list", "--json"])).expect("JSON")
    }

    pub fn until_running(&self, name: &str) {
        eventually("it runs", || {
            self.list()["sessions"]
                .as_array()
                .expect("a list")
                .iter()
                .any(|session| session["name"] == name && session["is_running"] == true)
        });
    }

    /// Processes of daemons of this home.
    pub fn daemons(&self) -> Vec<u32> {
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

    /// The daemon. A command that found it taken may still be ending, and a VM's process is a copy
    /// of the daemon until it has become itself: both are seen for a moment.
    pub fn daemon(&self) -> u32 {
        let mut seen = Vec::new();
        eventually("one daemon serves", || {
            seen = self.daemons();
            seen.len() == 1
        });
        seen[0]
    }

    pub fn stop(&self) {
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

pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "not in time: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(process.expect("a process"), signal).expect("it is there");
}

pub fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}/exe")).exists()
        && fs::read_link(format!("/proc/{process}/exe")).is_ok()
}
