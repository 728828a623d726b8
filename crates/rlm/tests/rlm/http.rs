//! Host calls over HTTP: what is answered.

use crate::behaviours;
use crate::client::{Answered, post, query, request, send, send_raw};
use crate::ground::{Said, Scripted, config, runtime};
use serde_json::json;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use terraphim_rlm::{BridgeServer, Context, OpenCalls, Query, RlmConfig, SessionId, TerraphimRlm};

behaviours![
    a_query_over_http_is_answered_and_charged_to_its_session,
    an_execution_is_asked_for_over_http_while_it_runs,
    large_payloads_are_taken_and_too_large_ones_not,
    of_40_calls_at_once_16_are_answered_and_none_is_lost,
    a_python_process_of_the_host_asks,
];

/// A session whose calls are served.
pub struct Served {
    pub rlm: TerraphimRlm,
    pub server: BridgeServer,
    pub session: SessionId,
    pub calls: OpenCalls,
}

pub async fn served(config: RlmConfig, model: Arc<Scripted>) -> Served {
    let rlm = runtime(config, model).await;
    let local = "127.0.0.1:0".parse().expect("an address");
    let server = rlm.serve_calls(local).await.expect("a server");
    let session = rlm.create_session().await.expect("a session");
    let calls = rlm.open_calls(session).expect("open calls");
    Served {
        rlm,
        server,
        session,
        calls,
    }
}

impl Served {
    pub fn token(&self) -> &str {
        self.calls.token().as_str()
    }

    pub async fn query(&self, prompt: &str) -> Answered {
        query(&self.server, self.token(), prompt).await
    }

    pub async fn stop(self) {
        self.server.stop().await;
        self.rlm.stop().await;
    }
}

/// Waits for something that takes a moment.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = Instant::now();
    while !is_so() {
        assert!(waited.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether this is the last thing a model was asked.
pub fn was_asked(model: &Scripted, prompt: &str) -> bool {
    model.prompts().last().is_some_and(|last| last == prompt)
}

async fn a_query_over_http_is_answered_and_charged_to_its_session() {
    let small = RlmConfig {
        max_sub_calls: 3,
        ..config()
    };
    let served = served(small, Scripted::steps(&[])).await;
    let answered = served.query("ü?").await;
    assert_eq!(answered.status, 200);
    assert_eq!(answered.json(), json!({"results": [{"value": "echo: ü?"}]}));
    let code = "print(query_llm('from the VM'))";
    let result = served.rlm.execute_code(code, served.session).await;
    assert_eq!(result.expect("run").output.stdout, "echo: from the VM\n");
    assert_eq!(served.query("third").await.status, 200);
    let over = served.query("fourth").await.json()["results"][0]["error"].to_string();
    assert!(over.contains("sub-calls"), "one budget for both: {over}");
    let result = served.rlm.execute_code(code, served.session).await;
    let said = result.expect("run").output.stderr;
    assert!(said.contains("sub-calls"), "{said}");
    served.stop().await;
}

async fn an_execution_is_asked_for_over_http_while_it_runs() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.last) {
        (true, _) => "```python\nquery_llm('wait')\n```".into(),
        (false, "wait") => Said::After(Duration::from_secs(3), "waited".to_owned()),
        (false, other) => format!("echo: {other}").into(),
    });
    let Served {
        rlm,
        server,
        session,
        calls,
    } = served(config(), Arc::clone(&model)).await;
    let token = calls.token().as_str().to_owned();
    drop(calls);
    assert_eq!(query(&server, &token, "early").await.status, 401);
    let running = rlm.stream(Query {
        question: "What?".to_owned(),
        context: Context::text("notes", "some text"),
        session: Some(session),
        ..Query::default()
    });
    until("the code asks", || was_asked(&model, "wait")).await;
    let listed = post(&server, "contexts", &token, b"").await;
    let notes = json!({"name": "notes", "bytes": 9, "binary": false});
    assert_eq!(listed.json(), json!({"sources": [notes], "tools": []}));
    let piece = br#"{"source": 0, "offset": 5, "length": 99}"#;
    let piece = post(&server, "context", &token, piece).await;
    assert_eq!(piece.kind, "application/octet-stream");
    assert_eq!((piece.status, &piece.body[..]), (200, &b"text"[..]));
    assert_eq!(query(&server, &token, "now").await.status, 200);
    let answer = br#"{"text": "42", "value": 42}"#;
    assert_eq!(post(&server, "final", &token, answer).await.body, b"{}");
    let response = running.answer.await.expect("no panic").expect("an answer");
    assert_eq!(
        (response.answer.as_str(), response.spent.sub_calls),
        ("42", 2)
    );
    assert_eq!(query(&server, &token, "late").await.status, 401);
    server.stop().await;
    rlm.stop().await;
}

async fn large_payloads_are_taken_and_too_large_ones_not() {
    let rich = RlmConfig {
        max_total_tokens: 1 << 30,
        ..config()
    };
    let served = served(rich, Scripted::steps(&[])).await;
    let answered = served.query(&"x".repeat(10_000_000)).await;
    assert_eq!(answered.status, 200);
    assert!(answered.body.len() > 10_000_000, "all of it came back");
    let answered = served.query(&"x".repeat(17_000_000)).await;
    assert_eq!((answered.status, answered.took_all), (413, true));
    assert!(answered.error().contains("16 MiB"));
    // The same, without saying before how much it will be.
    let mut chunked = format!(
        "POST /v1/call/query_llm HTTP/1.1\r\nhost: x\r\nx-session-token: {}\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        served.token()
    )
    .into_bytes();
    for _ in 0..17 {
        chunked.extend_from_slice(b"f4240\r\n");
        chunked.extend_from_slice(&vec![b'x'; 1_000_000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answered = send(served.server.local_addr(), &chunked).await;
    let answered = answered.expect("an answer");
    assert_eq!((answered.status, answered.took_all), (413, true));
    served.stop().await;
}

async fn of_40_calls_at_once_16_are_answered_and_none_is_lost() {
    let model = Scripted::new(|_| Said::After(Duration::from_secs(1), "slowly".to_owned()));
    let served = served(config(), model.clone()).await;
    let asking = (0..40).map(|_| {
        let call = request("query_llm", served.token(), br#"{"prompts": ["?"]}"#);
        let address = served.server.local_addr();
        tokio::spawn(async move { send(address, &call).await.expect("an answer").status })
    });
    let asking: Vec<_> = asking.collect();
    let mut statuses = Vec::new();
    for status in asking {
        statuses.push(status.await.expect("no panic"));
    }
    let count = |status| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(429)), (16, 24), "{statuses:?}");
    assert_eq!(model.asked.lock().expect("a lock").len(), 16);
    assert_eq!(
        served.query("again").await.status,
        200,
        "there is room again"
    );
    let twice = request("query_llm", served.token(), br#"{"prompts": ["?"]}"#);
    let kept = String::from_utf8(twice.clone()).expect("text");
    let kept = kept.replace("connection: close\r\n", "");
    let both = [kept.as_bytes(), &twice].concat();
    let (said, _) = send_raw(served.server.local_addr(), &both).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2, "{said}");
    served.stop().await;
}

const PROGRAM: &str = r#"
import json, os, urllib.error, urllib.request
def call(name, payload):
    request = urllib.request.Request(os.environ["UKERNEL_BRIDGE_URL"] + "/v1/call/" + name,
        json.dumps(payload).encode(), {"X-Session-Token": os.environ["UKERNEL_SESSION_TOKEN"]})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)
print(call("query_llm", {"prompts": ["a", "b"], "schema": None})["results"])
try: call("final", {"text": ""})
except urllib.error.HTTPError as e: print(e.code, json.load(e)["error"])
"#;

/// Why a behaviour cannot be tried here, if so.
pub fn lack(name: &str) -> Option<String> {
    let is_needed = name == "a_python_process_of_the_host_asks";
    let found = is_needed.then(|| Command::new("python3").arg("--version").output());
    let is_missing = !found?.is_ok_and(|output| output.status.success());
    is_missing.then(|| format!("{name}: there is no python3"))
}

async fn a_python_process_of_the_host_asks() {
    let model = Scripted::steps(&[]);
    let served = served(config(), model.clone()).await;
    let mut python = Command::new("python3");
    python.args(["-c", PROGRAM]);
    let url = format!("http://{}", served.server.local_addr());
    python.env("UKERNEL_BRIDGE_URL", url);
    python.env("UKERNEL_SESSION_TOKEN", served.token());
    let ended = tokio::task::spawn_blocking(move || python.output()).await;
    let output = ended.expect("no panic").expect("python3");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "[{'value': 'echo: a'}, {'value': 'echo: b'}]\n422 the answer is empty\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(model.under_way.load(Ordering::SeqCst), 0);
    served.stop().await;
}
