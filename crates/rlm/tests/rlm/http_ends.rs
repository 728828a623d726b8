//! Host calls over HTTP: how calls end.

use crate::behaviours;
use crate::client::{post, request, send};
use crate::ground::{Said, Scripted, config, hasty};
use crate::http::{Served, served, until, was_asked};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use terraphim_rlm::{Context, Query, RlmError, ServeOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

behaviours![
    an_execution_does_not_end_calls_that_are_held_open,
    a_call_under_way_ends_with_its_session,
    a_call_ends_with_a_client_that_hangs_up,
    a_server_that_stops_ends_calls_under_way,
    calls_end_with_an_execution_that_is_cut_short,
    slow_clients_are_given_up,
];

fn never() -> Arc<Scripted> {
    Scripted::new(|_| Said::Never)
}

async fn is_asked(model: &Scripted) {
    until("the model is asked", || {
        model.under_way.load(Ordering::SeqCst) == 1
    })
    .await;
}

async fn is_free(model: &Scripted) {
    until("the model's call ends", || {
        model.under_way.load(Ordering::SeqCst) == 0
    })
    .await;
}

async fn an_execution_does_not_end_calls_that_are_held_open() {
    let model = Scripted::new(|ask| match ask.last {
        "brief" => Said::After(Duration::from_secs(1), "soon".to_owned()),
        _ => Said::After(Duration::from_secs(3), "slowly".to_owned()),
    });
    let Served {
        rlm,
        server,
        session,
        calls,
    } = served(config(), model.clone()).await;
    drop(calls);
    let address = server.local_addr();
    let executing = async {
        let executed = rlm.execute_code("query_llm('brief')", session).await;
        executed.expect("run").value
    };
    let asking = async {
        is_asked(&model).await;
        let calls = rlm.open_calls(session).expect("open calls");
        let token = calls.token().as_str();
        let call = request("query_llm", token, br#"{"prompts": ["?"]}"#);
        let answered = send(address, &call).await.expect("an answer");
        answered.status
    };
    let (value, status) = tokio::join!(executing, asking);
    assert_eq!((value.as_deref(), status), (Some("'soon'"), 200));
    server.stop().await;
    rlm.stop().await;
}

async fn a_call_under_way_ends_with_its_session() {
    let model = never();
    let served = served(config(), model.clone()).await;
    let call = request("query_llm", served.token(), br#"{"prompts": ["?"]}"#);
    let address = served.server.local_addr();
    let asking = tokio::spawn(async move { send(address, &call).await });
    is_asked(&model).await;
    let destroyed = served.rlm.destroy_session(served.session).await;
    destroyed.expect("destroyed");
    let refused = asking.await.expect("no panic").expect("an answer");
    assert_eq!(refused.status, 401);
    is_free(&model).await;
    served.stop().await;
}

async fn a_call_ends_with_a_client_that_hangs_up() {
    let model = never();
    let served = served(config(), model.clone()).await;
    let call = request("query_llm", served.token(), br#"{"prompts": ["?"]}"#);
    let mut stream = TcpStream::connect(served.server.local_addr()).await;
    let stream = stream.as_mut().expect("connected");
    stream.write_all(&call).await.expect("sent");
    is_asked(&model).await;
    stream.shutdown().await.expect("hung up");
    is_free(&model).await;
    // In the middle of a payload.
    for cut in [10, call.len() - 1] {
        let mut stream = TcpStream::connect(served.server.local_addr()).await;
        let stream = stream.as_mut().expect("connected");
        stream.write_all(&call[..cut]).await.expect("sent");
    }
    assert_eq!(model.prompts().len(), 1);
    served.stop().await;
}

async fn a_server_that_stops_ends_calls_under_way() {
    let model = never();
    let Served {
        rlm, server, calls, ..
    } = served(config(), model.clone()).await;
    let address = server.local_addr();
    let call = request(
        "query_llm",
        calls.token().as_str(),
        br#"{"prompts": ["?"]}"#,
    );
    let again = call.clone();
    let asking = tokio::spawn(async move { send(address, &call).await });
    is_asked(&model).await;
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2));
    let refused = asking.await.expect("no panic").expect("an answer");
    assert_eq!(refused.status, 503);
    assert_eq!(model.under_way.load(Ordering::SeqCst), 0);
    // A process that another test starts holds all sockets between its fork and its exec.
    let began = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "nobody listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let server = rlm.serve_calls(address).await.expect("a server");
    let asking = tokio::spawn(async move { send(address, &again).await });
    is_asked(&model).await;
    drop(server);
    is_free(&model).await;
    assert!(
        asking
            .await
            .expect("no panic")
            .is_none_or(|no| no.status == 503)
    );
    rlm.stop().await;
}

async fn calls_end_with_an_execution_that_is_cut_short() {
    let model = Scripted::new(|ask| match ask.is_step {
        true => "```python\nwhile True: pass\n```".into(),
        false => Said::Never,
    });
    let hasty = hasty(2000);
    let Served {
        rlm,
        server,
        session,
        calls,
    } = served(hasty, model.clone()).await;
    let address = server.local_addr();
    let token = calls.token().as_str().to_owned();
    let call = request("query_llm", &token, br#"{"prompts": ["?"]}"#);
    drop(calls);
    let ask = async || {
        loop {
            // There is nobody to ask before the execution has begun.
            let asked = send(address, &call).await.expect("an answer");
            if was_asked(&model, "?") {
                return asked.status;
            }
        }
    };
    let executing = rlm.execute_code("while True: pass", session);
    let (executed, status) = tokio::join!(executing, ask());
    assert!(matches!(executed, Err(RlmError::ExecutionTimeout { .. })));
    assert_eq!(status, 401);
    is_free(&model).await;
    model.asked.lock().expect("a lock").clear();
    let cancel = CancellationToken::new();
    let running = rlm.stream(Query {
        question: "What?".to_owned(),
        session: Some(session),
        cancel: cancel.clone(),
        ..Query::default()
    });
    let cancelling = async {
        until("the call is made", || was_asked(&model, "?")).await;
        cancel.cancel();
    };
    let ((), status) = tokio::join!(cancelling, ask());
    assert_eq!(status, 401);
    let answered = running.answer.await.expect("no panic");
    assert!(matches!(answered, Err(RlmError::Cancelled)));
    is_free(&model).await;
    server.stop().await;
    rlm.stop().await;
}

async fn slow_clients_are_given_up() {
    let model = Scripted::new(|ask| match ask.is_step {
        true => "```python\nquery_llm('wait')\n```".into(),
        false => Said::Never,
    });
    let Served {
        rlm,
        session,
        calls,
        ..
    } = served(config(), model.clone()).await;
    let impatient = ServeOptions {
        patience: Duration::from_millis(300),
        ..ServeOptions::default()
    };
    let local = "127.0.0.1:0".parse().expect("an address");
    let server = rlm.serve_calls_with(local, impatient).await;
    let server = server.expect("a server");
    let token = calls.token().as_str().to_owned();
    // As many as there may be, so that the next waits for them.
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..64 {
        let stream = TcpStream::connect(server.local_addr()).await;
        silent.push(stream.expect("connected"));
    }
    assert_eq!(post(&server, "contexts", &token, b"").await.status, 200);
    let mut cut = request("contexts", &token, b"1234");
    cut.pop();
    let refused = send(server.local_addr(), &cut).await.expect("an answer");
    assert_eq!(refused.status, 408);
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(calls);
    let running = rlm.stream(Query {
        question: "What?".to_owned(),
        context: Context::text("large", "x".repeat(8 << 20)),
        session: Some(session),
        ..Query::default()
    });
    until("the code asks", || was_asked(&model, "wait")).await;
    let piece = br#"{"source": 0, "offset": 0, "length": 8388608}"#;
    let mut stream = TcpStream::connect(server.local_addr()).await;
    let stream = stream.as_mut().expect("connected");
    let asked = stream.write_all(&request("context", &token, piece)).await;
    asked.expect("sent");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    assert!(read.len() < 8 << 20, "{} bytes came", read.len());
    running.answer.abort();
    server.stop().await;
    rlm.stop().await;
}
