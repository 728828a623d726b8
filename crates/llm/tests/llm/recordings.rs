//! What was recorded can be played.

use crate::support::wire::{KEY, Wire};
use crate::support::{Act, Server, answer, hello};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{
    FailureKind, GenericLlmClient, Message, Recorder, Redactor, ReplayClient, Request,
};

fn tape() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tape.jsonl");
    (folder, path)
}

fn asking(text: &str) -> Request {
    let mut request = hello(&Wire::OpenAi.model());
    request.messages.push(Message::user(text));
    request
}

/// A recorder of a client of this server.
fn recorder(path: &Path, server: &Server) -> Recorder {
    let config = Wire::OpenAi.config(server);
    let client = Arc::new(Wire::OpenAi.client(server));
    Recorder::append_to(path, client, config.redactor()).expect("a recorder")
}

#[tokio::test]
async fn a_recording_is_played_in_any_order() {
    let (_folder, path) = tape();
    let answers = [
        Wire::OpenAi.reply(&["first"]).into_bytes(),
        answer(404, "", "no such model"),
        Wire::OpenAi.reply(&["third"]).into_bytes(),
    ];
    let acts = answers.map(|bytes| vec![Act::Send(bytes)]);
    let server = Server::start(acts.to_vec()).await;
    let cancel = CancellationToken::new();
    let recorder = recorder(&path, &server);
    let first = recorder
        .complete(&asking("one"), &cancel)
        .await
        .expect("a reply");
    recorder
        .complete(&asking("two"), &cancel)
        .await
        .expect_err("a failure");
    let (sender, mut pieces) = mpsc::channel(8);
    recorder
        .stream(&asking("three"), sender, &cancel)
        .await
        .expect("a reply");
    assert_eq!(pieces.recv().await.as_deref(), Some("third"));
    assert_eq!(recorder.usage().calls, 3);

    let mode = std::fs::metadata(&path).expect("it").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let replay = ReplayClient::open(&path).expect("a replay");
    let third = replay
        .complete(&asking("three"), &cancel)
        .await
        .expect("a reply");
    assert_eq!(third.text, "third");
    let played = replay
        .complete(&asking("one"), &cancel)
        .await
        .expect("a reply");
    assert_eq!((played.text, played.usage), (first.text, first.usage));
    assert_eq!(played.model, "tiny-2");
    let error = replay
        .complete(&asking("two"), &cancel)
        .await
        .expect_err("a failure");
    assert_eq!(
        error.failure().expect("a failed call").kind,
        FailureKind::NotFound
    );
    assert_eq!(replay.remaining(), 0);
}

#[tokio::test]
async fn keys_are_not_recorded() {
    let (_folder, path) = tape();
    let text = format!("your key is {KEY}");
    let server = Server::sending(Wire::OpenAi.reply(&[&text])).await;
    let request = asking(&format!("Is {KEY} a good key?"));
    let reply = recorder(&path, &server)
        .complete(&request, &CancellationToken::new())
        .await;
    assert_eq!(reply.expect("a reply").text, text);
    let recorded = std::fs::read_to_string(&path).expect("it");
    assert!(!recorded.contains(KEY), "{recorded}");
    assert_eq!(recorded.matches("[secret]").count(), 2, "{recorded}");
}

#[tokio::test]
async fn what_a_crash_left_of_a_line_is_cut_off() {
    let (_folder, path) = tape();
    let server = Server::sending(Wire::OpenAi.reply(&["x"])).await;
    let cancel = CancellationToken::new();
    let one = recorder(&path, &server);
    one.complete(&asking("one"), &cancel)
        .await
        .expect("a reply");
    drop(one);
    let whole = std::fs::read_to_string(&path).expect("it");
    for cut in [1, 5, whole.len() / 2, whole.len() - 2] {
        std::fs::write(&path, whole.clone() + &whole[..cut]).expect("written");
        let two = recorder(&path, &server);
        two.complete(&asking("two"), &cancel)
            .await
            .expect("a reply");
        let replay = ReplayClient::open(&path).expect("a replay");
        assert_eq!(replay.remaining(), 2, "cut at {cut}");
    }
    // A last line that only lacks its line feed is kept.
    std::fs::write(&path, whole.trim_end()).expect("written");
    let two = recorder(&path, &server);
    two.complete(&asking("two"), &cancel)
        .await
        .expect("a reply");
    assert_eq!(ReplayClient::open(&path).expect("a replay").remaining(), 2);
}

#[tokio::test]
async fn a_file_that_is_no_recording_is_left_alone() {
    let (_folder, path) = tape();
    std::fs::write(&path, "dear diary").expect("written");
    let server = Server::sending("").await;
    let client = Arc::new(Wire::OpenAi.client(&server));
    let outcome = Recorder::append_to(&path, client, Redactor::default());
    assert!(
        outcome
            .err()
            .expect("refused")
            .to_string()
            .contains("no recording")
    );
    assert_eq!(std::fs::read_to_string(&path).expect("it"), "dear diary");
}

#[tokio::test]
async fn calls_side_by_side_do_not_mix_their_lines() {
    let (_folder, path) = tape();
    let server = Server::sending(Wire::OpenAi.reply(&["x"])).await;
    let recorder = Arc::new(recorder(&path, &server));
    let calls = (0..20).map(|number| {
        let recorder = recorder.clone();
        tokio::spawn(async move {
            let request = asking(&"long ".repeat(1000 + number));
            recorder.complete(&request, &CancellationToken::new()).await
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("it ran").expect("a reply");
    }
    assert_eq!(ReplayClient::open(&path).expect("a replay").remaining(), 20);
}

#[tokio::test]
async fn a_cancelled_call_is_not_recorded() {
    let (_folder, path) = tape();
    let server = Server::sending(Wire::OpenAi.reply(&["x"])).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let recorder = recorder(&path, &server);
    recorder
        .complete(&asking("one"), &cancel)
        .await
        .expect_err("cancelled");
    assert_eq!(std::fs::read_to_string(&path).expect("it"), "");
}

#[tokio::test]
async fn a_device_is_no_recording() {
    let server = Server::sending("").await;
    let client = Arc::new(Wire::OpenAi.client(&server));
    let outcome = Recorder::append_to(Path::new("/dev/null"), client, Redactor::default());
    let error = outcome.err().expect("refused").to_string();
    assert!(error.contains("no regular file"), "{error}");
}
