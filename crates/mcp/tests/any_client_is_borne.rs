//! Whatever a client sends, the server neither ends nor hangs: the next request is answered.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use terraphim_mcp_server::{McpServer, Open, Options};
use terraphim_rlm::RlmError;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, split};

/// Requests that make sense, to be spoiled.
fn requests() -> Vec<Value> {
    let call = |name: &str, arguments: Value| json!({"method": "tools/call", "params": {"name": name, "arguments": arguments}});
    let mut requests = vec![
        call(
            "rlm_code",
            json!({"code": "1", "session": "s_1", "timeout_s": 1, "wait_s": 0}),
        ),
        call("rlm_bash", json!({"command": "ls", "session": "s_1"})),
        call(
            "rlm_query",
            json!({"question": "?", "context": "c", "schema": {"type": "object"}, "wait_s": 0}),
        ),
        call(
            "rlm_context",
            json!({"action": "set", "name": "x", "value": "v"}),
        ),
        call(
            "rlm_snapshot",
            json!({"action": "create", "name": "n", "session": "s_1"}),
        ),
        call(
            "rlm_status",
            json!({"task": "t_1", "cancel": true, "resume": true, "wait_s": 0}),
        ),
        json!({"method": "tools/list", "params": {"cursor": "x"}}),
        json!({"method": "resources/read", "params": {"uri": "ukernel://sessions/s/files/x?offset=1"}}),
        json!({"method": "resources/list"}),
        json!({"method": "tasks/get", "params": {"taskId": "t_1"}}),
        json!({"method": "tasks/update", "params": {"taskId": "t_1", "inputResponses": {"terms": {}}}}),
        json!({"method": "server/discover", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}}),
        json!({"method": "notifications/cancelled", "params": {"requestId": 7, "reason": "x"}}),
        json!({"method": "initialize", "params": {"protocolVersion": "1", "capabilities": {}, "clientInfo": {}}}),
    ];
    for (number, request) in requests.iter_mut().enumerate() {
        request["jsonrpc"] = json!("2.0");
        request["id"] = json!(number % 5);
    }
    requests
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from("x".repeat(100_000))),
    ];
    leaf.prop_recursive(40, 64, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_]{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Replaces what is at the end of a way through a document.
fn spoil(value: &mut Value, way: &[prop::sample::Index], with: Value) {
    let Some((step, rest)) = way.split_first() else {
        *value = with;
        return;
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let at = step.index(map.len());
            if let Some(inner) = map.values_mut().nth(at) {
                spoil(inner, rest, with);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step.index(items.len());
            spoil(&mut items[at], rest, with);
        }
        _ => *value = with,
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let spoiled = (
        prop::sample::select(requests()),
        vec(any::<prop::sample::Index>(), 0..4),
        any_value(),
    )
        .prop_map(|(mut request, way, with)| {
            spoil(&mut request, &way, with);
            request.to_string().into_bytes()
        })
        .boxed();
    prop_oneof![
        4 => spoiled.clone(),
        1 => (spoiled, any::<prop::sample::Index>()).prop_map(|(mut text, cut)| {
            text.truncate(cut.index(text.len().max(1)));
            text
        }),
        1 => vec(any::<u8>(), 0..200),
    ]
}

/// A server without a runtime, on the other end.
fn serve(folder: &std::path::Path) -> DuplexStream {
    use rmcp::ServiceExt;
    let open: Open = Arc::new(|| Box::pin(async { Err(RlmError::internal("there is none")) }));
    let server = McpServer::new(open, Options::new(folder.to_owned())).expect("a folder");
    let (near, far) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let service = server.serve(far).await.expect("it begins");
        let _ = service.waiting().await;
    });
    near
}

async fn bear(lines: Vec<Vec<u8>>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (read, mut write) = split(serve(folder.path()));
    let hello = json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    }});
    let begun = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let last = json!({"jsonrpc": "2.0", "id": "last", "method": "tools/list"});
    let mut text = format!("{hello}\n{begun}\n").into_bytes();
    for line in lines {
        text.extend(line.into_iter().filter(|byte| *byte != b'\n'));
        text.push(b'\n');
    }
    text.extend(format!("{last}\n").into_bytes());
    let sending = tokio::spawn(async move {
        write.write_all(&text).await.expect("taken");
        write
    });
    let mut said = BufReader::new(read).lines();
    while let Some(line) = said.next_line().await.expect("text") {
        let message: Value = serde_json::from_str(&line).expect("JSON");
        if message["id"] == "last" {
            assert_eq!(message["result"]["tools"].as_array().map(Vec::len), Some(6));
            let _ = sending.await;
            return;
        }
        let is_typed = message["error"].is_null()
            || message["error"]["code"].is_i64() && message["error"]["message"].is_string();
        assert!(is_typed, "{message}");
    }
    panic!("the server has ended");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_the_next_request_is_answered(lines in vec(line(), 0..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let borne = tokio::time::timeout(Duration::from_secs(30), bear(lines));
            borne.await.expect("in time");
        });
    }
}

/// A frame that is cut in the middle, and a client that is gone then, end the server and nothing else.
#[tokio::test]
async fn a_frame_cut_in_the_middle_is_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut read, mut write) = split(serve(folder.path()));
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    }});
    let text = format!("{hello}\n{{\"jsonrpc\": \"2.0\", \"id\": 2, \"met");
    write.write_all(text.as_bytes()).await.expect("taken");
    write.shutdown().await.expect("closed");
    let mut said = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(30), read.read_to_string(&mut said));
    ended.await.expect("in time").expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
}
