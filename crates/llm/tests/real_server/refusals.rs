//! What the server refuses, and in which words that comes to the caller.

use super::Behaviour;
use super::server::Options;
use super::talk::{MODEL, Talk, client_of, complete, config_at, failure, say, say_to, ticks};
use serde_json::json;
use ukernel_llm::{FailureKind, GenericLlmClient};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("too_much_is_refused", too_much_is_refused),
    (
        "a_schema_that_is_none_is_refused",
        a_schema_that_is_none_is_refused,
    ),
    (
        "an_unknown_address_is_not_found",
        an_unknown_address_is_not_found,
    ),
    ("any_model_is_the_one_it_has", any_model_is_the_one_it_has),
    ("a_wrong_key_is_not_accepted", a_wrong_key_is_not_accepted),
    (
        "a_server_that_is_gone_cannot_be_reached",
        a_server_that_is_gone_cannot_be_reached,
    ),
];

fn too_much_is_refused(talk: &Talk) {
    let client = talk.client();
    // A token each, and one for the beginning. A slot has a quarter of the context.
    let failure = talk.run(failure(&client, &say(&"tick".repeat(20_000))));
    assert_eq!(failure.kind, FailureKind::Refused);
    assert_eq!((failure.status, failure.attempts), (Some(400), 1));
    let words = "request (20001 tokens) exceeds the available context size (16384 tokens)";
    assert!(failure.message.starts_with(words), "{failure}");
    assert_eq!(failure.usage, None, "nothing was processed");
    assert_eq!(client.usage().failed_calls, 1);
}

fn a_schema_that_is_none_is_refused(talk: &Talk) {
    let mut request = say("one");
    request.json_schema = Some(json!({"type": "no such type"}));
    let failure = talk.run(failure(&talk.client(), &request));
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::Refused, Some(400))
    );
    assert!(failure.message.contains("no such type"), "{failure}");
}

fn an_unknown_address_is_not_found(talk: &Talk) {
    let mut config = config_at(&talk.server, None);
    let provider = config.providers.get_mut("local").expect("it");
    provider.base_url = Some(format!("{}/elsewhere", talk.server.address));
    let failure = talk.run(failure(&client_of(config), &say("one")));
    assert_eq!(
        (failure.kind, failure.status),
        (FailureKind::NotFound, Some(404))
    );
    assert_eq!(failure.message, "File Not Found");
    assert_eq!(
        failure.kind.hint(),
        Some("check the model's name, and the base URL")
    );
}

/// This server has one model and answers with it whatever the request names. Only the reply tells.
fn any_model_is_the_one_it_has(talk: &Talk) {
    let reply = talk.ask(&say_to("local/no/such:model", "one"));
    assert_eq!(reply.text, " two three four five");
    assert_eq!(reply.model, MODEL);
}

fn a_wrong_key_is_not_accepted(talk: &Talk) {
    let server = talk.other_server(&Options {
        key: Some("sk-right-0123456789"),
        ..Options::default()
    });
    let wrong = "sk-wrong-0123456789";
    for key in [None, Some(wrong)] {
        let client = client_of(config_at(&server, key));
        let failure = talk.run(failure(&client, &say("one")));
        assert_eq!(
            (failure.kind, failure.status),
            (FailureKind::Unauthorized, Some(401))
        );
        assert_eq!(
            (failure.message.as_str(), failure.attempts),
            ("Invalid API Key", 1)
        );
    }
    let client = client_of(config_at(&server, Some("sk-right-0123456789")));
    talk.run(complete(&client, &say("one"))).expect("a reply");
}

fn a_server_that_is_gone_cannot_be_reached(talk: &Talk) {
    let server = talk.other_server(&Options::default());
    let client = client_of(config_at(&server, None));
    talk.run(complete(&client, &ticks(3))).expect("a reply");
    server.kill();
    let failure = talk.run(failure(&client, &ticks(3)));
    assert_eq!(failure.kind, FailureKind::Connect, "{failure}");
    assert_eq!(
        failure.attempts, 3,
        "nothing was sent, so it is tried again"
    );
    assert_eq!(failure.usage, None);
}
