//! A run as it might be: three steps, a batch of six queries of which one fails, a child of two
//! steps, an error in Python, a correction, and an answer.

use super::texts::*;
use super::{Tape, ended, reply, run_started, spent};
use crate::trajectory::record::{ContextPart, ContextShape, Event, NodeStarted, Outcome, Record};
use ukernel_llm::Message;

/// All of it.
pub(crate) fn whole() -> Vec<Record> {
    let mut tape = Tape::default();
    tape.start(
        run_started(
            "openrouter/qwen/qwen3-32b",
            "https://openrouter.example/api/v1",
        ),
        node(QUESTION, shape(), None),
    );
    tape.add(
        0.1,
        0,
        Event::Warned {
            message: "the term `Zlib` is in no glossary".to_owned(),
        },
    );
    let messages = vec![Message::system(RULES), Message::user(QUESTION)];
    tape.step(0, 1, messages, reply(LOOK, 2314.0, 612, Some(1830)));
    tape.command(0, 1, "python", LOOK_CODE);
    tape.add(21.0, 0, ended(1, "KeyError", LOOK_OUT, LOOK_ERR, 17.9));

    ask(&mut tape);

    let told = vec![Message::user(format!("Output:\n{ASK_OUT}"))];
    let text = format!("```python\nfinal({ANSWER:?})\n```");
    tape.step(0, 3, told, reply(&text, 3127.0, 2204, Some(4120)));
    tape.command(0, 3, "python", &format!("final({ANSWER:?})\n"));
    tape.call(0, 3, "final", 0, ANSWER.len() as u64);
    tape.call_ended(0, 3, 0.3);
    tape.add(1.1, 0, ended(3, "ok", "", "", 6.2));
    tape.add(
        0.2,
        0,
        Event::NodeEnded {
            outcome: answered(ANSWER),
            spent: spent(5, 10, 31_480, 13_120, 21_903.0),
        },
    );
    tape.add(
        3.0,
        0,
        Event::RunEnded {
            outcome: answered(ANSWER),
            spent: spent(5, 10, 31_480, 13_120, 21_906.0),
        },
    );
    tape.records
}

/// The second step: a batch, and a child.
fn ask(tape: &mut Tape) {
    let told = vec![Message::user(format!("Output:\n{LOOK_OUT}{LOOK_ERR}"))];
    tape.step(0, 2, told, reply(ASK, 4120.0, 1204, Some(3310)));
    tape.command(0, 2, "python", ASK_CODE);
    tape.call(0, 1, "query_llm", 6, 67_000);
    // They are answered side by side, the long ones last.
    for (item, after_ms) in [
        (3, 410.0),
        (1, 120.0),
        (4, 60.0),
        (0, 900.0),
        (2, 350.0),
        (5, 700.0),
    ] {
        let (name, length, _) = NAMES[item];
        let item = item as u32;
        match SUB_REPLIES[item as usize] {
            Some(text) => {
                let prompt = format!(
                    "Does this licence mention patents? Answer yes or no, then quote.\n\n{name}\n{}",
                    "Permission is hereby granted, and so on.\n".repeat(length as usize / 400)
                );
                let latency = if length > 10_000 { 1300.0 } else { 400.0 };
                let mut reply = reply(text, latency, length / 4, None);
                reply.model = "qwen3-4b".to_owned();
                reply.attempts = if item == 5 { 2 } else { 1 };
                tape.query(after_ms, 1, item, &prompt, reply);
            }
            None => {
                let error = "rate limited (429) after 3 attempts: try again in 20 s".to_owned();
                tape.add(
                    after_ms,
                    0,
                    Event::QueryFailed {
                        call: 1,
                        item,
                        error,
                        failed: None,
                    },
                );
            }
        }
    }
    tape.call_ended(0, 1, 2543.0);
    tape.call(0, 2, "rlm_query", 1, 35_210);
    child(tape);
    tape.call_ended(0, 2, 6031.0);
    tape.add(0.9, 0, ended(2, "ok", ASK_OUT, "", 8604.0));
}

/// The child: a reply that cannot be followed, then an answer.
fn child(tape: &mut Tape) {
    let question = "Which sections speak of patents, and what do they say?";
    let part = ContextPart {
        name: "context".to_owned(),
        kind: "str".to_owned(),
        length: 35_149,
        lines: 674,
        replaced: 0,
        first: vec![
            "GNU GENERAL PUBLIC LICENSE".to_owned(),
            "Version 3, 29 June 2007".to_owned(),
        ],
    };
    let context = ContextShape {
        kind: "str".to_owned(),
        parts: vec![part],
    };
    tape.add(
        38.0,
        1,
        Event::NodeStarted(node(question, context, Some((2, 0)))),
    );
    let messages = vec![Message::system(RULES), Message::user(question)];
    tape.step(
        1,
        1,
        messages,
        reply("Sections 10 and 11.", 1460.0, 640, Some(1210)),
    );
    let reason = "There is no code in the reply. Look at the context first, and end with final().";
    tape.add(
        0.3,
        1,
        Event::Corrected {
            step: 1,
            reason: reason.to_owned(),
        },
    );
    tape.add(
        0.1,
        1,
        Event::Compacted {
            step: 2,
            tokens_before: 9120,
            tokens_after: 3204,
        },
    );
    let code = "import re\nfor hit in re.finditer(r'patent', context):\n    pass\nfinal('Section 11 \
                \"Patents\" grants a licence from every contributor; section 10 forbids patent \
                litigation.')\n";
    let text = format!("```python\n{code}```");
    let told = vec![Message::user(reason)];
    tape.step(1, 2, told, reply(&text, 4210.0, 702, Some(2650)));
    tape.command(1, 2, "python", code);
    tape.call(1, 4, "final", 0, 99);
    tape.call_ended(1, 4, 0.2);
    tape.add(3.0, 1, ended(2, "ok", "", "", 9.8));
    let answer = "Section 11 \"Patents\" grants a licence from every contributor; section 10 forbids \
                  patent litigation.";
    tape.add(
        0.3,
        1,
        Event::NodeEnded {
            outcome: answered(answer),
            spent: spent(2, 2, 3120, 3860, 5731.0),
        },
    );
}

pub(super) fn answered(answer: &str) -> Outcome {
    Outcome::Answered {
        answer_bytes: answer.len() as u64,
        answer: Some(answer.to_owned()),
        partial: None,
    }
}

pub(super) fn node(question: &str, context: ContextShape, call: Option<(u32, u32)>) -> NodeStarted {
    NodeStarted {
        parent: call.map(|_| 0),
        call,
        depth: u32::from(call.is_some()),
        session: "s-1".to_owned(),
        question_bytes: question.len() as u64,
        question: Some(question.to_owned()),
        context,
        load_ms: 12.4,
        max_tokens: 200_000,
    }
}

pub(super) fn shape() -> ContextShape {
    let part = |&(name, length, lines): &(&str, u64, u64)| ContextPart {
        name: name.to_owned(),
        kind: "str".to_owned(),
        length,
        lines,
        replaced: u64::from(name == "ISC"),
        first: vec![
            format!("{name} licence"),
            String::new(),
            "Copyright (c) …".to_owned(),
        ],
    };
    ContextShape {
        kind: "dict".to_owned(),
        parts: NAMES.iter().map(part).collect(),
    }
}
