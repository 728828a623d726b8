//! Streamable HTTP, by hand.

use super::client::{LATEST, state};
use crate::ground::ukernel;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

pub const FIRST: &str = "first-token-0123456789abcdef0123456789";
const SECOND: &str = "second-token-0123456789abcdef012345678";

/// A server that listens.
pub struct Served {
    child: Child,
    pub address: String,
}

impl Served {
    fn start(home: &Path, words: &[&str]) -> Self {
        let words: Vec<&str> = ["mcp", "--http", "127.0.0.1:0"]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let mut child = ukernel(home, &words)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut address = None;
        while address.is_none() {
            let mut line = String::new();
            assert!(said.read_line(&mut line).expect("text") > 0, "it ended");
            address = line
                .split_once("http://")
                .and_then(|(_, rest)| rest.split_once("/mcp"))
                .map(|(address, _)| address.to_owned());
        }
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        Self {
            child,
            address: address.expect("found"),
        }
    }

    pub fn with_tokens(home: &Path) -> Self {
        let file = home.join("tokens");
        std::fs::write(&file, format!("{FIRST}\n{SECOND}\n")).expect("written");
        Self::start(home, &["--token-file", &file.to_string_lossy()])
    }

    /// Sends a request and gives its status and body.
    fn send(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = self.open(head, body);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        (status.expect("a status"), body.unwrap_or_default())
    }

    fn open(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(120)))
            .expect("a time-out");
        let has_host = head.to_ascii_lowercase().contains("host:");
        let host = if has_host {
            String::new()
        } else {
            format!("Host: {}\r\n", self.address)
        };
        let request = format!(
            "POST /mcp HTTP/1.1\r\n{host}{head}Connection: close\r\n\
             Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // A server that refuses what it has not read closes the connection.
        let _ = stream.write_all(request.as_bytes());
        stream
    }

    fn call_head(token: &str, tool: &str) -> String {
        format!(
            "Authorization: Bearer {token}\r\nMCP-Protocol-Version: {LATEST}\r\n\
             Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
        )
    }

    fn call(&self, token: &str, tool: &str, arguments: &Value) -> Value {
        let (status, body) = self.send(&Self::call_head(token, tool), &call(tool, arguments));
        assert_eq!(status, 200, "{body}");
        let line = body.lines().rev().find_map(|line| {
            let text = line.strip_prefix("data:").unwrap_or(line).trim();
            text.starts_with("{\"jsonrpc\"").then_some(text)
        });
        let message: Value = serde_json::from_str(line.expect("a message")).expect("JSON");
        message["result"].clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // One that has ended is not there to be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn call(tool: &str, arguments: &Value) -> String {
    json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": arguments,
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": LATEST,
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    })
    .to_string()
}

pub fn tokens() {
    let home = state();
    let served = Served::with_tokens(home.path());
    let body = call("rlm_status", &json!({}));
    let plain = format!(
        "MCP-Protocol-Version: {LATEST}\r\nMcp-Method: tools/call\r\nMcp-Name: rlm_status\r\n"
    );
    for head in [
        String::new(),
        "Authorization: Bearer wrong\r\n".to_owned(),
        format!("Authorization: Basic {FIRST}\r\n"),
        format!("Authorization: Bearer {FIRST}x\r\n"),
    ] {
        let (status, _) = served.send(&format!("{head}{plain}"), &body);
        assert_eq!(status, 401, "{head}");
    }
    let good = Served::call_head(FIRST, "rlm_status");
    assert_eq!(served.send(&good, &body).0, 200);
    let rebound = format!("{good}Host: evil.example\r\n");
    assert_eq!(served.send(&rebound, &body).0, 403);
    let page = format!("{good}Origin: https://evil.example\r\n");
    assert_eq!(served.send(&page, &body).0, 403);
    let mut refused = String::new();
    let mut stream = served.open(&good, &"x".repeat(30 << 20));
    // The answer may be lost with the connection, when more comes than was read.
    let _ = stream.read_to_string(&mut refused);
    assert!(refused.is_empty() || refused.contains(" 413 "), "{refused}");
    // Without a file a token is made, private and the same the next time.
    drop(served);
    let served = Served::start(home.path(), &[]);
    let file = home.path().join("mcp/token");
    let token = std::fs::read_to_string(&file).expect("made");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    served.call(token.trim(), "rlm_status", &json!({}));
    drop(served);
    let open = Served::start(home.path(), &["--no-token"]);
    assert_eq!(open.send(&plain, &body).0, 200);
    let refused = ukernel(home.path(), &["mcp", "--http", "0.0.0.0:0", "--no-token"]);
    let refused: crate::ground::Ran = { refused }.output().expect("it starts").into();
    assert!(refused.expect(3).stderr.contains("other machines"));
}

pub fn handles() {
    let home = state();
    let served = Served::with_tokens(home.path());
    let made = served.call(FIRST, "rlm_code", &json!({"code": "x = 1"}));
    let session = &made["structuredContent"]["session"];
    let asked = json!({"code": "x", "session": session});
    let own = served.call(FIRST, "rlm_code", &asked);
    assert_eq!(own["structuredContent"]["value"], "1", "{own}");
    let foreign = served.call(SECOND, "rlm_code", &asked);
    let error = &foreign["structuredContent"]["error"];
    assert_eq!(error["name"], "session_not_found", "{foreign}");
    let listed = served.call(SECOND, "rlm_status", &json!({}));
    assert_eq!(
        listed["structuredContent"]["sessions"],
        json!([]),
        "{listed}"
    );
    let slow = json!({"code": "import time\ntime.sleep(2)", "wait_s": 0});
    let task = served.call(FIRST, "rlm_code", &slow)["structuredContent"]["task"].clone();
    let foreign = served.call(SECOND, "rlm_status", &json!({"task": task, "cancel": true}));
    assert_eq!(foreign["isError"], true, "{foreign}");
    let own = served.call(FIRST, "rlm_status", &json!({"task": task, "wait_s": 60}));
    assert_eq!(own["structuredContent"]["status"], "completed", "{own}");
}

/// A client that is gone before its answer: what was no task yet is interrupted, a task goes on.
pub fn disconnected() {
    let home = state();
    let served = Served::with_tokens(home.path());
    let made = served.call(FIRST, "rlm_code", &json!({"code": "x = 5"}));
    let session = made["structuredContent"]["session"].clone();
    let endless = json!({"code": "while True: pass", "session": session, "wait_s": 60});
    let head = Served::call_head(FIRST, "rlm_code");
    drop(served.open(&head, &call("rlm_code", &endless)));
    let after = served.call(
        FIRST,
        "rlm_code",
        &json!({"code": "x", "session": session, "wait_s": 60}),
    );
    assert_eq!(after["structuredContent"]["value"], "5", "{after}");
    let slow = json!({"code": "import time\ntime.sleep(2)\n'late'", "wait_s": 0});
    let task = served.call(FIRST, "rlm_code", &slow)["structuredContent"]["task"].clone();
    drop(served.open(
        &head,
        &call("rlm_status", &json!({"task": task, "wait_s": 60})),
    ));
    let found = served.call(FIRST, "rlm_status", &json!({"task": task, "wait_s": 60}));
    assert_eq!(
        found["structuredContent"]["result"]["value"], "'late'",
        "{found}"
    );
}
