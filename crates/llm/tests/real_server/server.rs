//! A process that serves the model, and what can be done to it.

use super::install::{self, Installed};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// Longer than anything here takes on a loaded host; what waits so long has failed.
pub const LONG: Duration = Duration::from_secs(60);

/// How a server is started.
pub struct Options {
    /// Tokens of all slots together.
    pub context: u32,
    /// Replies that are computed at the same time.
    pub slots: u32,
    /// Its key, if it wants one.
    pub key: Option<&'static str>,
}

impl Default for Options {
    /// Contexts that take longer to fill than any test lasts.
    fn default() -> Self {
        Self {
            context: 65_536,
            slots: 4,
            key: None,
        }
    }
}

/// A server. Dropped, it is killed; should it not come to that, it ends with our end of its
/// standard input.
pub struct Server {
    /// `http://127.0.0.1:PORT`
    pub address: String,
    key: Option<&'static str>,
    process: Mutex<Child>,
    log: NamedTempFile,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// One that is healthy.
    ///
    /// # Panics
    /// If it does not get there. What it said is shown.
    pub fn start(installed: &Installed, options: &Options) -> Self {
        let log = NamedTempFile::new().expect("a file");
        let mut process = install::python()
            .env("PYTHONPATH", &installed.packages)
            .arg(install::script("serve.py"))
            .arg(&installed.model)
            .args([options.context.to_string(), options.slots.to_string()])
            .args(options.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().expect("its file"))
            .spawn()
            .expect("a process");
        let stdout = process.stdout.take().expect("its output");
        let mut server = Self {
            address: String::new(),
            key: options.key,
            process: Mutex::new(process),
            log,
        };
        match first_line(stdout) {
            Some(address) => server.address = address,
            None => panic!("no server:\n{}", server.log()),
        }
        let is_healthy = || matches!(server.get("/health"), Ok(answer) if is_fine(&answer));
        assert!(wait_until(is_healthy), "not healthy:\n{}", server.log());
        server
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        let mut process = self.process.lock().expect("not poisoned");
        let _ = process.kill();
        let _ = process.wait();
    }

    /// Stops it from running, or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        let process = self.process.lock().expect("not poisoned");
        let signal = if is_frozen {
            Signal::STOP
        } else {
            Signal::CONT
        };
        kill_process(Pid::from_child(&process), signal).expect("a signal");
    }

    /// Waits until it computes nothing any more.
    pub fn wait_until_idle(&self) -> Result<(), String> {
        let is_idle = || {
            let slots = self.get("/slots").unwrap_or_default();
            is_fine(&slots) && !slots.contains("\"is_processing\":true")
        };
        match wait_until(is_idle) {
            true => Ok(()),
            false => Err(format!("the server does not come to rest:\n{}", self.log())),
        }
    }

    /// The answer to a GET, headers and all.
    fn get(&self, path: &str) -> std::io::Result<String> {
        let host = self.address.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(LONG))?;
        let key = self.key.unwrap_or("none");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let file = File::open(self.log.path());
        let _ = file.and_then(|mut file| file.read_to_string(&mut text));
        text
    }
}

fn is_fine(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

/// The first line a process says, if it says one in time.
fn first_line(stdout: ChildStdout) -> Option<String> {
    let (said, line) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let mut lines = BufReader::new(stdout);
        if lines.read_line(&mut text).is_ok_and(|bytes| bytes > 0) {
            let _ = said.send(text.trim().to_owned());
        }
        // Read on, so that it never waits for room to write.
        let _ = std::io::copy(&mut lines, &mut std::io::sink());
    });
    line.recv_timeout(LONG).ok()
}

fn wait_until(is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}
