//! What a model replies arrives: text, pieces, usage, costs, refusals. Over real HTTP on loopback.

use crate::support::wire::{ALL, KEY, Wire};
use crate::support::{Act, LONG, Server, client_of, config_at, hello};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use ukernel_llm::{Cost, CostSource, FinishReason, GenericLlmClient, Origin, Price};

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test]
async fn a_reply_comes_with_its_text_usage_and_model() {
    for wire in ALL {
        let server = Server::sending(wire.reply(&["Hel", "lo – ", "ü!"])).await;
        let client = wire.client(&server);
        let reply = client.complete(&hello(&wire.model()), &never()).await;
        let reply = reply.expect("a reply");
        assert_eq!(reply.text, "Hello – ü!", "{wire:?}");
        assert_eq!(reply.finish, FinishReason::Stop, "{wire:?}");
        assert_eq!(reply.usage.prompt_tokens, 11, "{wire:?}");
        assert_eq!(reply.usage.completion_tokens, 7, "{wire:?}");
        assert!(!reply.usage.is_estimated, "{wire:?}");
        assert_eq!(reply.model, "tiny-2", "{wire:?}");
        assert_eq!((reply.attempts, reply.cost), (1, None), "{wire:?}");
        assert_eq!(client.usage().prompt_tokens, 11);
        assert_eq!(client.usage().calls_without_cost, 1);
    }
}

#[tokio::test]
async fn what_is_asked_is_sent() {
    for wire in ALL {
        let server = Server::sending(wire.reply(&["yes"])).await;
        let mut request = hello(&wire.model());
        request.max_tokens = Some(77);
        request.temperature = Some(0.5);
        request.stop = vec!["END".to_owned()];
        let reply = wire.client(&server).complete(&request, &never()).await;
        reply.expect("a reply");
        let heard = server.requests().remove(0);
        let body = heard.body.to_string();
        for part in ["Be brief.", "Hello?", "77", "0.5", "END"] {
            assert!(body.contains(part), "{wire:?}: {body}");
        }
        assert!(heard.head.contains(KEY), "{wire:?} sends the key");
        assert!(!heard.head.lines().next().expect("a line").contains(KEY));
        assert!(
            !heard.head.contains("gzip"),
            "{wire:?} asks for nothing packed"
        );
    }
}

#[tokio::test]
async fn pieces_come_in_order_and_before_the_reply_is_whole() {
    for wire in ALL {
        let gate = Arc::new(Notify::new());
        let acts = vec![
            Act::Send((wire.head() + &wire.begin() + &wire.piece("one ")).into_bytes()),
            Act::Gate(gate.clone()),
            Act::Send((wire.piece("two ") + &wire.piece("three")).into_bytes()),
            Act::Send(wire.end(wire.stop(), true).into_bytes()),
        ];
        let server = Server::start(vec![acts]).await;
        let client = wire.client(&server);
        let (sender, mut pieces) = mpsc::channel(8);
        let listening = async {
            let first = pieces.recv().await.expect("a piece");
            // The server sends the rest only now, so the first piece cannot have waited for it.
            gate.notify_one();
            let mut all = vec![first];
            while let Some(piece) = pieces.recv().await {
                all.push(piece);
            }
            all
        };
        let (request, cancel) = (hello(&wire.model()), never());
        let calling = client.stream(&request, sender, &cancel);
        let both = async { tokio::join!(calling, listening) };
        let (reply, heard) = tokio::time::timeout(LONG, both).await.expect("in time");
        assert_eq!(heard, ["one ", "two ", "three"], "{wire:?}");
        assert_eq!(reply.expect("a reply").text, "one two three", "{wire:?}");
    }
}

#[tokio::test]
async fn a_listener_that_is_gone_does_not_change_the_reply() {
    let server = Server::sending(Wire::OpenAi.reply(&["still ", "whole"])).await;
    let client = Wire::OpenAi.client(&server);
    let (sender, pieces) = mpsc::channel(1);
    drop(pieces);
    let request = hello(&Wire::OpenAi.model());
    let reply = client.stream(&request, sender, &never()).await;
    assert_eq!(reply.expect("a reply").text, "still whole");
}

#[tokio::test]
async fn usage_that_is_absent_is_estimated_and_marked() {
    for wire in [Wire::OpenAi, Wire::Ollama, Wire::Gemini] {
        let body = wire.head() + &wire.piece("12345678") + &wire.end(wire.stop(), false);
        let server = Server::sending(body).await;
        let client = wire.client(&server);
        let reply = client.complete(&hello(&wire.model()), &never()).await;
        let usage = reply.expect("a reply").usage;
        assert!(usage.is_estimated, "{wire:?}");
        assert_eq!(usage.completion_tokens, 2, "{wire:?}");
        assert!(usage.prompt_tokens > 0, "{wire:?}");
        assert_eq!(client.usage().estimated_calls, 1);
    }
}

#[tokio::test]
async fn a_refusal_is_a_reply_that_says_so() {
    let wire = Wire::OpenAi;
    let delta = json!({"choices": [{"index": 0, "delta": {"refusal": "I will not."}}]});
    let refusal = wire.head() + &wire.frame(&delta) + &wire.end("stop", true);
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}, "candidates": []});
    let blocked = Wire::Gemini.head() + &Wire::Gemini.frame(&blocked);
    let filtered = wire.head() + &wire.piece("I") + &wire.end("content_filter", true);
    let ant = Wire::Anthropic;
    let refused = ant.head() + &ant.begin() + &ant.end("refusal", true);
    for (wire, body, text) in [
        (wire, refusal, "I will not."),
        (wire, filtered, "I"),
        (ant, refused, ""),
        (Wire::Gemini, blocked, "the prompt was blocked: SAFETY"),
    ] {
        let server = Server::sending(body).await;
        let reply = wire
            .client(&server)
            .complete(&hello(&wire.model()), &never())
            .await;
        let reply = reply.expect("a reply");
        assert_eq!(reply.finish, FinishReason::Filtered, "{wire:?}");
        assert_eq!(reply.text, text, "{wire:?}");
    }
}

#[tokio::test]
async fn a_reply_cut_by_max_tokens_says_so() {
    for (wire, reason) in [
        (Wire::OpenAi, "length"),
        (Wire::Ollama, "length"),
        (Wire::Anthropic, "max_tokens"),
        (Wire::Gemini, "MAX_TOKENS"),
    ] {
        let body = wire.head() + &wire.begin() + &wire.piece("cut") + &wire.end(reason, true);
        let server = Server::sending(body).await;
        let reply = wire
            .client(&server)
            .complete(&hello(&wire.model()), &never())
            .await;
        assert_eq!(
            reply.expect("a reply").finish,
            FinishReason::Length,
            "{wire:?}"
        );
    }
}

#[tokio::test]
async fn a_cost_is_the_providers_or_else_the_configured_price() {
    let wire = Wire::OpenAi;
    let mut config = client_config_with_price(&Server::sending(wire.reply(&["x"])).await);
    let server = Server::sending(wire.reply(&["x"])).await;
    config.providers = wire.config(&server).providers;
    let client = client_of(config);
    let reply = client.complete(&hello(&wire.model()), &never()).await;
    let by_price = Cost {
        micro_dollars: 11 * 3 + 7 * 15,
        source: CostSource::Price,
    };
    assert_eq!(reply.expect("a reply").cost, Some(by_price));
    assert_eq!(client.usage().cost_micro_dollars, by_price.micro_dollars);

    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.0125});
    let body = wire.head()
        + &wire.piece("x")
        + &wire.frame(&json!({"choices": [], "usage": usage}))
        + &wire.end("stop", false);
    let server = Server::sending(body).await;
    let client = client_of(config_at("openrouter", &server.url, Some(KEY)));
    let reply = client.complete(&hello("openrouter/a/b"), &never()).await;
    let cost = reply.expect("a reply").cost.expect("a cost");
    assert_eq!(
        (cost.micro_dollars, cost.source),
        (12_500, CostSource::Provider)
    );
}

fn client_config_with_price(server: &Server) -> ukernel_llm::LlmConfig {
    let mut config = Wire::OpenAi.config(server);
    let price = Price {
        prompt_micro_dollars_per_million: 3_000_000,
        completion_micro_dollars_per_million: 15_000_000,
    };
    config.prices.insert(Wire::OpenAi.model(), price);
    config
}

#[tokio::test]
async fn a_server_without_a_key_is_sent_none() {
    let server = Server::sending(Wire::OpenAi.reply(&["x"])).await;
    let client = client_of(config_at("mine", &server.url, None));
    let reply = client.complete(&hello("mine/tiny"), &never()).await;
    reply.expect("a reply");
    assert!(!server.requests()[0].head.contains("authorization"));
}

#[tokio::test]
async fn a_name_is_sent_as_it_is() {
    for (provider, key) in [
        ("openai", Some(KEY)),
        ("openrouter", Some(KEY)),
        ("mine", None),
    ] {
        let server = Server::sending(Wire::OpenAi.reply(&["x"])).await;
        let client = client_of(config_at(provider, &server.url, key));
        let request = hello(&format!("{provider}/some/thing-medium"));
        let reply = client.complete(&request, &never()).await;
        reply.expect("a reply");
        let body = &server.requests()[0].body;
        assert_eq!(body["model"], "some/thing-medium", "{provider}");
        assert_eq!(body.get("reasoning_effort"), None, "{provider}");
    }
}

#[tokio::test]
async fn a_schema_reaches_every_provider() {
    for wire in ALL {
        // Ollama is asked for a schema by OpenAI's protocol.
        let answers = if wire == Wire::Ollama {
            Wire::OpenAi
        } else {
            wire
        };
        let server = Server::sending(answers.reply(&["{}"])).await;
        let mut request = hello(&wire.model());
        let properties = json!({"answer": {"type": "string"}});
        request.json_schema = Some(json!({"type": "object", "properties": properties,
            "required": ["answer"], "additionalProperties": false}));
        let reply = wire.client(&server).complete(&request, &never()).await;
        assert_eq!(reply.expect("a reply").text, "{}", "{wire:?}");
        let heard = &server.requests()[0];
        assert!(
            heard.body.to_string().contains("\"answer\""),
            "{wire:?}: {}",
            heard.body
        );
        if wire == Wire::Ollama {
            assert!(
                heard.head.starts_with("post /v1/chat/completions "),
                "{}",
                heard.head
            );
        }
    }
}

#[test]
fn a_model_is_known_without_asking_it() {
    let client = client_of(config_at("mine", "http://127.0.0.1:9/v1", None));
    let info = client
        .model_info(&"mine/tiny".parse().expect("a name"))
        .expect("it");
    let base_url = "http://127.0.0.1:9/v1/".to_owned();
    assert_eq!(info.origin, Origin::Provider { base_url });
    let unknown = client.model_info(&"yours/tiny".parse().expect("a name"));
    assert!(
        unknown
            .expect_err("unknown")
            .to_string()
            .contains("mine, ollama")
    );
    let keyless = client.model_info(&"openai/tiny".parse().expect("a name"));
    assert!(
        keyless
            .expect_err("no key")
            .hint()
            .is_some_and(|hint| hint.contains("OPENAI_API_KEY"))
    );
}

/// Servers take tool calls out of a reply even when no tools were offered. Each does it in its own way.
#[tokio::test]
async fn tool_calls_beside_the_text_are_part_of_it() {
    let code = "print('</tool_call>')";
    let arguments = json!({ "code": code }).to_string();
    let (first, rest) = arguments.split_at(10);
    let open_ai = |calls: Vec<serde_json::Value>| {
        let frame = |call: &serde_json::Value| {
            let delta = json!({"role": "assistant", "content": "", "tool_calls": [call]});
            let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
            Wire::OpenAi.frame(&json!({"model": "tiny-2", "choices": [choice]}))
        };
        calls.iter().map(frame).collect::<String>() + &Wire::OpenAi.end("tool_calls", true)
    };
    let part = |function: serde_json::Value| json!({"index": 0, "id": "c1", "type": "function", "function": function});
    let without_name = |text: &str| json!({"index": 0, "function": {"arguments": text}});
    // OpenAI, llama.cpp, vLLM: a name, then pieces.
    let in_pieces = open_ai(vec![
        part(json!({"name": "python", "arguments": ""})),
        without_name(first),
        without_name(rest),
    ]);
    let with_names = open_ai(vec![
        part(json!({"name": "python", "arguments": first})),
        part(json!({"name": "python", "arguments": rest})),
    ]);
    // Ollama's `/v1`: whole calls, each with an index and an id of its own.
    let whole = open_ai(vec![
        part(json!({"name": "python", "arguments": arguments})),
        json!({"index": 1, "id": "c2", "function": {"name": "final_answer", "arguments": "{\"answer\": 1}"}}),
    ]);
    let function = json!({"name": "python", "arguments": {"code": code}});
    let calls = json!([{ "function": function }, {"function": {"name": "final_answer", "arguments": {"answer": 1}}}]);
    let message = json!({"role": "assistant", "content": "", "tool_calls": calls});
    let ollama = Wire::Ollama.frame(&json!({"model": "tiny-2", "done": false, "message": message}))
        + &Wire::Ollama.end("stop", true);
    let block = json!({"type": "tool_use", "id": "c1", "name": "python", "input": {}});
    let ant = Wire::Anthropic;
    let delta = |text: &str| {
        let delta = json!({"type": "input_json_delta", "partial_json": text});
        ant.frame(&json!({"type": "content_block_delta", "index": 1, "delta": delta}))
    };
    let anthropic = ant.piece("Let me look.")
        + &ant.frame(&json!({"type": "content_block_stop", "index": 0}))
        + &ant.frame(&json!({"type": "content_block_start", "index": 1, "content_block": block}))
        + &delta(first)
        + &delta(rest)
        + &ant.end("tool_use", true);
    let call = json!({"functionCall": {"name": "python", "args": {"code": code}}});
    let content = json!({"role": "model", "parts": [call]});
    let gemini = Wire::Gemini
        .frame(&json!({"modelVersion": "tiny-2", "candidates": [{ "content": content }]}))
        + &Wire::Gemini.end("STOP", true);
    for (how, wire, stream, count) in [
        ("in pieces", Wire::OpenAi, in_pieces, 1),
        ("with names", Wire::OpenAi, with_names, 1),
        ("whole", Wire::OpenAi, whole, 2),
        ("Ollama", Wire::Ollama, ollama, 2),
        ("Anthropic", Wire::Anthropic, anthropic, 1),
        ("Gemini", Wire::Gemini, gemini, 1),
    ] {
        let server = Server::sending(wire.head() + &wire.begin() + &stream).await;
        let client = wire.client(&server);
        let reply = client.complete(&hello(&wire.model()), &never()).await;
        let text = reply.unwrap_or_else(|error| panic!("{how}: {error}")).text;
        let calls: Vec<_> = text.split("\n<tool_call>").skip(1).collect();
        assert_eq!(calls.len(), count, "{how}: {text}");
        let call = calls[0].strip_suffix("</tool_call>\n").expect("its end");
        let call: serde_json::Value = serde_json::from_str(call).expect("JSON");
        assert_eq!(call["name"], "python", "{how}: {text}");
        let said = match &call["arguments"] {
            serde_json::Value::String(said) => serde_json::from_str(said).expect("JSON"),
            said => said.clone(),
        };
        assert_eq!(said["code"], code, "{how}: {text}");
    }
}
