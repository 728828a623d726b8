//! A run as it happens, line by line, for a terminal.
//!
//! Lines are only ever added; what goes on right now is a status that the next line replaces. Every
//! text is made harmless on its way out, as in the other renderings.

use crate::figures::{bytes, dollars, short, things, time};
use crate::printable::excerpt;
use crate::record::{Event, ModelReply, NodeStarted, Outcome, Record};
use crate::words;
use std::collections::HashMap;
use ukernel_budget::Spent;

/// Columns of excerpts.
const EXCERPT: usize = 60;

/// What is known of a node while it runs.
#[derive(Debug, Default)]
struct Seen {
    depth: u32,
    step: u32,
    command: String,
    /// Queries of the running call: answered, of these not whole, failed, asked for.
    replied: u32,
    cut: u32,
    failed: u32,
    call: Option<(String, u32)>,
}

/// Turns records into lines.
#[derive(Debug, Default)]
pub struct Live {
    colour: bool,
    nodes: HashMap<u32, Seen>,
    tokens: u64,
    micro_dollars: u64,
}

impl Live {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self {
            colour,
            ..Self::default()
        }
    }

    /// What a record adds; empty if it is not worth a line.
    pub fn line(&mut self, record: &Record) -> Option<String> {
        let text = self.text(record)?;
        let depth = self.nodes.get(&record.node).map_or(0, |seen| seen.depth);
        Some(format!("{}{text}", "│  ".repeat(depth.min(8) as usize)))
    }

    /// What goes on now.
    #[must_use]
    pub fn status(&self, record: &Record) -> Option<String> {
        let seen = self.nodes.get(&record.node)?;
        let now = match &record.event {
            Event::ModelAsked { step, .. } => format!("{step}  the model is asked"),
            Event::CommandStarted { step, kind, .. } => {
                format!("{step}  {} runs", excerpt(kind, 40))
            }
            Event::CallStarted { .. } | Event::QueryReplied { .. } | Event::QueryFailed { .. } => {
                let (name, items) = seen.call.as_ref().filter(|(_, items)| *items > 0)?;
                let done = seen.replied.saturating_add(seen.failed);
                format!("{}: {done} of {items} queries", excerpt(name, 40))
            }
            _ => return None,
        };
        let tokens = format!("{} tokens", short(self.tokens));
        let mut parts = vec![now, tokens];
        if self.micro_dollars > 0 {
            parts.push(dollars(self.micro_dollars));
        }
        Some(parts.join(" · "))
    }

    fn paint(&self, sequence: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{sequence}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn text(&mut self, record: &Record) -> Option<String> {
        let seen = self.nodes.entry(record.node).or_default();
        match &record.event {
            Event::RunStarted(started) => {
                // A replay's origin names its file.
                let model = if started.model.starts_with("replay:") {
                    ""
                } else {
                    &started.model
                };
                let who = format!("{model} {}", started.origin);
                Some(self.paint("1", &excerpt(who.trim(), 300)))
            }
            Event::NodeStarted(started) => {
                seen.depth = started.depth;
                Some(begun(started))
            }
            Event::ModelAsked { step, .. } => {
                seen.step = *step;
                None
            }
            Event::ModelReplied { reply, .. } => {
                self.count(reply);
                None
            }
            Event::QueryReplied { reply, .. } => {
                seen.replied = seen.replied.saturating_add(1);
                seen.cut = seen
                    .cut
                    .saturating_add(u32::from(words::finish(reply).is_some()));
                self.count(reply);
                None
            }
            Event::QueryFailed { .. } => {
                seen.failed = seen.failed.saturating_add(1);
                None
            }
            Event::ModelFailed { step, error, .. } => {
                let line = format!("{step:>2}  failed: {}", excerpt(error, 200));
                Some(self.paint("31", &line))
            }
            Event::Corrected { step, reason } => {
                let line = format!("{step:>2}  corrected: {}", excerpt(reason, EXCERPT));
                Some(self.paint("33", &line))
            }
            Event::CommandStarted { kind, source, .. } => {
                let source = source.as_deref().unwrap_or_default();
                let first = source.lines().find(|line| is_telling(line));
                let more = source
                    .lines()
                    .filter(|line| !line.trim().is_empty())
                    .count();
                let lines = if more > 1 {
                    format!(" (+{})", more - 1)
                } else {
                    String::new()
                };
                let first = excerpt(first.unwrap_or_default(), EXCERPT);
                seen.command = format!("{}  {first}{lines}", excerpt(kind, 40));
                None
            }
            Event::CommandEnded(ended) => {
                let status = if ended.ok {
                    bytes(ended.stdout_bytes)
                } else {
                    excerpt(&ended.status, 80)
                };
                let step = ended.step;
                let command = std::mem::take(&mut seen.command);
                let status = self.paint(if ended.ok { "32" } else { "31" }, &status);
                Some(format!(
                    "{step:>2}  {command}  → {status} · {}",
                    time(ended.total_ms)
                ))
            }
            Event::CallStarted { name, items, .. } => {
                seen.call = Some((name.clone(), *items));
                (seen.replied, seen.cut, seen.failed) = (0, 0, 0);
                None
            }
            Event::CallEnded {
                error, total_ms, ..
            } => {
                let (name, items) = seen.call.take()?;
                let (cut, failed) = (seen.cut, seen.failed);
                if items == 0 && error.is_none() {
                    return None;
                }
                let mut line = format!("    {} ×{items} · {}", excerpt(&name, 40), time(*total_ms));
                if cut > 0 {
                    line.push_str(&self.paint("33", &format!(" · {cut} not whole")));
                }
                if failed > 0 {
                    line.push_str(&self.paint("31", &format!(" · {failed} failed")));
                }
                if let Some(error) = error {
                    line.push_str(&self.paint("31", &format!(" · {}", excerpt(error, 120))));
                }
                Some(line)
            }
            Event::Compacted {
                step,
                tokens_before,
                tokens_after,
            } => Some(format!(
                "{step:>2}  older steps left out: {} → {} tokens",
                short(*tokens_before),
                short(*tokens_after)
            )),
            Event::Warned { message } => {
                Some(self.paint("33", &format!("    warning: {}", excerpt(message, 200))))
            }
            Event::NodeEnded { outcome, .. } if record.node != 0 => {
                let line = format!("└ {}", self.outcome(outcome));
                Some(line)
            }
            Event::NodeEnded { .. } => None,
            Event::RunEnded { outcome, spent } => {
                Some(format!("{} · {}", self.outcome(outcome), total(spent)))
            }
        }
    }

    fn count(&mut self, reply: &ModelReply) {
        self.tokens = self.tokens.saturating_add(reply.usage.total_tokens());
        let cost = reply.cost.map_or(0, |cost| cost.micro_dollars);
        self.micro_dollars = self.micro_dollars.saturating_add(cost);
    }

    fn outcome(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Answered {
                partial: None,
                answer_bytes,
                ..
            } => self.paint("32", &format!("answered, {}", bytes(*answer_bytes))),
            Outcome::Answered {
                partial: Some(why), ..
            } => self.paint("33", &format!("partial answer: {}", excerpt(why, 120))),
            Outcome::Failed { error } => {
                self.paint("31", &format!("failed: {}", excerpt(error, 200)))
            }
        }
    }
}

/// Whether a line of code says what it is about.
fn is_telling(line: &str) -> bool {
    let line = line.trim();
    let dull = ["import ", "from ", "#"];
    !line.is_empty() && !dull.iter().any(|beginning| line.starts_with(beginning))
}

fn begun(started: &NodeStarted) -> String {
    let context = excerpt(&words::context(&started.context), 120);
    let loaded = format!("{context} · loaded in {}", time(started.load_ms));
    if started.depth == 0 {
        return loaded;
    }
    let question = started.question.as_deref().unwrap_or_default();
    let tokens = short(started.max_tokens);
    format!(
        "┌ {} · {loaded} · {tokens} tokens",
        excerpt(question, EXCERPT)
    )
}

fn total(spent: &Spent) -> String {
    [
        things(spent.steps, "step", "steps"),
        things(spent.sub_calls, "query", "queries"),
        format!("{} tokens", short(spent.tokens())),
        words::cost(spent),
        time(spent.elapsed_ms),
    ]
    .join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hostile, sample};

    #[test]
    fn a_run_reads_from_top_to_bottom() {
        let mut live = Live::new(false);
        let records = sample::whole();
        let lines: Vec<_> = records
            .iter()
            .filter_map(|record| live.line(record))
            .collect();
        let text = lines.join("\n");
        assert!(text.contains("query_llm ×6"), "{text}");
        assert!(text.contains("│  ┌ "), "{text}");
        assert!(lines.last().expect("lines").contains("answered"), "{text}");
    }

    proptest::proptest! {
        #[test]
        fn no_record_gets_an_escape_sequence_through(records in proptest::collection::vec(hostile::records::record(), 0..40)) {
            let mut live = Live::new(false);
            for record in &records {
                for text in [live.line(record), live.status(record)].into_iter().flatten() {
                    proptest::prop_assert!(!text.contains(['\u{1b}', '\n', '\r', '\u{202e}']), "{text:?}");
                }
            }
        }
    }
}
