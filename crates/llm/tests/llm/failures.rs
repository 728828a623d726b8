//! What goes wrong is told as what it is, and tried again only where that is right.

use crate::support::wire::{ALL, KEY, Wire};
use crate::support::{Act, Server, answer, client_of, config_at, hello, quick_config};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{Failure, FailureKind, GenericLlmClient, Price, ProviderClient};

/// The failure of a call.
async fn failure_of(client: &ProviderClient, model: &str) -> Failure {
    let outcome = client
        .complete(&hello(model), &CancellationToken::new())
        .await;
    let error = outcome.expect_err("a failure");
    error.failure().expect("a failed call").clone()
}

/// The failure of a call to a server that sends these bytes.
async fn failure_when_sent(wire: Wire, bytes: impl Into<Vec<u8>>) -> Failure {
    let server = Server::sending(bytes).await;
    let failure = failure_of(&wire.client(&server), &wire.model()).await;
    assert_eq!(server.requests().len() as u32, failure.attempts, "{wire:?}");
    failure
}

fn in_turn(answers: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<Act>> {
    let acts = answers.into_iter().map(|bytes| vec![Act::Send(bytes)]);
    acts.collect()
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_then_told() {
    for wire in ALL {
        // Bound and not listening, so that nobody else gets the port either.
        let port = tokio::net::TcpSocket::new_v4().expect("a socket");
        port.bind("127.0.0.1:0".parse().expect("an address"))
            .expect("a port");
        let url = format!("http://{}/", port.local_addr().expect("an address"));
        let client = client_of(config_at(wire.provider(), &url, Some(KEY)));
        let failure = failure_of(&client, &wire.model()).await;
        assert_eq!(failure.kind, FailureKind::Connect, "{wire:?}: {failure}");
        assert_eq!(failure.attempts, quick_config().retry.max_attempts);
        assert_eq!(failure.usage, None, "nothing was sent");
        let shown = failure.to_string();
        assert!(shown.contains("refused"), "{shown}");
        assert!(failure.kind.hint().is_some(), "{shown}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_taken_for_one_with_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&answer(400, "", "")).await;
        }
    });
    let client = client_of(config_at("mine", &url, Some(KEY)));
    let failure = failure_of(&client, "mine/tiny").await;
    assert_eq!(failure.kind, FailureKind::Connect, "{failure}");
    serving.abort();
}

#[tokio::test]
async fn a_server_that_does_not_take_up_the_connection_is_asked_once() {
    // It accepts, and is silent where TLS has to begin.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    let mut config = config_at("mine", &url, Some(KEY));
    config.limits.connect_timeout_ms = 200;
    let failure = failure_of(&client_of(config), "mine/tiny").await;
    assert_eq!(failure.kind, FailureKind::Connect, "{failure}");
    assert_eq!((failure.attempts, failure.usage), (1, None), "{failure}");
}

#[tokio::test]
async fn a_proxy_is_asked_for_all_but_this_machine() {
    let proxy = Server::sending(Wire::OpenAi.reply(&["by proxy"])).await;
    let near = Server::sending(Wire::OpenAi.reply(&["directly"])).await;
    for (url, expected) in [
        ("http://model.invalid/v1", "by proxy"),
        (&near.url, "directly"),
    ] {
        let mut config = config_at("mine", url, None);
        config.proxy = Some(proxy.url.clone());
        let (client, cancel) = (client_of(config), CancellationToken::new());
        let reply = client.complete(&hello("mine/tiny"), &cancel).await;
        assert_eq!(reply.expect("a reply").text, expected);
    }
    let heard = &proxy.requests()[0].head;
    assert!(
        heard.starts_with("post http://model.invalid/v1/chat/completions "),
        "{heard}"
    );
}

#[tokio::test]
async fn what_will_not_pass_is_asked_once() {
    for wire in ALL {
        for (status, kind) in [
            (400, FailureKind::Refused),
            (401, FailureKind::Unauthorized),
            (403, FailureKind::Unauthorized),
            (404, FailureKind::NotFound),
            (501, FailureKind::Server),
        ] {
            let body = r#"{"error":{"message":"no\nway"}}"#;
            let failure = failure_when_sent(wire, answer(status, "", body)).await;
            assert_eq!(failure.kind, kind, "{wire:?} {status}");
            assert_eq!((failure.status, failure.attempts), (Some(status), 1));
            assert_eq!(failure.message, "no way", "{wire:?} {status}");
            assert_eq!(failure.usage, None);
        }
    }
}

/// A provider's own server fails for a moment now and then.
#[tokio::test]
async fn a_server_that_fails_is_asked_again_unless_a_reply_has_begun() {
    for wire in ALL {
        for status in [500, 502, 503, 504] {
            let failure = failure_when_sent(wire, answer(status, "", "")).await;
            let most = quick_config().retry.max_attempts;
            assert_eq!((failure.status, failure.attempts), (Some(status), most));
        }
        let answers = in_turn([answer(500, "", ""), wire.reply(&["well"]).into_bytes()]);
        let server = Server::start(answers).await;
        let client = wire.client(&server);
        let reply = client
            .complete(
                &hello(&wire.model()),
                &tokio_util::sync::CancellationToken::new(),
            )
            .await;
        let reply = reply.expect("a reply");
        assert_eq!(
            (reply.text.as_str(), reply.attempts),
            ("well", 2),
            "{wire:?}"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::sending(Wire::OpenAi.reply(&["stolen"])).await;
    let headers = format!("location: {}\r\n", elsewhere.url);
    let failure = failure_when_sent(Wire::OpenAi, answer(307, &headers, "")).await;
    assert_eq!(failure.status, Some(307));
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_wish_to_wait_is_kept() {
    for wire in ALL {
        let busy = answer(429, "retry-after: 1\r\n", "slow down");
        let server = Server::start(in_turn([busy, wire.reply(&["yes"]).into_bytes()])).await;
        let client = wire.client(&server);
        let begun = Instant::now();
        let reply = client
            .complete(&hello(&wire.model()), &CancellationToken::new())
            .await;
        let reply = reply.expect("a reply");
        assert_eq!(
            (reply.attempts, reply.text.as_str()),
            (2, "yes"),
            "{wire:?}"
        );
        assert!(begun.elapsed() >= Duration::from_secs(1), "{wire:?} waited");
        assert!(reply.latency >= Duration::from_secs(1), "waiting counts");
        assert_eq!(client.usage().attempts, 2);
    }
}

#[tokio::test]
async fn a_wish_to_wait_too_long_ends_the_call() {
    let failure = failure_when_sent(Wire::OpenAi, answer(429, "retry-after: 3600\r\n", "")).await;
    assert_eq!(
        (failure.kind, failure.attempts),
        (FailureKind::RateLimited, 1)
    );
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn a_provider_that_says_retrying_is_useless_is_believed() {
    let failure =
        failure_when_sent(Wire::OpenAi, answer(429, "x-should-retry: false\r\n", "")).await;
    assert_eq!(failure.attempts, 1);
}

#[tokio::test]
async fn an_overloaded_provider_is_tried_until_the_attempts_are_used_up() {
    for wire in ALL {
        let failure = failure_when_sent(wire, answer(503, "", "busy")).await;
        assert_eq!(failure.kind, FailureKind::Overloaded, "{wire:?}");
        assert_eq!(failure.attempts, 3, "{wire:?}");
        assert!(failure.to_string().contains("3 attempts"), "{failure}");
    }
    let only_anthropics = |wire| if wire == Wire::Anthropic { 3 } else { 1 };
    for wire in ALL {
        let failure = failure_when_sent(wire, answer(529, "", "busy")).await;
        assert_eq!(failure.attempts, only_anthropics(wire), "{wire:?}");
    }
}

#[tokio::test]
async fn half_a_stream_is_not_taken_for_a_reply_and_not_asked_again() {
    for wire in ALL {
        let half = wire.head() + &wire.begin() + &wire.piece("12345678");
        // Once between frames, once within one, once within the HTTP encoding.
        let whole = half.clone() + &wire.piece("torn");
        let torn = &whole[..whole.len() - 12];
        let chunked = half.replace("connection: close", "transfer-encoding: chunked");
        let (head, body) = chunked.split_once("\r\n\r\n").expect("a head");
        let chunked = format!("{head}\r\n\r\n{:x}\r\n{body}\r\n", body.len());
        for (how, bytes) in [
            ("between", half.as_str()),
            ("within", torn),
            ("chunk", &chunked),
        ] {
            let failure = failure_when_sent(wire, bytes).await;
            assert_eq!(
                failure.kind,
                FailureKind::BrokenOff,
                "{wire:?} {how}: {failure}"
            );
            assert_eq!(failure.attempts, 1, "{wire:?} {how}");
            let usage = failure.usage.expect("it may have cost something");
            assert!(usage.is_estimated, "{wire:?} {how}");
            assert_eq!(usage.completion_tokens, 2, "{wire:?} {how}");
        }
    }
}

/// Servers close connections that were idle for some seconds, also while a client sends on one.
#[tokio::test]
async fn a_kept_connection_that_is_closed_is_replaced_once() {
    for wire in ALL {
        let body = wire.reply(&["well"]).split_off(wire.head().len());
        let kept = format!("content-length: {}", body.len());
        let head = wire.head().replace("connection: close", &kept);
        let first = vec![Act::Send((head + &body).into_bytes()), Act::Hear];
        let silent = Vec::new();
        let again = vec![Act::Send(wire.reply(&["again"]).into_bytes())];
        for (second, attempts) in [(again, 2), (silent, 2)] {
            let server = Server::start(vec![first.clone(), second.clone()]).await;
            let client = wire.client(&server);
            let request = hello(&wire.model());
            let reply = client.complete(&request, &CancellationToken::new()).await;
            assert_eq!(reply.expect("a reply").text, "well", "{wire:?}");
            match client.complete(&request, &CancellationToken::new()).await {
                Ok(reply) => assert_eq!((reply.text.as_str(), reply.attempts), ("again", attempts)),
                Err(error) => {
                    let failure = error.failure().expect("a failed call");
                    assert!(second.is_empty(), "{wire:?}: {failure}");
                    assert_eq!(failure.kind, FailureKind::BrokenOff, "{wire:?}: {failure}");
                    assert_eq!(failure.attempts, attempts, "{wire:?}: {failure}");
                }
            }
            assert_eq!(server.requests().len(), 1 + attempts as usize, "{wire:?}");
        }
        let server = Server::start(vec![Vec::new()]).await;
        let failure = failure_of(&wire.client(&server), &wire.model()).await;
        assert_eq!(
            (failure.kind, failure.attempts),
            (FailureKind::BrokenOff, 1)
        );
    }
}

#[tokio::test]
async fn no_beginning_of_an_answer_is_taken_for_a_reply_of_less() {
    for wire in ALL {
        let whole = wire.reply(&["one ", "two"]);
        let cuts = (0..whole.len()).step_by(3);
        let answers: Vec<_> = cuts
            .clone()
            .map(|cut| whole.as_bytes()[..cut].to_vec())
            .collect();
        let server = Server::start(in_turn(answers)).await;
        for cut in cuts {
            // No connection is kept from an earlier reply.
            let client = wire.client(&server);
            let request = hello(&wire.model());
            match client.complete(&request, &CancellationToken::new()).await {
                Ok(reply) => assert_eq!(reply.text, "one two", "{wire:?} cut at {cut}"),
                Err(error) => {
                    let failure = error.failure().expect("a failed call");
                    assert_eq!(failure.attempts, 1, "{wire:?} cut at {cut}: {failure}");
                }
            }
        }
    }
}

#[tokio::test]
async fn invalid_json_is_not_understood() {
    for wire in ALL {
        let begin = wire.head() + &wire.begin();
        let bad = match wire {
            Wire::Ollama => "{\"message\": oops}\n".to_owned(),
            Wire::Anthropic => "event: content_block_delta\ndata: {oops}\n\n".to_owned(),
            Wire::OpenAi | Wire::Gemini => "data: {oops}\n\n".to_owned(),
        };
        let failure = failure_when_sent(wire, begin + &bad).await;
        assert_eq!(
            failure.kind,
            FailureKind::NotUnderstood,
            "{wire:?}: {failure}"
        );
    }
}

#[tokio::test]
async fn what_is_no_stream_is_not_understood() {
    for wire in ALL {
        for body in ["", "<html>Welcome</html>"] {
            let failure = failure_when_sent(wire, answer(200, "", body)).await;
            assert_eq!(
                failure.kind,
                FailureKind::NotUnderstood,
                "{wire:?} {body:?}: {failure}"
            );
            assert_eq!(failure.attempts, 1);
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_not_understood() {
    let mut bytes = Wire::OpenAi.head().into_bytes();
    bytes.extend(b"data: \xff\xfe\n\n");
    let failure = failure_when_sent(Wire::OpenAi, bytes).await;
    assert_eq!(failure.kind, FailureKind::NotUnderstood, "{failure}");
}

#[tokio::test]
async fn an_empty_reply_is_a_failure_that_tells_what_it_cost() {
    for wire in ALL {
        let failure = failure_when_sent(wire, wire.reply(&[])).await;
        assert_eq!(failure.kind, FailureKind::Empty, "{wire:?}");
        let usage = failure.usage.expect("it was counted");
        assert_eq!(
            (usage.prompt_tokens, usage.is_estimated),
            (11, false),
            "{wire:?}"
        );
    }
    let server = Server::sending(Wire::Ollama.reply(&[])).await;
    let mut config = Wire::Ollama.config(&server);
    let price = Price {
        prompt_micro_dollars_per_million: 1_000_000,
        completion_micro_dollars_per_million: 2_000_000,
    };
    config.prices.insert(Wire::Ollama.model(), price);
    let client = client_of(config);
    let failure = failure_of(&client, &Wire::Ollama.model()).await;
    assert_eq!(failure.cost.expect("a cost").micro_dollars, 11 + 14);
    assert_eq!(client.usage().cost_micro_dollars, 11 + 14);
    assert_eq!(client.usage().failed_calls, 1);
}

#[tokio::test]
async fn an_error_within_a_stream_is_told() {
    let ollama = Wire::Ollama.head() + "{\"error\":\"model runner has stopped\"}\n";
    let open_ai = Wire::OpenAi;
    let open_ai = open_ai.head()
        + &open_ai.piece("par")
        + &open_ai.frame(&json!({"error": {"message": "upstream failed", "code": 502}}));
    let gemini = Wire::Gemini.head()
        + &Wire::Gemini.frame(&json!({"error": {"message": "internal", "code": 500}}));
    for (wire, bytes, said) in [
        (Wire::Ollama, ollama, "model runner has stopped"),
        (Wire::OpenAi, open_ai, "upstream failed"),
        (Wire::Gemini, gemini, "internal"),
    ] {
        let failure = failure_when_sent(wire, bytes).await;
        assert_eq!(failure.kind, FailureKind::Server, "{wire:?}");
        assert_eq!(failure.message, said, "{wire:?}");
    }
}

#[tokio::test]
async fn an_overload_within_a_stream_is_tried_again_only_before_the_first_piece() {
    let wire = Wire::Anthropic;
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let early = wire.head() + &wire.frame(&error);
    let late = wire.head() + &wire.begin() + &wire.piece("par") + &wire.frame(&error);
    let good = wire.reply(&["yes"]).into_bytes();
    let server = Server::start(in_turn([early.into_bytes(), good])).await;
    let client = wire.client(&server);
    let (sender, mut pieces) = mpsc::channel(8);
    let reply = client
        .stream(&hello(&wire.model()), sender, &CancellationToken::new())
        .await;
    assert_eq!(reply.expect("a reply").attempts, 2);
    assert_eq!(pieces.recv().await.as_deref(), Some("yes"));
    assert_eq!(pieces.recv().await, None, "no piece came twice");
    let failure = failure_when_sent(wire, late).await;
    assert_eq!(
        (failure.kind, failure.attempts),
        (FailureKind::Overloaded, 1)
    );
}
