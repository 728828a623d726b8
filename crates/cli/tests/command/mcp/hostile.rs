//! What no client should say, and what no other server should do.

use super::client::{Client, state};
use super::tools::configured;
use crate::desk::{eventually, is_alive};
use crate::ground::children_of;
use serde_json::{Value, json};
use std::time::Duration;

/// Lines that are no requests are passed over or answered with an error; the next request is answered.
pub fn garbage() {
    let home = state();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let lines: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"\"text\"".to_vec(),
        vec![0xff; 1000],
        deep.into_bytes(),
        br#"{"jsonrpc": "2.0"}"#.to_vec(),
        br#"{"jsonrpc": "1.0", "id": 1, "method": "ping"}"#.to_vec(),
        br#"{"jsonrpc": "2.0", "id": {}, "method": "tools/list"}"#.to_vec(),
        br#"{"jsonrpc": "2.0", "id": 1, "method": 7}"#.to_vec(),
        br#"{"jsonrpc": "2.0", "id": "x", "method": "no/such"}"#.to_vec(),
        br#"{"jsonrpc": "2.0", "id": 5, "result": {}}"#.to_vec(),
        vec![b' '; 20 << 20],
    ];
    let mut client = Client::older(home.path(), json!({}));
    for line in &lines {
        client.send_line(line);
    }
    let listed = client.ask("tools/list", json!({}));
    assert_eq!(
        listed["result"]["tools"].as_array().map(Vec::len),
        Some(6),
        "{listed}"
    );
    // The same id twice: each is answered.
    for _ in 0..2 {
        client.send(&json!({"jsonrpc": "2.0", "id": "same", "method": "tools/list", "params": {}}));
    }
    for _ in 0..2 {
        assert_eq!(client.hear()["id"], "same");
    }
    let unknown = client.ask("tools/call", json!({"name": "rlm_magic", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    for params in [
        json!({}),
        json!({"name": 7}),
        json!({"name": "rlm_code", "arguments": 7}),
    ] {
        let refused = client.ask("tools/call", params.clone());
        assert!(refused["error"]["code"].is_i64(), "{params}: {refused}");
    }
    assert_eq!(client.close(), Some(0));
    // What begins with no request ends the server, and says so by its code.
    let mut client = Client::silent(home.path());
    client.send_line(b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"meth");
    assert!(client.close().is_some());
}

pub fn arguments() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    for (tool, arguments) in [
        ("rlm_code", json!({})),
        ("rlm_code", json!({"code": 7})),
        ("rlm_code", json!({"code": "1", "other": 1})),
        ("rlm_code", json!({"code": "1", "timeout_s": 0})),
        ("rlm_code", json!({"code": "1", "timeout_s": -1})),
        ("rlm_code", json!({"code": "1", "wait_s": 1e9})),
        ("rlm_bash", json!({"command": null})),
        ("rlm_query", json!({"question": ["?"]})),
        ("rlm_context", json!({"action": "burn"})),
        ("rlm_context", json!({"action": "get", "name": "x"})),
        ("rlm_context", json!({"action": "set", "value": "x"})),
        ("rlm_snapshot", json!({"action": "create"})),
        ("rlm_status", json!({"task": "t_none"})),
    ] {
        let result = client.call(tool, arguments.clone());
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result}");
        let error = &result["structuredContent"]["error"];
        assert_eq!(
            error["name"], "invalid_arguments",
            "{tool} {arguments}: {result}"
        );
    }
    for handle in ["", "s_0", "../x", &"s".repeat(1 << 20), "s_\u{0}"] {
        let result = client.call("rlm_code", json!({"code": "1", "session": handle}));
        let error = &result["structuredContent"]["error"];
        assert_eq!(error["name"], "session_not_found", "{result}");
    }
    let empty = client.call("rlm_query", json!({"question": " ", "wait_s": 60}));
    assert_eq!(
        empty["structuredContent"]["error"]["name"], "config",
        "{empty}"
    );
    for name in ["", "1x", "a b", "import os", &"x".repeat(1000)] {
        let asked = json!({"action": "set", "name": name, "value": "x"});
        let result = client.call("rlm_context", asked);
        assert_eq!(result["isError"], true, "{name}: {result}");
    }
}

pub fn long_code() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    let code = format!("x = '{}'\nlen(x)", "a".repeat(10 << 20));
    let done = client.done("rlm_code", json!({"code": code}));
    assert_eq!(done["value"], (10 << 20).to_string());
}

/// Whether it closes standard input in the middle or says nothing any more: no VM is left.
pub fn leaves() {
    let home = state();
    let mut client = Client::latest(home.path(), json!({}));
    client.done("rlm_code", json!({"code": "1"}));
    client.begin(
        "tools/call",
        json!({"name": "rlm_code", "arguments": {"code": "while True: pass"}}),
    );
    let server = client.process();
    eventually("a VM runs", || !children_of(server).is_empty());
    let vms = children_of(server);
    assert_eq!(client.close(), Some(0));
    eventually("no VM is left", || !vms.iter().any(|vm| is_alive(*vm)));
    // One that never reads holds up nobody but itself.
    let mut client = Client::latest(home.path(), json!({}));
    let code = "print('x' * 60_000)";
    for _ in 0..50 {
        client.begin(
            "tools/call",
            json!({"name": "rlm_code", "arguments": {"code": code, "session": "s_0"}}),
        );
    }
    let server = client.process();
    client.kill();
    eventually("it is gone", || !is_alive(server));
}

pub fn upstream() {
    let home = state();
    let config = configured(home.path(), "timeout_ms = 3000\nmax_calls = 8\n");
    let mut client = Client::latest_with(home.path(), json!({}), &["--config", &config], &[]);
    let code = "def told(call):\n\
        \x20   try: return call()\n\
        \x20   except Exception as error: return str(error)\n\
        [told(lambda name=name: getattr(tools.small, name)(text='x')) for name in ('hang', 'echo', 'die', 'echo', 'flood', 'echo')]";
    let done = client.done("rlm_code", json!({"code": code, "wait_s": 120}));
    let value = done["value"].as_str().expect("a list");
    let told: Vec<&str> = value.trim_matches(['[', ']']).split("', '").collect();
    assert_eq!(told.len(), 6, "{value}");
    assert!(told[0].contains("did not answer within 3s"), "{value}");
    assert_eq!(told[1], "x", "{value}");
    assert!(told[2].contains("small"), "{value}");
    assert_eq!(told[3], "x", "it is started again: {value}");
    assert!(told[4].contains("small"), "100 MB are refused: {value}");
    assert!(told[5].starts_with('x'), "{value}");
    let session = &done["session"];
    let code = "n = 0\nwhile n < 100:\n    tools.small.echo(text='x')\n    n += 1";
    let bounded = client.call("rlm_code", json!({"code": code, "session": session}));
    let text = bounded["content"][0]["text"].as_str().expect("text");
    assert!(text.contains("may make no more"), "{text}");
    // Code that waits for a server that hangs is cancelled all the same.
    let hanging = json!({"code": "tools.small.hang(text='x')", "timeout_s": 1});
    let late: Value = client.call("rlm_code", hanging);
    assert_eq!(
        late["structuredContent"]["error"]["name"], "execution_timeout",
        "{late}"
    );
    assert!(client.hears_within(Duration::from_millis(10)).is_none());
}
