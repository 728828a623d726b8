//! A scripted expert: a model that always knows the next step. It proves the runtime, not a model.
//!
//! Steps are fixed programs; sub-queries are answered by reading the prompt, as a good model would.
//! Meanwhile it looks at every prompt of a step: none may hold lines of the context.

use super::tasks::MEANINGS;
use async_trait::async_trait;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ukernel_llm::{
    FinishReason, GenericLlmClient, LlmError, ModelInfo, ModelName, Origin, Reply, Request, Role,
    Usage, UsageTotals,
};

const LOOK: &str = "```python\nprint(type(context).__name__, len(context))\n```";

const FIND_NEEDLE: &str = r#"```python
at = context.find("gate code of")
piece = context[max(0, at - 300):at + 300]
answer_text = query_llm("Which number is the gate code? Reply with the number only.\n\n" + piece)
print(answer_text)
```"#;

const COUNT: &str = r#"```python
rows = [line for line in context.splitlines() if f"| user {USER} |" in line]
batches = [rows[n:n + 25] for n in range(0, len(rows), 25)]
ask = "What is each line about: animal, tool, food or weather? One word a line, in order.\n\n"
replies = query_llm_batched([ask + "\n".join(batch) for batch in batches])
labels = [label for reply in replies for label in reply.split()]
assert len(labels) == len(rows), (len(labels), len(rows))
answer_text = str(labels.count("ABOUT"))
print(answer_text)
```"#;

const SPLIT: &str = r#"```python
import json
lines = context.splitlines()
size = -(-len(lines) // 4)
parts = ["\n".join(lines[n:n + size]) for n in range(0, len(lines), size)]
found = rlm_query_batched(["Segment: which users have entries about what?"] * len(parts), parts)
about = {}
for one in found:
    for user, meanings in json.loads(one).items():
        about.setdefault(user, set()).update(meanings)
both = sum(1 for meanings in about.values() if {"FIRST", "SECOND"} <= meanings)
answer_text = str(both * (both - 1) // 2)
print(answer_text)
```"#;

const SEGMENT: &str = r#"```python
import json
rows = context.splitlines()
batches = [rows[n:n + 25] for n in range(0, len(rows), 25)]
ask = "What is each line about: animal, tool, food or weather? One word a line, in order.\n\n"
replies = query_llm_batched([ask + "\n".join(batch) for batch in batches])
about = {}
for batch, reply in zip(batches, replies):
    for row, label in zip(batch, reply.split()):
        about.setdefault(row.split("|")[1].strip(), set()).add(label)
answer_text = json.dumps({user: sorted(meanings) for user, meanings in about.items()})
print(len(rows))
```"#;

/// The expert, and what it has seen.
#[derive(Default)]
pub struct Expert {
    /// Hashes of the context's lines, but the first ones.
    lines: Mutex<HashSet<u64>>,
    /// Lines of the context seen in prompts of steps.
    pub leaked: AtomicU64,
    /// Longest prompt of a step, in bytes.
    pub longest: AtomicU64,
}

fn hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.trim().hash(&mut hasher);
    hasher.finish()
}

impl Expert {
    /// Notes what must not be in prompts. A few first lines may be: they are part of its shape.
    pub fn guard(&self, text: &str) {
        let lines = text.lines().skip(3).map(hash).collect();
        *self
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = lines;
    }

    fn look_at(&self, request: &Request) {
        let lines = self
            .lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let texts = request.messages.iter().map(|message| message.text.as_str());
        let leaked = texts
            .clone()
            .flat_map(str::lines)
            .filter(|line| lines.contains(&hash(line)))
            .count();
        self.leaked.fetch_add(leaked as u64, Ordering::Relaxed);
        let bytes: usize = texts.map(str::len).sum();
        self.longest.fetch_max(bytes as u64, Ordering::Relaxed);
    }
}

/// The step behind so many.
fn step(question: &str, steps: usize) -> String {
    match steps {
        0 => LOOK.to_owned(),
        1 => program(question),
        _ => "FINAL_VAR(answer_text)".to_owned(),
    }
}

fn program(question: &str) -> String {
    let words: Vec<&str> = question.trim_end_matches('?').split(' ').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    if question.starts_with("What is the gate code") {
        FIND_NEEDLE.to_owned()
    } else if question.starts_with("How many entries") {
        COUNT.replace("{USER}", word(5)).replace("ABOUT", word(8))
    } else if question.starts_with("How many pairs") {
        let last = words.len().saturating_sub(1);
        SPLIT
            .replace("FIRST", word(last.saturating_sub(3)))
            .replace("SECOND", word(last))
    } else {
        SEGMENT.to_owned()
    }
}

/// What a reader says to a sub-query.
fn read(prompt: &str) -> String {
    let Some((task, text)) = prompt.split_once("\n\n") else {
        return "?".to_owned();
    };
    if task.starts_with("Which number") {
        let found = text.split("gate code of ").nth(1).and_then(|rest| {
            let (_, number) = rest.split_once(" is ")?;
            number.split('.').next()
        });
        return found.unwrap_or("none").to_owned();
    }
    let meaning = |line: &str| {
        MEANINGS
            .iter()
            .find(|(_, words)| {
                words
                    .iter()
                    .any(|word| line.contains(&format!("the {word} ")))
            })
            .map_or("?", |(name, _)| name)
    };
    text.lines().map(meaning).collect::<Vec<_>>().join("\n")
}

#[async_trait]
impl GenericLlmClient for Expert {
    async fn stream(
        &self,
        request: &Request,
        pieces: mpsc::Sender<String>,
        _: &CancellationToken,
    ) -> Result<Reply, LlmError> {
        let began = Instant::now();
        let is_step = request
            .messages
            .first()
            .is_some_and(|message| message.role == Role::System);
        let text = if is_step {
            self.look_at(request);
            let replies = request.messages.iter();
            let steps = replies.filter(|one| one.role == Role::Assistant).count();
            let question = request.messages.get(1).map_or("", |one| one.text.as_str());
            step(question, steps)
        } else {
            read(request.messages.last().map_or("", |one| one.text.as_str()))
        };
        // A listener that is gone does not change the reply.
        let _ = pieces.send(text.clone()).await;
        let bytes: usize = request.messages.iter().map(|one| one.text.len()).sum();
        Ok(Reply {
            usage: Usage {
                prompt_tokens: ukernel_llm::estimate_tokens(bytes as u64),
                completion_tokens: ukernel_llm::estimate_tokens(text.len() as u64),
                is_estimated: true,
            },
            text,
            finish: FinishReason::Stop,
            cost: None,
            model: "expert".to_owned(),
            latency: began.elapsed().max(Duration::from_nanos(1)),
            attempts: 1,
        })
    }

    fn model_info(&self, model: &ModelName) -> Result<ModelInfo, LlmError> {
        Ok(ModelInfo {
            model: model.clone(),
            origin: Origin::Provider {
                base_url: "a scripted expert".to_owned(),
            },
            price: None,
        })
    }

    fn usage(&self) -> UsageTotals {
        UsageTotals::default()
    }
}
