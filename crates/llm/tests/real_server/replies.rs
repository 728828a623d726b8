//! Replies: their text, their end, and what they used, as the server counted it.

use super::Behaviour;
use super::server::Options;
use super::talk::{MODEL, Talk, client_of, complete, config_at, say, say_to, ticking, ticks};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{
    FinishReason, GenericLlmClient, Message, ProviderClient, Reply, Request, Usage, UsageTotals,
};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_completion_is_whole", a_completion_is_whole),
    ("all_that_was_said_is_read", all_that_was_said_is_read),
    ("max_tokens_is_the_length", max_tokens_is_the_length),
    ("a_full_context_is_the_length", a_full_context_is_the_length),
    ("a_stop_text_ends_it", a_stop_text_ends_it),
    ("pieces_make_up_the_reply", pieces_make_up_the_reply),
    ("letters_come_whole", letters_come_whole),
    ("a_schema_is_kept_to", a_schema_is_kept_to),
    (
        "anthropics_protocol_is_spoken",
        anthropics_protocol_is_spoken,
    ),
    (
        "eight_at_once_are_all_answered",
        eight_at_once_are_all_answered,
    ),
    ("usage_adds_up", usage_adds_up),
];

fn counted(prompt_tokens: u64, completion_tokens: u64) -> Usage {
    Usage {
        prompt_tokens,
        completion_tokens,
        is_estimated: false,
    }
}

fn a_completion_is_whole(talk: &Talk) {
    let reply = talk.ask(&say("one"));
    assert_eq!(reply.text, " two three four five");
    assert_eq!(reply.finish, FinishReason::Stop);
    // The beginning and `one`; four words and the end.
    assert_eq!(reply.usage, counted(2, 5));
    assert_eq!(reply.model, MODEL);
    assert_eq!((reply.attempts, reply.cost), (1, None));
}

fn all_that_was_said_is_read(talk: &Talk) {
    let mut request = say("one");
    request.messages = vec![
        Message::system("Be brief."),
        Message::user("tick"),
        Message::assistant(" tock"),
        Message::user("Count from one"),
    ];
    let reply = talk.ask(&request);
    assert_eq!(reply.text, " two three four five");
    // The beginning; 9 bytes; two words; 11 bytes and a word; three ends of lines.
    assert_eq!(reply.usage.prompt_tokens, 1 + 9 + 2 + 12 + 3);
}

fn max_tokens_is_the_length(talk: &Talk) {
    let reply = talk.ask(&ticks(7));
    assert_eq!(reply.text, ticking(7));
    assert_eq!(reply.finish, FinishReason::Length);
    assert_eq!(reply.usage, counted(2, 7));
}

fn a_full_context_is_the_length(talk: &Talk) {
    let server = talk.other_server(&Options {
        context: 512,
        slots: 1,
        key: None,
    });
    let client = client_of(config_at(&server, None));
    let reply = talk.run(complete(&client, &say("tick"))).expect("a reply");
    assert_eq!(reply.finish, FinishReason::Length);
    assert_eq!(reply.usage.total_tokens(), 512);
    assert!(!reply.usage.is_estimated);
}

fn a_stop_text_ends_it(talk: &Talk) {
    let mut request = say("one");
    request.stop = vec!["never said".to_owned(), " four".to_owned()];
    let reply = talk.ask(&request);
    assert_eq!(reply.text, " two three");
    assert_eq!(reply.finish, FinishReason::Stop);
    assert_eq!(reply.usage, counted(2, 3), "the stop text counts");
}

fn stream(talk: &Talk, client: &ProviderClient, request: &Request) -> (Reply, Vec<String>) {
    let (listener, mut heard) = mpsc::channel(2);
    let cancel = CancellationToken::new();
    let listening = async {
        let mut pieces = Vec::new();
        while let Some(piece) = heard.recv().await {
            pieces.push(piece);
        }
        pieces
    };
    let call = client.stream(request, listener, &cancel);
    let (reply, pieces) = talk.run(async { tokio::join!(call, listening) });
    (reply.expect("a reply"), pieces)
}

fn pieces_make_up_the_reply(talk: &Talk) {
    let (reply, pieces) = stream(talk, &talk.client(), &ticks(300));
    assert_eq!(reply.text, ticking(300));
    assert_eq!(pieces.concat(), reply.text);
    assert_eq!(pieces.len(), 300, "a piece for every token");
    assert_eq!(reply.usage, counted(2, 300));
}

fn letters_come_whole(talk: &Talk) {
    let (reply, pieces) = stream(talk, &talk.client(), &say("snow"));
    assert_eq!(reply.text, "☃🦀");
    assert_eq!(pieces, ["☃", "🦀"], "of three tokens and of four");
    assert_eq!(reply.usage, counted(2, 8));
}

fn a_schema_is_kept_to(talk: &Talk) {
    let mut request = say("one");
    request.json_schema = Some(json!({
        "type": "object",
        "properties": {"done": {"type": "boolean"}, "colour": {"enum": ["red", "blue"]}},
        "required": ["done", "colour"],
        "additionalProperties": false,
    }));
    let reply = talk.ask(&request);
    let value: Value = serde_json::from_str(&reply.text).expect("JSON, and not a count to five");
    assert!(value["done"].is_boolean(), "{value}");
    assert!(
        matches!(value["colour"].as_str(), Some("red" | "blue")),
        "{value}"
    );
    assert_eq!(value.as_object().map(serde_json::Map::len), Some(2));
}

/// The same server speaks it beside its own.
fn anthropics_protocol_is_spoken(talk: &Talk) {
    let mut config = config_at(&talk.server, Some("any"));
    let provider = config.providers.remove("local").expect("it");
    config.providers.insert("anthropic".to_owned(), provider);
    let client = client_of(config);
    let (reply, pieces) = stream(talk, &client, &say_to("anthropic/chains", "one"));
    assert_eq!(reply.text, " two three four five");
    assert_eq!(pieces.concat(), reply.text);
    assert_eq!(reply.finish, FinishReason::Stop);
    assert_eq!(reply.usage, counted(2, 5), "what it had cached counts");
    let mut request = say_to("anthropic/chains", "tick");
    request.max_tokens = Some(4);
    let reply = talk.run(complete(&client, &request)).expect("a reply");
    assert_eq!(
        (reply.text, reply.finish),
        (ticking(4), FinishReason::Length)
    );
}

fn eight_at_once_are_all_answered(talk: &Talk) {
    // Twice as many as the server computes at a time, and each of a length of its own.
    let lengths: Vec<u32> = (101..=108).collect();
    let requests: Vec<_> = lengths.iter().map(|length| ticks(*length)).collect();
    let client = talk.client();
    let calls = requests.iter().map(|request| complete(&client, request));
    let replies = talk.run(join_all(calls));
    for (length, reply) in lengths.iter().zip(replies) {
        let reply = reply.expect("a reply");
        assert_eq!(reply.text, ticking(*length as usize));
        assert_eq!(reply.usage, counted(2, u64::from(*length)));
    }
    assert_eq!(client.usage().calls, 8);
}

fn usage_adds_up(talk: &Talk) {
    let client = talk.client();
    let mut sums = UsageTotals::default();
    for request in [say("one"), ticks(9), say("snow"), say("and one")] {
        let reply = talk.run(complete(&client, &request)).expect("a reply");
        sums.prompt_tokens += reply.usage.prompt_tokens;
        sums.completion_tokens += reply.usage.completion_tokens;
    }
    // A busy server may close a connection it kept, and its call is tried again: that is its right,
    // and counted. How attempts are counted exactly, servers of `tests/llm` show.
    let attempts = client.usage().attempts;
    assert!((4..=8).contains(&attempts), "{attempts} attempts");
    let expected = UsageTotals {
        calls: 4,
        attempts,
        calls_without_cost: 4,
        ..sums
    };
    assert_eq!(client.usage(), expected);
    assert_eq!(sums.completion_tokens, 5 + 9 + 8 + 5);
}
