//! Made-up runs for tests. `data/` has them as trajectories, which `ukernel trace` can show.

use crate::record::{Event, NodeStarted, Outcome, Record};
use ukernel_llm::Message;

/// The records as lines of a file.
pub(crate) fn lines(records: &[Record]) -> String {
    let line = |record: &Record| serde_json::to_string(record).expect("JSON") + "\n";
    records.iter().map(line).collect()
}

fn records(lines: &str) -> Vec<Record> {
    let record = |line: &str| serde_json::from_str(line).expect("a record");
    lines.lines().map(record).collect()
}

/// A run as it might be: three steps, a batch of six queries of which one fails, a child of two steps, an
/// error in Python, a correction, and an answer.
pub(crate) fn whole() -> Vec<Record> {
    records(include_str!("../data/whole.jsonl"))
}

/// A run that fails, and says little: it is not verbose.
pub(crate) fn silent_failure() -> Vec<Record> {
    records(include_str!("../data/failed.jsonl"))
}

/// A run that a limit ended, played from a file.
pub(crate) fn partial() -> Vec<Record> {
    let mut records = whole();
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
                    *partial = Some("the budget of 20,000 tokens was nearly used".to_owned());
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
    records.truncate(records.iter().position(fourth).expect("a query"));
    records
}

/// The same run, as if its texts were not recorded.
pub(crate) fn quiet(records: Vec<Record>) -> Vec<Record> {
    let mut records: Vec<Record> = records.into_iter().map(Record::without_texts).collect();
    if let Some(Event::RunStarted(run)) = records.first_mut().map(|record| &mut record.event) {
        run.verbose = false;
    }
    records
}

/// A run with one batch of so many queries, each with a long prompt; one in a thousand fails.
pub(crate) fn many(queries: u32) -> Vec<Record> {
    let mut all = Vec::new();
    let batch = records(include_str!("../data/batch.jsonl"));
    let is_query = |record: &Record| {
        matches!(
            record.event,
            Event::QueryReplied { .. } | Event::QueryFailed { .. }
        )
    };
    let first = batch.iter().position(is_query).expect("a query");
    for (at, record) in batch.iter().enumerate() {
        if at == first {
            all.extend((0..queries).map(|number| {
                let mut query = batch[first + usize::from(number % 1000 == 7)].clone();
                match &mut query.event {
                    Event::QueryFailed { item, .. } => *item = number,
                    Event::QueryReplied { item, prompt, .. } => {
                        *item = number;
                        *prompt = prompt.as_ref().map(|prompt| prompt.repeat(600));
                    }
                    _ => {}
                }
                query
            }));
        } else if !is_query(record) {
            let mut record = record.clone();
            if let Event::CallStarted { items, .. } = &mut record.event {
                *items = queries;
            }
            all.push(record);
        }
    }
    all
}

/// Nodes in nodes, so many levels of them, each with a text of many lines.
pub(crate) fn deep(levels: u32) -> Vec<Record> {
    let Event::NodeStarted(root) = whole().swap_remove(1).event else {
        panic!("the second record of the sample is the root");
    };
    let mut records = Vec::new();
    let mut add = |node, event| {
        let at_ms = records.len() as f64;
        records.push(Record { at_ms, node, event });
    };
    add(0, Event::NodeStarted(root.clone()));
    for id in 0..levels {
        let asked = Event::ModelAsked {
            step: 1,
            prompt_bytes: 4,
            new_messages: Some(vec![Message::user("why?\n".repeat(100))]),
        };
        add(id, asked);
        let command = Event::CommandStarted {
            step: 1,
            kind: "python".to_owned(),
            bytes: 17,
            source: Some("rlm_query('Why?')".to_owned()),
        };
        add(id, command);
        let call = Event::CallStarted {
            call: id,
            name: "rlm_query".to_owned(),
            items: 1,
            bytes: 4,
        };
        add(id, call);
        let child = NodeStarted {
            parent: Some(id),
            call: Some((id, 0)),
            depth: id + 1,
            ..root.clone()
        };
        add(id + 1, Event::NodeStarted(child));
    }
    records
}
