//! A client that says exactly what it is told to.

use crate::ground::{home, ukernel};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The revision of the protocol without `initialize`.
pub const LATEST: &str = "2026-07-28";

/// A server on its standard streams.
pub struct Client {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next: u64,
    /// What each request says of this client, on the latest revision; nothing on older ones.
    capabilities: Option<Value>,
    /// What came that was no answer.
    pub notices: Vec<Value>,
}

/// A folder of state over the store that all tests share.
pub fn state() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(home().join("store"), folder.path().join("store")).expect("a link");
    folder
}

impl Client {
    fn start(home: &Path, words: &[&str], environment: &[(&str, &str)]) -> Self {
        let words: Vec<&str> = std::iter::once("mcp")
            .chain(words.iter().copied())
            .collect();
        let mut child = ukernel(home, &words)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            next: 0,
            capabilities: None,
            notices: Vec::new(),
        }
    }

    /// A client of the latest revision.
    pub fn latest(home: &Path, capabilities: Value) -> Self {
        Self::latest_with(home, capabilities, &[], &[])
    }

    pub fn latest_with(
        home: &Path,
        capabilities: Value,
        words: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut client = Self::start(home, words, environment);
        client.capabilities = Some(capabilities);
        client
    }

    /// A client of revision 2025-11-25, which has shaken hands.
    pub fn older(home: &Path, capabilities: Value) -> Self {
        let mut client = Self::start(home, &[], &[]);
        let begun = client.ask(
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": capabilities,
                "clientInfo": {"name": "test", "version": "1"},
            }),
        );
        assert_eq!(begun["result"]["protocolVersion"], "2025-11-25", "{begun}");
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    /// Nothing is said yet.
    pub fn silent(home: &Path) -> Self {
        Self::start(home, &[], &[])
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&mut self, message: &Value) {
        self.send_line(message.to_string().as_bytes());
    }

    pub fn send_line(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("open");
        input.write_all(line).expect("sent");
        input.write_all(b"\n").expect("sent");
        input.flush().expect("sent");
    }

    /// The next line that came.
    pub fn hear(&mut self) -> Value {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .expect("an answer in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Whether something comes within this time.
    pub fn hears_within(&mut self, time: Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    pub fn begin(&mut self, method: &str, mut params: Value) -> u64 {
        self.next += 1;
        if let Some(capabilities) = &self.capabilities {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": LATEST,
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": capabilities,
            });
            for (key, value) in meta.as_object().expect("an object") {
                params["_meta"][key] = value.clone();
            }
        }
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// The answer to a request.
    pub fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.hear();
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            self.notices.push(message);
        }
    }

    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer(id)
    }

    /// The result of a tool call.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}));
        assert!(answer["error"].is_null(), "{tool}: {answer}");
        answer["result"].clone()
    }

    /// The structured content of a tool call that went well.
    pub fn done(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        result["structuredContent"].clone()
    }

    /// Closes standard input and waits for the end.
    pub fn close(mut self) -> Option<i32> {
        drop(self.input.take());
        self.child.wait().expect("it ends").code()
    }

    /// Ends the server at once.
    pub fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // One that has ended is not there to be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
