//! Keys show up nowhere but in the request.

use crate::support::wire::{ALL, KEY, Wire};
use crate::support::{Server, answer, client_of, hello};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use ukernel_llm::{FailureKind, GenericLlmClient};

#[tokio::test]
async fn a_provider_that_echoes_the_key_is_not_quoted() {
    for wire in ALL {
        let said = json!({"error": {"message": format!("wrong key {KEY}, use another")}});
        let plain = format!("you sent {KEY}");
        for body in [said.to_string(), plain] {
            let server = Server::sending(answer(401, "", &body)).await;
            let client = wire.client(&server);
            let outcome = client
                .complete(&hello(&wire.model()), &CancellationToken::new())
                .await;
            let error = outcome.expect_err("a failure");
            let failure = error.failure().expect("a failed call");
            assert_eq!(failure.kind, FailureKind::Unauthorized);
            let shown = format!("{error} {error:?} {error:#?}");
            assert!(!shown.contains(KEY), "{wire:?}: {shown}");
            assert!(shown.contains("[secret]"), "{wire:?}: {shown}");
        }
    }
}

#[tokio::test]
async fn an_error_within_a_stream_that_echoes_the_key_is_not_quoted() {
    for wire in ALL {
        let error =
            json!({"type": "error", "error": {"type": "x", "message": format!("no: {KEY}")}});
        let bad_json = format!("data: {{\"{KEY}\" oops\n\n");
        for bytes in [wire.head() + &wire.frame(&error), wire.head() + &bad_json] {
            let server = Server::sending(bytes).await;
            let client = wire.client(&server);
            let outcome = client
                .complete(&hello(&wire.model()), &CancellationToken::new())
                .await;
            let error = outcome.expect_err("a failure");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(KEY), "{wire:?}: {shown}");
        }
    }
}

#[tokio::test]
async fn a_configuration_does_not_show_its_keys() {
    let server = Server::sending("").await;
    let config = Wire::OpenAi.config(&server);
    let shown = format!("{config:?} {:?}", config.redactor());
    assert!(
        !shown.contains(KEY) && shown.contains("[secret]"),
        "{shown}"
    );
}

/// Remembers everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let line = format!("{field}={value:?}\n");
        self.0.lock().expect("not poisoned").push_str(&line);
    }
}

impl Subscriber for Log {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[tokio::test]
async fn nothing_is_logged_that_holds_the_key() {
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(log.clone());
    tracing::info!("the log listens");
    for wire in ALL {
        let body = format!("you sent {KEY}");
        let server = Server::sending(answer(401, "", &body)).await;
        let client = client_of(wire.config(&server));
        let outcome = client
            .complete(&hello(&wire.model()), &CancellationToken::new())
            .await;
        outcome.expect_err("a failure");
    }
    let logged = log.0.lock().expect("not poisoned").clone();
    assert!(logged.contains("the log listens"), "{logged}");
    assert!(!logged.contains(KEY), "{logged}");
}
