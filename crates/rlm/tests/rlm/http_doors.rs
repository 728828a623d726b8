//! Host calls over HTTP: who and what is not let in.

use crate::behaviours;
use crate::client::{Answered, post, query, request, send};
use crate::ground::{Scripted, config, runtime};
use crate::http::{Served, served};
use serde_json::json;
use terraphim_rlm::{RlmConfig, RlmError, ServeOptions};

behaviours![
    a_call_without_the_right_token_is_refused,
    a_token_reaches_its_own_session_and_no_other,
    a_token_is_worth_nothing_once_all_has_ended,
    garbage_is_refused_and_harms_nobody,
    calls_are_refused_as_they_are_over_the_channel,
    calls_are_served_to_this_machine_unless_it_is_said,
];

async fn a_call_without_the_right_token_is_refused() {
    let model = Scripted::steps(&[]);
    let served = served(config(), model.clone()).await;
    let (server, right) = (&served.server, served.token());
    let wrong = query(server, &"0".repeat(64), "?").await;
    let mut near = right.to_owned();
    near.replace_range(63.., if right.ends_with('0') { "1" } else { "0" });
    let near = query(server, &near, "?").await;
    assert_eq!((wrong.status, near.status), (401, 401));
    assert_eq!(wrong.error(), near.error());
    for malformed in ["", "x", &right[1..], &format!("{right}0"), &"g".repeat(64)] {
        assert_eq!(
            query(server, malformed, "?").await.status,
            400,
            "{malformed}"
        );
    }
    let whole = String::from_utf8(request("query_llm", right, b"{}")).expect("text");
    let line = format!("x-session-token: {right}\r\n");
    let missing = send(server.local_addr(), whole.replace(&line, "").as_bytes()).await;
    assert_eq!(missing.expect("an answer").status, 401);
    let twice = whole.replace(&line, &line.repeat(2));
    let twice = send(server.local_addr(), twice.as_bytes()).await;
    assert_eq!(twice.expect("an answer").status, 400);
    let large = query(server, &"0".repeat(64), &"x".repeat(10_000_000)).await;
    assert_eq!((large.status, large.took_all), (401, true), "it hears why");
    assert!(model.prompts().is_empty(), "nobody was asked");
    served.stop().await;
}

async fn a_token_reaches_its_own_session_and_no_other() {
    let poor = RlmConfig {
        max_sub_calls: 1,
        ..config()
    };
    let served = served(poor, Scripted::steps(&[])).await;
    let other = served.rlm.create_session().await.expect("a session");
    let token = served.rlm.session_token(other).expect("a token");
    assert_ne!(token.as_str(), served.token());
    let refused = query(&served.server, token.as_str(), "?").await;
    assert_eq!(refused.status, 401, "its own calls are not open");
    let calls = served.rlm.open_calls(other).expect("open calls");
    assert_eq!(calls.token().as_str(), token.as_str());
    let value = |answered: Answered| answered.json()["results"][0]["value"].clone();
    assert_eq!(value(served.query("one").await), json!("echo: one"));
    assert_eq!(value(served.query("none left").await), json!(null));
    let answered = query(&served.server, token.as_str(), "two").await;
    assert_eq!(value(answered), json!("echo: two"), "a budget of its own");
    drop(calls);
    assert_eq!(query(&served.server, token.as_str(), "?").await.status, 401);
    assert_eq!(served.query("?").await.status, 200);
    served.stop().await;
}

async fn a_token_is_worth_nothing_once_all_has_ended() {
    let Served {
        rlm,
        server,
        session,
        calls,
    } = served(config(), Scripted::steps(&[])).await;
    let token = calls.token().as_str().to_owned();
    let unknown = query(&server, &"0".repeat(64), "?").await;
    let second = rlm.open_calls(session).expect("open calls");
    drop(calls);
    assert_eq!(query(&server, &token, "?").await.status, 200, "one is left");
    drop(second);
    let ended = query(&server, &token, "?").await;
    assert_eq!(ended.status, 401);
    assert_eq!(ended.error(), unknown.error(), "it cannot be told apart");
    let held = rlm.open_calls(session).expect("open calls");
    assert_eq!(query(&server, &token, "?").await.status, 200);
    rlm.destroy_session(session).await.expect("destroyed");
    assert_eq!(query(&server, &token, "?").await.status, 401);
    assert!(matches!(
        (rlm.session_token(session), rlm.open_calls(session)),
        (
            Err(RlmError::SessionNotFound { .. }),
            Err(RlmError::SessionNotFound { .. })
        )
    ));
    drop(held);
    server.stop().await;
    rlm.stop().await;
}

async fn garbage_is_refused_and_harms_nobody() {
    let served = served(config(), Scripted::steps(&[])).await;
    let address = served.server.local_addr();
    let good = String::from_utf8(request("contexts", served.token(), b"{}")).expect("text");
    let long = format!("x-long: {}\r\nconnection", "y".repeat(1 << 20));
    let many = format!("{}connection", "x-many: y\r\n".repeat(1000));
    let both = "content-length: 2\r\ntransfer-encoding: chunked";
    for (garbage, status) in [
        ("\0\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1} a TLS hello\r\n\r\n".to_owned(), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        (good.replace("HTTP/1.1", "HTTP/9.9"), 400),
        (good.replace("content-length: 2", "content-length: -2"), 400),
        (
            good.replace(
                "content-length: 2",
                "content-length: 99999999999999999999999",
            ),
            400,
        ),
        (
            good.replace("content-length: 2", "transfer-encoding: gzip"),
            400,
        ),
        (good.replace("content-length: 2", both), 400),
        (good.replace("connection", &long), 431),
        (good.replace("connection", &many), 431),
        (good.replace("POST", "GET"), 405),
        (good.replace("POST", "BREW"), 405),
        (good.replace("/v1/call/", "/"), 404),
        (
            good.replace("/v1/call/contexts", "/v1/call/../../secret"),
            404,
        ),
    ] {
        let answered = send(address, garbage.as_bytes()).await;
        let answered = answered.unwrap_or_else(|| panic!("no answer to {garbage:.200}"));
        assert_eq!(answered.status, status, "{garbage:.200} {answered:?}");
    }
    let waits = good.replace(
        "content-length: 2",
        "content-length: 99999999\r\nexpect: 100-continue",
    );
    let refused = send(address, waits.as_bytes()).await.expect("an answer");
    assert_eq!(refused.status, 413, "before anything is sent");
    assert_eq!(
        send(address, good.as_bytes())
            .await
            .expect("an answer")
            .status,
        200
    );
    served.stop().await;
}

async fn calls_are_refused_as_they_are_over_the_channel() {
    let flat = RlmConfig {
        max_recursion_depth: 0,
        max_batch: 2,
        ..config()
    };
    let served = served(flat, Scripted::steps(&[])).await;
    let token = served.token();
    let deep = json!({"queries": [{"prompt": "deeper"}]}).to_string();
    let many = json!({"prompts": ["a", "b", "c"]}).to_string();
    let nested = "[".repeat(100_000);
    for (name, payload, status, said) in [
        ("rlm_query", deep.as_str(), 422, "recursion depth"),
        ("query_llm", &many, 422, "3 queries at once"),
        ("final", r#"{"text": " "}"#, 422, "the answer is empty"),
        (
            "context",
            r#"{"source":0,"offset":0,"length":1}"#,
            422,
            "no such source",
        ),
        ("context", r#"{"source":-1}"#, 400, "makes no sense"),
        ("query_llm", &nested, 400, "makes no sense"),
        ("query_llm", "", 400, "makes no sense"),
        ("steal_llm", "{}", 400, "there is no host call `steal_llm`"),
        ("%2e%2e", "{}", 400, "there is no host call `%2e%2e`"),
        ("a/b", "{}", 404, "POST /v1/call/{name}"),
    ] {
        let answered = post(&served.server, name, token, payload.as_bytes()).await;
        assert_eq!(answered.status, status, "{name}: {answered:?}");
        assert!(answered.error().contains(said), "{answered:?}");
    }
    served.stop().await;
}

async fn calls_are_served_to_this_machine_unless_it_is_said() {
    let rlm = runtime(config(), Scripted::steps(&[])).await;
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let refused = rlm.serve_calls(open.parse().expect("an address")).await;
        let error = refused.expect_err("others could reach it");
        assert!(matches!(&error, RlmError::Config(_)), "{error}");
    }
    let any = ServeOptions {
        allow_any_address: true,
        ..ServeOptions::default()
    };
    let all = "0.0.0.0:0".parse().expect("an address");
    let server = rlm.serve_calls_with(all, any).await.expect("a server");
    let taken = ([127, 0, 0, 1], server.local_addr().port()).into();
    assert_eq!(query(&server, &"0".repeat(64), "?").await.status, 401);
    let twice = rlm.serve_calls(taken).await.expect_err("it is taken");
    assert!(twice.to_string().contains("cannot be served"), "{twice}");
    server.stop().await;
    rlm.stop().await;
}
