//! Tools of a caller: code in a VM asks for them by name.

use crate::behaviours;
use crate::ground::{Scripted, config, hasty, runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use terraphim_rlm::trajectory::Event;
use terraphim_rlm::{Query, RlmError, Tool, ToolCall};

behaviours![
    code_asks_a_tool_of_the_caller_by_name,
    a_name_is_taken_once,
    a_tool_ends_with_the_code_that_asked,
];

/// Counts the letters of its payload, and refuses an empty one.
struct Letters;

#[async_trait::async_trait]
impl Tool for Letters {
    async fn answer(&self, call: ToolCall) -> Result<Vec<u8>, String> {
        if call.payload.is_empty() {
            return Err("there is nothing to count".to_owned());
        }
        Ok(format!("{} in {}", call.payload.len(), call.session).into_bytes())
    }
}

async fn code_asks_a_tool_of_the_caller_by_name() {
    let model = Scripted::steps(&[
        "```python\nimport ukernel\nprint(ukernel.call('letters', b'four').decode())\n```",
        "FINAL(done)",
    ]);
    let rlm = runtime(config(), model).await;
    let session = rlm.create_session().await.expect("a session");
    let code = "import ukernel\nprint(ukernel.call('letters', b'four').decode())";
    let run = async || rlm.execute_code(code, session).await.expect("it runs");
    let unknown = run().await;
    assert!(!unknown.is_success(), "{unknown:?}");
    let said = unknown.output.stderr;
    assert!(said.contains("there is no host call `letters`"), "{said}");

    rlm.add_tool("letters", Arc::new(Letters)).expect("added");
    assert_eq!(run().await.output.stdout, format!("4 in {session}\n"));
    let refused = rlm.execute_code("ukernel.call('letters', b'')", session);
    let refused = refused.await.expect("it runs").output.stderr;
    assert!(refused.contains("there is nothing to count"), "{refused}");

    // A model's code finds it too, and the trajectory tells.
    let mut running = rlm.stream(Query {
        question: "How many letters?".to_owned(),
        ..Query::default()
    });
    let (mut asked, mut printed) = (false, String::new());
    while let Some(record) = running.events.recv().await {
        match record.event {
            Event::CallStarted { name, bytes, .. } => asked |= name == "letters" && bytes == 4,
            Event::CommandEnded(ended) => printed += &ended.stdout.unwrap_or_default(),
            _ => {}
        }
    }
    let answer = running.answer.await.expect("no panic").expect("an answer");
    assert_eq!(answer.answer, "done");
    assert!(asked && printed.starts_with("4 in "), "{printed}");
    rlm.stop().await;
}

async fn a_name_is_taken_once() {
    let rlm = runtime(config(), Scripted::steps(&[])).await;
    rlm.add_tool("letters", Arc::new(Letters)).expect("added");
    for name in [
        "letters",
        "query_llm",
        "final",
        "",
        "a/b",
        "a b",
        &"x".repeat(65),
    ] {
        let added = rlm.add_tool(name, Arc::new(Letters));
        assert!(matches!(added, Err(RlmError::Config(_))), "{name}");
    }
    rlm.stop().await;
}

/// Never answers, and notes when nobody waits any more.
struct Silent(Arc<AtomicBool>);

struct NoteEnd(Arc<AtomicBool>);

impl Drop for NoteEnd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl Tool for Silent {
    async fn answer(&self, _: ToolCall) -> Result<Vec<u8>, String> {
        let _end = NoteEnd(Arc::clone(&self.0));
        std::future::pending().await
    }
}

async fn a_tool_ends_with_the_code_that_asked() {
    let rlm = runtime(hasty(700), Scripted::steps(&[])).await;
    let has_ended = Arc::new(AtomicBool::new(false));
    let silent = Silent(Arc::clone(&has_ended));
    rlm.add_tool("silent", Arc::new(silent)).expect("added");
    let session = rlm.create_session().await.expect("a session");
    let code = "import ukernel; ukernel.call('silent', b'')";
    let ended = rlm.execute_code(code, session).await;
    assert!(matches!(ended, Err(RlmError::ExecutionTimeout { .. })));
    for _ in 0..100 {
        if has_ended.load(Ordering::SeqCst) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(has_ended.load(Ordering::SeqCst));
    rlm.stop().await;
}
