//! Conversations from files.

use crate::support::{LONG, hello};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{
    FailureKind, FinishReason, GenericLlmClient, LlmConfig, LlmError, Message, ModelName,
    ReplayClient, Reply, Request, Result, open,
};

/// A replay of these lines. The folder goes with the test.
fn replay(lines: &[&str]) -> (tempfile::TempDir, ReplayClient) {
    let (folder, path) = file(&lines.join("\n"));
    let client = ReplayClient::open(&path).expect("a replay");
    (folder, client)
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("talk.jsonl");
    std::fs::write(&path, text).expect("written");
    (folder, path)
}

fn asking(text: &str) -> Request {
    let mut request = hello("ollama/any");
    request.messages = vec![Message::system("Sums only."), Message::user(text)];
    request
}

async fn ask(client: &ReplayClient, text: &str) -> Result<Reply> {
    client
        .complete(&asking(text), &CancellationToken::new())
        .await
}

#[tokio::test]
async fn lines_are_played_in_their_order() {
    let (_folder, client) = replay(&[
        r#"{"version":1,"when":{"contains":["Sums","one"]},"reply":{"text":"1","usage":{"prompt_tokens":5,"completion_tokens":1},"model":"tiny"}}"#,
        "",
        r#"{"version":1,"when":{"last_contains":["two"]},"reply":{"text":"2","finish":"length"}}"#,
    ]);
    assert_eq!(client.remaining(), 2);
    let error = ask(&client, "two").await.expect_err("not yet").to_string();
    assert!(error.contains("line 1: `Sums` and `one`"), "{error}");
    assert!(error.contains("the last `two`"), "{error}");
    let first = ask(&client, "one").await.expect("a reply");
    assert_eq!((first.text.as_str(), first.model.as_str()), ("1", "tiny"));
    assert!(!first.usage.is_estimated);
    let second = ask(&client, "two").await.expect("a reply");
    assert_eq!(
        (second.text.as_str(), second.finish),
        ("2", FinishReason::Length)
    );
    assert!(
        second.usage.is_estimated,
        "usage that is absent is estimated"
    );
    assert_eq!(client.remaining(), 0);
    let error = ask(&client, "three")
        .await
        .expect_err("the end")
        .to_string();
    assert!(error.contains("all lines are played"), "{error}");
}

#[tokio::test]
async fn lines_of_any_order_wait_for_their_request() {
    let (_folder, client) = replay(&[
        r#"{"version":1,"when":{"contains":["b"]},"order":"any","reply":{"text":"B"}}"#,
        r#"{"version":1,"when":{"contains":["a"]},"order":"any","reply":{"text":"A"}}"#,
        r#"{"version":1,"when":{"contains":["again"]},"order":"any","repeat":true,"reply":{"text":"R"}}"#,
    ]);
    for (text, expected) in [("a", "A"), ("again", "R"), ("again", "R"), ("b", "B")] {
        assert_eq!(
            ask(&client, text).await.expect("a reply").text,
            expected,
            "{text}"
        );
    }
    let error = ask(&client, "b").await.expect_err("played once");
    assert!(matches!(error, LlmError::ReplayMismatch { .. }), "{error}");
    assert_eq!(client.usage().calls, 4);
}

#[tokio::test]
async fn a_mismatch_is_shortened() {
    let (_folder, client) =
        replay(&[r#"{"version":1,"when":{"contains":["a"]},"order":"any","reply":{"text":"A"}}"#]);
    let error = ask(&client, &"x\u{7}".repeat(100_000))
        .await
        .expect_err("a mismatch");
    let shown = error.to_string();
    assert!(
        shown.len() < 1500 && !shown.contains('\u{7}'),
        "{}",
        shown.len()
    );
}

#[tokio::test]
async fn failures_and_delays_are_played() {
    let (_folder, client) = replay(&[
        r#"{"version":1,"when":{},"delay_ms":50,"failure":{"kind":"rate_limited","message":"slow","status":429,"retry_after_ms":1500}}"#,
        r#"{"version":1,"when":{},"failure":{"kind":"broken_off","after":"half a\nreply"}}"#,
        r#"{"version":1,"when":{},"delay_ms":3600000,"reply":{"text":"late"}}"#,
    ]);
    let error = ask(&client, "x").await.expect_err("a failure");
    let failure = error.failure().expect("a failed call");
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::RateLimited, Some(429))
    );
    assert_eq!(failure.retry_after, Some(Duration::from_millis(1500)));

    let (sender, mut pieces) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let outcome = client.stream(&asking("x"), sender, &cancel).await;
    let error = outcome.expect_err("a failure");
    assert_eq!(
        error.failure().expect("a failed call").kind,
        FailureKind::BrokenOff
    );
    assert_eq!(pieces.recv().await.as_deref(), Some("half a\n"));
    assert_eq!(pieces.recv().await.as_deref(), Some("reply"));

    cancel.cancel();
    let request = asking("x");
    let call = client.complete(&request, &cancel);
    let outcome = tokio::time::timeout(LONG, call).await.expect("in time");
    let error = outcome.expect_err("cancelled");
    assert_eq!(
        error.failure().expect("a failed call").kind,
        FailureKind::Cancelled
    );
}

#[test]
fn a_replay_says_that_it_is_one() {
    let (_folder, path) = file(r#"{"version":1,"when":{},"reply":{"text":"x"}}"#);
    let model = ModelName::Replay(path);
    let client = open(LlmConfig::default(), &model).expect("a client");
    let info = client.model_info(&model).expect("it");
    let shown = info.origin.to_string();
    assert!(
        shown.contains("a replay of") && shown.contains("no model is asked"),
        "{shown}"
    );
}

#[test]
fn what_is_no_replay_is_refused_with_its_line() {
    let good = r#"{"version":1,"when":{},"reply":{"text":"x"}}"#;
    for (text, expected) in [
        (String::new(), "no line"),
        (format!("{good}\n{{\"version\":1"), "line 2"),
        (
            format!("{good}\n\n{{\"version\":7}}"),
            "line 3: it is of version 7",
        ),
    ] {
        let (_folder, path) = file(&text);
        let error = ReplayClient::open(&path).err().expect("none").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = ReplayClient::open("/nowhere/at/all".as_ref())
        .err()
        .expect("none");
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[test]
fn the_examples_of_the_documentation_are_replays() {
    let text = include_str!("../../../../docs/replay-format.md");
    let begin = text.find("```json\n").expect("an example") + "```json\n".len();
    let length = text[begin..].find("```").expect("its end");
    let (_folder, path) = file(&text[begin..begin + length]);
    let client = ReplayClient::open(&path).expect("a replay");
    assert_eq!(client.remaining(), 2, "the third repeats");
}
