//! Hostile records.

use crate::record::{
    CommandEnded, ContextPart, ContextShape, Event, FailedCall, ModelReply, NodeStarted, Outcome,
    Record, RunStarted,
};
use crate::sample;
use proptest::prelude::*;
use serde_json::Value;
use ukernel_budget::Spent;
use ukernel_llm::{FailureKind, FinishReason, Message, Usage};

const POISON: &str = "</pre></details><script>alert(1)</script><img src=x onerror=alert(2)>\" \
onmouseover='x' \x1b[2J\x1b]0;title\x07\u{9b}31m\u{202e}txt.exe\u{2066}\r\n<!-- &lt;\0";

/// The sample with poison in every text.
pub(crate) fn poisoned() -> Vec<Record> {
    let mut records = Vec::new();
    for record in sample::whole() {
        let mut value = serde_json::to_value(&record).expect("JSON");
        poison(&mut value);
        records.push(serde_json::from_value(value).expect("a record"));
    }
    records
}

fn poison(value: &mut Value) {
    const KEPT: [&str; 5] = ["event", "outcome", "finish", "digest", "role"];
    match value {
        // The names of who says what a call cost.
        Value::String(text) if text == "provider" || text == "price" => {}
        Value::String(text) => *text = format!("{POISON}{text}"),
        Value::Array(items) => items.iter_mut().for_each(poison),
        Value::Object(fields) => {
            for (key, value) in fields {
                if !KEPT.contains(&key.as_str()) {
                    poison(value);
                }
            }
        }
        _ => {}
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(POISON.to_owned()),
        Just("query_llm".to_owned()),
        any::<String>()
    ]
}

fn reply(text: String, number: u64) -> ModelReply {
    ModelReply {
        model: text.clone(),
        digest: "00".repeat(32).parse().expect("a digest"),
        reply_bytes: number,
        reply: number.is_multiple_of(2).then_some(text),
        finish: FinishReason::Length,
        usage: Usage {
            prompt_tokens: number,
            completion_tokens: number,
            is_estimated: false,
        },
        cost: None,
        latency_ms: number as f64,
        attempts: number as u32,
    }
}

fn failed(number: u64) -> Option<FailedCall> {
    Some(FailedCall {
        digest: "00".repeat(32).parse().expect("a digest"),
        provider: "some\u{1b}one".to_owned(),
        kind: FailureKind::Overloaded,
        message: "too much".to_owned(),
        retry_after_ms: Some(number),
        attempts: 2,
        status: Some(529),
        usage: Some(Usage {
            prompt_tokens: number,
            completion_tokens: number,
            is_estimated: true,
        }),
        cost: None,
    })
}

fn outcome(text: String, number: u64) -> Outcome {
    match number % 3 {
        0 => Outcome::Failed { error: text },
        _ => Outcome::Answered {
            answer_bytes: number,
            answer: Some(text.clone()),
            partial: number.is_multiple_of(2).then_some(text),
        },
    }
}

/// Numbers are small, so that records fit together more often than not.
fn event() -> impl Strategy<Value = Event> {
    let picks = (
        0..16_u8,
        0..3_u32,
        0..4_u32,
        prop_oneof![0..3_u32, Just(u32::MAX)],
        prop_oneof![0..9_u64, Just(u64::MAX), any::<u64>()],
        text(),
        text(),
        proptest::num::f64::ANY,
    );
    picks.prop_map(
        |(kind, step, call, item, number, text, other, ms)| match kind {
            0 => match sample::whole().swap_remove(0).event {
                Event::RunStarted(run) => Event::RunStarted(RunStarted {
                    origin: text,
                    run: other,
                    ..run
                }),
                other => other,
            },
            1 | 2 => Event::NodeStarted(NodeStarted {
                parent: call.checked_sub(1),
                call: call.checked_sub(1).map(|call| (call, item)),
                depth: step,
                session: text.clone(),
                question_bytes: number,
                question: Some(text.clone()),
                context: ContextShape {
                    kind: other,
                    parts: vec![
                        ContextPart {
                            name: text.clone(),
                            length: number,
                            first: vec![text],
                            ..ContextPart::default()
                        };
                        step as usize
                    ],
                },
                load_ms: ms,
                max_tokens: number,
            }),
            3 | 4 => Event::ModelAsked {
                step,
                prompt_bytes: number,
                new_messages: Some(vec![Message::user(text)]),
            },
            5 => Event::ModelReplied {
                step,
                reply: reply(text, number),
            },
            6 => Event::ModelFailed {
                step,
                error: text,
                failed: None,
            },
            7 => Event::Corrected { step, reason: text },
            8 | 9 => Event::CommandStarted {
                step,
                kind: other,
                bytes: number,
                source: Some(text),
            },
            10 => Event::CommandEnded(CommandEnded {
                step,
                status: other.clone(),
                ok: item == 0,
                stdout_bytes: number,
                stderr_bytes: number,
                files: vec![other],
                stdout: Some(text.clone()),
                stderr: Some(text.clone()),
                value: Some(text),
                run_ms: ms,
                total_ms: ms,
            }),
            11 | 12 => Event::CallStarted {
                call,
                name: text,
                items: item,
                bytes: number,
            },
            13 => match item {
                0 => Event::QueryFailed {
                    call,
                    item,
                    error: text,
                    failed: failed(number),
                },
                1 => Event::CallEnded {
                    call,
                    error: Some(text),
                    total_ms: ms,
                },
                _ => Event::QueryReplied {
                    call,
                    item,
                    prompt_bytes: number,
                    prompt: Some(other),
                    reply: reply(text, number),
                },
            },
            14 => match item {
                0 => Event::Compacted {
                    step,
                    tokens_before: number,
                    tokens_after: number,
                },
                _ => Event::Warned { message: text },
            },
            _ => {
                let spent = Spent {
                    micro_dollars: number,
                    prompt_tokens: number,
                    elapsed_ms: ms,
                    ..Spent::default()
                };
                match item {
                    0 => Event::RunEnded {
                        outcome: outcome(text, number),
                        spent,
                    },
                    _ => Event::NodeEnded {
                        outcome: outcome(text, number),
                        spent,
                    },
                }
            }
        },
    )
}

/// Any record.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    let at_ms = prop_oneof![0.0..9.0, proptest::num::f64::ANY];
    (at_ms, 0..4_u32, event()).prop_map(|(at_ms, node, event)| Record { at_ms, node, event })
}
