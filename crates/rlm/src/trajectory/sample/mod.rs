//! Made-up runs for tests, and for a look at what they become.

mod licences;
mod others;
mod texts;

pub(crate) use licences::whole;
pub(crate) use others::{cut, deep, many, partial, quiet, silent_failure};

use crate::trajectory::record::{
    Budget, CommandEnded, Event, ModelReply, NodeStarted, Record, RunStarted, Spent,
};
use ukernel_llm::{Cost, CostSource, FinishReason, Usage};

/// The records as lines of a file.
pub(crate) fn lines(records: &[Record]) -> String {
    let mut lines = String::new();
    for record in records {
        lines.push_str(&serde_json::to_string(record).expect("JSON"));
        lines.push('\n');
    }
    lines
}

/// Records as they come, with a clock.
#[derive(Default)]
struct Tape {
    records: Vec<Record>,
    at_ms: f64,
}

impl Tape {
    fn add(&mut self, after_ms: f64, node: u32, event: Event) {
        // Quarters are the same after they were written and read.
        self.at_ms = ((self.at_ms + after_ms) * 4.0).round() / 4.0;
        self.records.push(Record {
            at_ms: self.at_ms,
            node,
            event,
        });
    }

    fn start(&mut self, run: RunStarted, node: NodeStarted) {
        self.add(0.0, 0, Event::RunStarted(run));
        self.add(41.7, 0, Event::NodeStarted(node));
    }

    /// A model is asked and replies.
    fn step(&mut self, node: u32, step: u32, new: Vec<ukernel_llm::Message>, reply: ModelReply) {
        let prompt_bytes = reply.usage.prompt_tokens * 4;
        let asked = Event::ModelAsked {
            step,
            prompt_bytes,
            new_messages: Some(new),
        };
        self.add(1.0, node, asked);
        let latency_ms = reply.latency_ms;
        self.add(latency_ms, node, Event::ModelReplied { step, reply });
    }

    fn command(&mut self, node: u32, step: u32, kind: &str, source: &str) {
        let started = Event::CommandStarted {
            step,
            kind: kind.to_owned(),
            bytes: source.len() as u64,
            source: Some(source.to_owned()),
        };
        self.add(0.8, node, started);
    }

    fn call(&mut self, node: u32, call: u32, name: &str, items: u32, bytes: u64) {
        let name = name.to_owned();
        let started = Event::CallStarted {
            call,
            name,
            items,
            bytes,
        };
        self.add(2.0, node, started);
    }

    fn query(&mut self, after_ms: f64, call: u32, item: u32, prompt: &str, reply: ModelReply) {
        let replied = Event::QueryReplied {
            call,
            item,
            prompt_bytes: prompt.len() as u64,
            prompt: Some(prompt.to_owned()),
            reply,
        };
        self.add(after_ms, 0, replied);
    }

    fn call_ended(&mut self, node: u32, call: u32, total_ms: f64) {
        let error = None;
        let ended = Event::CallEnded {
            call,
            error,
            total_ms,
        };
        self.add(0.4, node, ended);
    }
}

fn run_started(model: &str, origin: &str) -> RunStarted {
    RunStarted {
        version: 1,
        ukernel: "0.1.0".to_owned(),
        run: "licences-7f3c".to_owned(),
        started_unix_ms: 1_795_268_678_123,
        verbose: true,
        model: model.to_owned(),
        sub_model: "ollama/qwen3:4b".to_owned(),
        origin: origin.to_owned(),
        budget: Budget {
            tokens: 200_000,
            micro_dollars: Some(500_000),
            wall_clock_ms: 600_000,
            sub_calls: 100,
            depth: 2,
            output_bytes: 1 << 20,
        },
    }
}

/// A reply of so many tokens; a prompt of 0 tokens has no known cost.
fn reply(
    text: &str,
    latency_ms: f64,
    prompt_tokens: u64,
    micro_dollars: Option<u64>,
) -> ModelReply {
    ModelReply {
        model: "qwen3-32b-instruct".to_owned(),
        digest: "5c".repeat(32).parse().expect("a digest"),
        reply_bytes: text.len() as u64,
        reply: Some(text.to_owned()),
        finish: FinishReason::Stop,
        usage: Usage {
            prompt_tokens,
            completion_tokens: text.len() as u64 / 4 + 1,
            is_estimated: micro_dollars.is_none(),
        },
        cost: micro_dollars.map(|micro_dollars| Cost {
            micro_dollars,
            source: CostSource::Provider,
        }),
        latency_ms,
        attempts: 1,
    }
}

fn ended(step: u32, status: &str, stdout: &str, stderr: &str, run_ms: f64) -> Event {
    Event::CommandEnded(CommandEnded {
        step,
        status: status.to_owned(),
        ok: status == "ok",
        stdout_bytes: stdout.len() as u64,
        stderr_bytes: stderr.len() as u64,
        files: Vec::new(),
        stdout: Some(stdout.to_owned()),
        stderr: Some(stderr.to_owned()),
        value: None,
        run_ms,
        total_ms: run_ms + 3.1,
    })
}

fn spent(steps: u64, model_calls: u64, tokens: u64, micro_dollars: u64, elapsed_ms: f64) -> Spent {
    Spent {
        prompt_tokens: tokens * 9 / 10,
        completion_tokens: tokens / 10,
        estimated_calls: 6,
        micro_dollars,
        calls_without_cost: 6,
        model_calls,
        sub_calls: 7,
        steps,
        output_bytes: 1204,
        elapsed_ms,
    }
}

/// Writes the samples and what they become to the folder `TRACE_OUT`, for a person to look at.
#[test]
#[ignore = "for a look, not a check"]
fn samples_for_a_look() {
    use crate::trajectory::{html, text, tree::Run};
    let folder = std::path::PathBuf::from(std::env::var("TRACE_OUT").expect("TRACE_OUT"));
    for (name, records) in [
        ("whole", whole()),
        ("partial", partial()),
        ("cut", cut()),
        ("failed", silent_failure()),
        ("quiet", quiet(whole())),
        ("many", many(10_000)),
        ("hostile", crate::trajectory::hostile::poisoned()),
    ] {
        let write = |ending: &str, text: String| {
            std::fs::write(folder.join(format!("{name}.{ending}")), text).expect("written");
        };
        write("jsonl", lines(&records));
        let run = Run::from_records(records);
        write("html", html::page(&run));
        let mut style = text::Style {
            colour: true,
            width: 110,
            full: false,
        };
        write("txt", text::show(&run, style));
        style.full = true;
        write("full.txt", text::show(&run, style));
    }
}
