//! Replies that do not come to their end, by whoever's doing. After each of them the server is
//! found at rest: what nobody waits for any more is not computed either.

use super::Behaviour;
use super::server::Options;
use super::talk::{Begun, Talk, client_of, complete, config_at, failure, failure_of, say};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use ukernel_llm::{Failure, FailureKind, GenericLlmClient};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("to_cancel_a_stream_ends_it", to_cancel_a_stream_ends_it),
    ("to_drop_a_call_ends_it", to_drop_a_call_ends_it),
    ("the_time_limit_ends_it", the_time_limit_ends_it),
    ("the_limit_of_bytes_ends_it", the_limit_of_bytes_ends_it),
    (
        "a_server_that_freezes_has_stalled",
        a_server_that_freezes_has_stalled,
    ),
    (
        "a_server_that_is_killed_broke_off",
        a_server_that_is_killed_broke_off,
    ),
];

/// Well under a second, on a loaded host.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The server has stopped to compute, and answers who asks next.
fn goes_on(talk: &Talk) {
    let started = Instant::now();
    talk.server.wait_until_idle().expect("a server at rest");
    // To fill the context would take it longer.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(talk.ask(&say("one")).text, " two three four five");
}

/// A reply that broke off was not counted by the server, and may have cost something.
fn is_estimated(failure: &Failure) -> bool {
    let usage = failure.usage.expect("what it may have used");
    usage.is_estimated && usage.completion_tokens > 0
}

fn to_cancel_a_stream_ends_it(talk: &Talk) {
    let config = config_at(&talk.server, None);
    let failure = talk.run(async {
        let begun = Begun::with(config).await;
        begun.cancel.cancel();
        begun.end(AT_ONCE).await
    });
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert!(is_estimated(&failure), "{failure:?}");
    goes_on(talk);
}

fn to_drop_a_call_ends_it(talk: &Talk) {
    let client = talk.client();
    let (request, cancel) = (say("tick"), CancellationToken::new());
    let outcome = talk.run(async {
        let call = client.complete(&request, &cancel);
        tokio::time::timeout(Duration::from_millis(300), call).await
    });
    assert!(outcome.is_err(), "it cannot have ended by itself");
    goes_on(talk);
}

fn the_time_limit_ends_it(talk: &Talk) {
    let mut config = config_at(&talk.server, None);
    config.limits.request_timeout_ms = 300;
    let failure = talk.run(failure(&client_of(config), &say("tick")));
    assert_eq!((failure.kind, failure.attempts), (FailureKind::TimeOut, 1));
    assert!(is_estimated(&failure), "{failure:?}");
    goes_on(talk);
}

fn the_limit_of_bytes_ends_it(talk: &Talk) {
    let mut config = config_at(&talk.server, None);
    config.limits.max_reply_bytes = 1_000;
    let failure = talk.run(failure(&client_of(config), &say("tick")));
    assert_eq!((failure.kind, failure.attempts), (FailureKind::TooLong, 1));
    assert!(is_estimated(&failure), "{failure:?}");
    goes_on(talk);
}

fn a_server_that_freezes_has_stalled(talk: &Talk) {
    let server = talk.other_server(&Options::default());
    let mut config = config_at(&server, None);
    config.limits.stall_timeout_ms = 700;
    let failure = talk.run(async {
        let begun = Begun::with(config.clone()).await;
        server.freeze(true);
        begun.end(Duration::from_secs(10)).await
    });
    assert_eq!((failure.kind, failure.attempts), (FailureKind::Stalled, 1));
    assert!(is_estimated(&failure), "{failure:?}");
    server.freeze(false);
    server.wait_until_idle().expect("a server at rest");
    config.limits.stall_timeout_ms = 20_000;
    let client = client_of(config);
    talk.run(complete(&client, &say("one"))).expect("a reply");
}

fn a_server_that_is_killed_broke_off(talk: &Talk) {
    let server = talk.other_server(&Options::default());
    let config = config_at(&server, None);
    let failure = talk.run(async {
        let begun = Begun::with(config.clone()).await;
        server.kill();
        begun.end(Duration::from_secs(10)).await
    });
    assert_eq!(
        (failure.kind, failure.attempts),
        (FailureKind::BrokenOff, 1)
    );
    assert!(is_estimated(&failure), "{failure:?}");
    let again = talk.run(complete(&client_of(config), &say("one")));
    assert_eq!(failure_of(again).kind, FailureKind::Connect);
}
