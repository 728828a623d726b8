//! Runs that end otherwise, and a large one.

use super::licences::{node, shape, whole};
use super::{Tape, ended, reply, run_started, spent};
use crate::trajectory::record::{Event, NodeStarted, Outcome, Record};
use ukernel_llm::Message;

/// A run that a limit ended, played from a file.
pub(crate) fn partial() -> Vec<Record> {
    let mut records = whole();
    let limit = "the budget of 20,000 tokens was nearly used";
    for record in &mut records {
        match &mut record.event {
            Event::RunStarted(run) => {
                run.model = "replay:licences.jsonl".to_owned();
                run.sub_model = "replay:licences.jsonl".to_owned();
                run.origin = "a replay of licences.jsonl (12 lines); no model is asked".to_owned();
                run.budget.tokens = 20_000;
                run.budget.micro_dollars = None;
            }
            Event::NodeEnded { outcome, .. } | Event::RunEnded { outcome, .. }
                if record.node == 0 =>
            {
                if let Outcome::Answered { partial, .. } = outcome {
                    *partial = Some(limit.to_owned());
                }
            }
            _ => {}
        }
    }
    records
}

/// A run whose process ended in the middle of a batch.
pub(crate) fn cut() -> Vec<Record> {
    let mut records = whole();
    let fourth = |record: &Record| matches!(record.event, Event::QueryReplied { item: 4, .. });
    let end = records.iter().position(fourth).expect("a query");
    records.truncate(end);
    records
}

/// A run that fails, and says little: it is not verbose.
pub(crate) fn silent_failure() -> Vec<Record> {
    let mut tape = Tape::default();
    tape.start(
        run_started("ollama/qwen3:32b", "http://127.0.0.1:11434/v1"),
        node("Why?", shape(), None),
    );
    let asked = vec![Message::user("Why?")];
    tape.step(0, 1, asked, reply("I cannot say.", 900.0, 120, None));
    let asked = Event::ModelAsked {
        step: 2,
        prompt_bytes: 512,
        new_messages: None,
    };
    tape.add(0.1, 0, asked);
    let error = "no connection to http://127.0.0.1:11434/v1: connection refused".to_owned();
    let failed = Event::ModelFailed {
        step: 2,
        error: error.clone(),
        failed: None,
    };
    tape.add(30_000.0, 0, failed);
    let outcome = Outcome::Failed { error };
    let spent = spent(2, 1, 124, 0, 31_000.0);
    tape.add(
        0.1,
        0,
        Event::NodeEnded {
            outcome: outcome.clone(),
            spent,
        },
    );
    tape.add(0.1, 0, Event::RunEnded { outcome, spent });
    quiet(tape.records)
}

/// The same run, as if its texts were not recorded.
pub(crate) fn quiet(mut records: Vec<Record>) -> Vec<Record> {
    let hush = |outcome: &mut Outcome| {
        if let Outcome::Answered { answer, .. } = outcome {
            *answer = None;
        }
    };
    for record in &mut records {
        match &mut record.event {
            Event::RunStarted(run) => run.verbose = false,
            Event::NodeStarted(node) => {
                node.question = None;
                node.context
                    .parts
                    .iter_mut()
                    .for_each(|part| part.first.clear());
            }
            Event::ModelAsked { new_messages, .. } => *new_messages = None,
            Event::ModelReplied { reply, .. } => reply.reply = None,
            Event::CommandStarted { source, .. } => *source = None,
            Event::CommandEnded(ended) => {
                (ended.stdout, ended.stderr, ended.value) = (None, None, None);
            }
            Event::QueryReplied { prompt, reply, .. } => {
                *prompt = None;
                reply.reply = None;
            }
            Event::NodeEnded { outcome, .. } | Event::RunEnded { outcome, .. } => hush(outcome),
            _ => {}
        }
    }
    records
}

/// A run with one batch of so many queries, each with a long prompt.
pub(crate) fn many(queries: u32) -> Vec<Record> {
    let mut tape = Tape::default();
    tape.start(
        run_started("ollama/qwen3:32b", "http://127.0.0.1:11434/v1"),
        node("Which of these lines is about a cat?", shape(), None),
    );
    let asked = vec![Message::user("Which of these lines is about a cat?")];
    tape.step(
        0,
        1,
        asked,
        reply("```python\nask_all()\n```", 900.0, 120, None),
    );
    tape.command(0, 1, "python", "ask_all()\n");
    tape.call(0, 1, "query_llm", queries, 1 << 20);
    for item in 0..queries {
        let prompt = format!("Line {item}: {}", "a dog or a cat? ".repeat(600));
        if item % 1000 == 7 {
            let error = "overloaded (529)".to_owned();
            tape.add(
                3.0,
                0,
                Event::QueryFailed {
                    call: 1,
                    item,
                    error,
                    failed: None,
                },
            );
        } else {
            let reply = reply("It is about a dog.", 300.0, 2400, Some(12));
            tape.query(3.0, 1, item, &prompt, reply);
        }
    }
    tape.call_ended(0, 1, f64::from(queries) * 3.0);
    tape.add(1.0, 0, ended(1, "ok", "none\n", "", 30_000.0));
    let outcome = super::licences::answered("None.");
    let spent = spent(1, 10_001, 24_000_000, 120_000, 31_000.0);
    tape.add(0.1, 0, Event::RunEnded { outcome, spent });
    tape.records
}

/// Nodes in nodes, so many levels of them, each with a text of many lines.
pub(crate) fn deep(levels: u32) -> Vec<Record> {
    let mut tape = Tape::default();
    let started = |parent: Option<u32>| {
        Event::NodeStarted(NodeStarted {
            parent,
            call: parent.map(|parent| (parent, 0)),
            ..node("Why?", shape(), None)
        })
    };
    tape.add(0.0, 0, started(None));
    for id in 0..levels {
        let asked = Event::ModelAsked {
            step: 1,
            prompt_bytes: 4,
            new_messages: Some(vec![Message::user("why?\n".repeat(100))]),
        };
        tape.add(1.0, id, asked);
        tape.command(id, 1, "python", "rlm_query('Why?')");
        tape.call(id, id, "rlm_query", 1, 4);
        tape.add(1.0, id + 1, started(Some(id)));
    }
    tape.records
}
