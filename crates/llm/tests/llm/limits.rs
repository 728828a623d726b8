//! Every call is bounded in time and size, and ends when it is told to.

use crate::support::wire::{ALL, Wire};
use crate::support::{Act, LONG, Server, answer, client_of, hello};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use ukernel_llm::{Failure, FailureKind, GenericLlmClient, LlmConfig};

async fn failure_under(config: LlmConfig, wire: Wire) -> Failure {
    let client = client_of(config);
    let request = hello(&wire.model());
    let cancel = CancellationToken::new();
    let call = client.complete(&request, &cancel);
    let outcome = tokio::time::timeout(LONG, call).await.expect("in time");
    outcome
        .expect_err("a failure")
        .failure()
        .expect("a failed call")
        .clone()
}

#[tokio::test]
async fn a_server_that_never_answers_meets_the_time_limit() {
    for wire in ALL {
        let server = Server::start(vec![vec![Act::Hang]]).await;
        let mut config = wire.config(&server);
        config.limits.request_timeout_ms = 1500;
        let failure = failure_under(config, wire).await;
        assert_eq!(failure.kind, FailureKind::TimeOut, "{wire:?}");
        assert_eq!(failure.attempts, 1, "it is not tried again");
        assert!(
            failure
                .usage
                .expect("it may have cost something")
                .is_estimated
        );
        let closing = server.closed.notified();
        tokio::time::timeout(LONG, closing)
            .await
            .expect("the connection was closed");
    }
}

#[tokio::test]
async fn a_stream_that_stops_meets_the_stall_limit() {
    for wire in ALL {
        let begin = wire.head() + &wire.begin() + &wire.piece("and then");
        let server = Server::start(vec![vec![Act::Send(begin.into_bytes()), Act::Hang]]).await;
        let mut config = wire.config(&server);
        config.limits.stall_timeout_ms = 300;
        let failure = failure_under(config, wire).await;
        assert_eq!(failure.kind, FailureKind::Stalled, "{wire:?}: {failure}");
        assert_eq!(failure.attempts, 1);
        let closing = server.closed.notified();
        tokio::time::timeout(LONG, closing)
            .await
            .expect("the connection was closed");
    }
}

#[tokio::test]
async fn a_reply_of_ten_megabytes_is_refused() {
    let text = "x".repeat(100_000);
    let many: Vec<&str> = (0..100).map(|_| text.as_str()).collect();
    let single = "y".repeat(10_000_000);
    let in_many_pieces = ALL.map(|wire| (wire, wire.reply(&many)));
    // The library takes seconds for such a line, so one protocol has to do.
    let in_a_single_one = (Wire::OpenAi, Wire::OpenAi.reply(&[&single]));
    for (wire, bytes) in in_many_pieces.into_iter().chain([in_a_single_one]) {
        let server = Server::sending(bytes).await;
        let failure = failure_under(wire.config(&server), wire).await;
        assert_eq!(failure.kind, FailureKind::TooLong, "{wire:?}: {failure}");
        let hint = failure.kind.hint().expect("a hint");
        assert!(hint.contains("max_reply_bytes"), "{hint}");
        assert!(failure.usage.expect("it was charged").completion_tokens > 250_000);
    }
}

#[tokio::test]
async fn a_limit_that_fits_lets_a_long_reply_through() {
    let text = "x".repeat(2_000_000);
    let server = Server::sending(Wire::OpenAi.reply(&[&text])).await;
    let mut config = Wire::OpenAi.config(&server);
    config.limits.max_reply_bytes = 2_000_000;
    let request = hello(&Wire::OpenAi.model());
    let reply = client_of(config)
        .complete(&request, &CancellationToken::new())
        .await;
    assert_eq!(reply.expect("a reply").text.len(), 2_000_000);
}

#[tokio::test]
async fn an_error_of_ten_megabytes_is_shortened() {
    let body = "x".repeat(10_000_000);
    let server = Server::sending(answer(400, "", &body)).await;
    let failure = failure_under(Wire::OpenAi.config(&server), Wire::OpenAi).await;
    assert!(failure.message.len() < 1000, "{}", failure.message.len());
}

#[tokio::test]
async fn cancelling_ends_the_call_and_its_connection_at_once() {
    for wire in ALL {
        let begin = wire.head() + &wire.begin() + &wire.piece("never ");
        // Before anything came, and in the middle of a reply.
        for acts in [
            vec![Act::Hang],
            vec![Act::Send(begin.into_bytes()), Act::Hang],
        ] {
            let has_begun = acts.len() > 1;
            let server = Server::start(vec![acts]).await;
            let client = wire.client(&server);
            let (sender, mut pieces) = mpsc::channel(8);
            let (request, cancel) = (hello(&wire.model()), CancellationToken::new());
            let calling = client.stream(&request, sender, &cancel);
            let cancelling = async {
                if has_begun {
                    pieces.recv().await.expect("a piece");
                }
                while server.requests().is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                cancel.cancel();
                Instant::now()
            };
            let both = async { tokio::join!(calling, cancelling) };
            let (outcome, cancelled) = tokio::time::timeout(LONG, both).await.expect("in time");
            let error = outcome.expect_err("cancelled");
            let failure = error.failure().expect("a failed call");
            assert_eq!(failure.kind, FailureKind::Cancelled, "{wire:?}");
            assert!(failure.usage.is_some(), "it may have cost something");
            let closing = server.closed.notified();
            tokio::time::timeout(LONG, closing)
                .await
                .expect("the connection was closed");
            // The limits of the client are longer, so it was not one of them.
            assert!(cancelled.elapsed() < Duration::from_secs(10), "{wire:?}");
        }
    }
}

#[tokio::test]
async fn cancelling_ends_the_wait_between_attempts() {
    let server = Server::sending(answer(503, "retry-after: 1800\r\n", "")).await;
    let mut config = Wire::OpenAi.config(&server);
    config.retry.max_wait_ms = 3_600_000;
    config.retry.max_total_wait_ms = 3_600_000;
    let client = client_of(config);
    let (request, cancel) = (hello(&Wire::OpenAi.model()), CancellationToken::new());
    let cancelling = async {
        while server.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let both = async { tokio::join!(client.complete(&request, &cancel), cancelling) };
    let (outcome, ()) = tokio::time::timeout(LONG, both).await.expect("in time");
    let error = outcome.expect_err("cancelled");
    let failure = error.failure().expect("a failed call");
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert_eq!(failure.usage, None, "the provider had refused");
}

#[tokio::test]
async fn a_token_cancelled_before_asks_nobody() {
    let server = Server::sending(Wire::OpenAi.reply(&["x"])).await;
    let client = Wire::OpenAi.client(&server);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let outcome = client
        .complete(&hello(&Wire::OpenAi.model()), &cancel)
        .await;
    let error = outcome.expect_err("cancelled");
    let failure = error.failure().expect("a failed call");
    assert_eq!((failure.attempts, failure.usage), (0, None));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    let server = Server::start(vec![vec![Act::Hang]]).await;
    let client = Arc::new(Wire::OpenAi.client(&server));
    let started = Arc::new(Notify::new());
    let task = tokio::spawn({
        let (client, started) = (client.clone(), started.clone());
        async move {
            started.notify_one();
            let request = hello(&Wire::OpenAi.model());
            client.complete(&request, &CancellationToken::new()).await
        }
    });
    started.notified().await;
    while server.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    let closing = server.closed.notified();
    tokio::time::timeout(LONG, closing)
        .await
        .expect("the connection was closed");
}
