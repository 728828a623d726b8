//! Nodes, steps, commands and calls as lines.

use super::item::{Item, Paint};
use crate::figures::{bytes, things, time};
use crate::printable::excerpt;
use crate::record::{CommandEnded, Outcome};
use crate::tree::{Call, Command, Node, Query, Step};
use crate::words::{self, Queries, Status};

/// Queries of a call that have a line, unless texts are shown whole.
const FEW_QUERIES: usize = 8;
/// How a command ended is said in at most so many columns, and in a line if it is longer.
const STATUS_COLUMNS: usize = 60;

/// The steps of a node, and the warnings about it.
pub(super) fn steps(node: &Node, full: bool) -> Vec<Item<'_>> {
    let warnings = node.warnings.iter().map(|warning| {
        Item::new(Paint::Odd, "warning").text(Paint::Odd, "", &warning.message, full)
    });
    warnings
        .chain(node.steps.iter().map(|one| step(one, full)))
        .collect()
}

pub(super) fn paint_of(status: Status) -> Paint {
    match status {
        Status::Answered => Paint::Good,
        Status::Partial | Status::Open => Paint::Odd,
        Status::Failed => Paint::Bad,
    }
}

fn step(step: &Step, full: bool) -> Item<'_> {
    let took = time(step.until_ms - step.from_ms);
    let mut item = Item::new(Paint::Strong, format!("step {}", step.number)).figures([took]);
    if full {
        for message in step.new_messages.iter().flatten() {
            let label = format!("{} to the model", words::role(message.role));
            item.texts.push((label, &message.text));
        }
    }
    match &step.reply {
        Some(Ok(reply)) => {
            if !step.commands.is_empty() {
                item = item.figures([format!("model {}", time(reply.latency_ms))]);
            }
            item = item.figures(words::usage(reply));
            if let Some(problem) = words::finish(reply) {
                item = item.mark(Paint::Odd, problem);
            }
            if let Some(text) = &reply.reply {
                // The code of the reply has lines of its own.
                if full || step.commands.is_empty() {
                    item = item.text(Paint::Faint, "reply", text, full);
                }
            }
        }
        Some(Err(error)) => {
            item = item
                .mark(Paint::Bad, "no reply")
                .text(Paint::Bad, "", error, full);
        }
        None => item = item.mark(Paint::Odd, "no reply yet"),
    }
    let compacted = words::compacted(step).map(|words| Item::new(Paint::Faint, words));
    let corrected = step
        .corrected
        .iter()
        .map(|reason| Item::new(Paint::Odd, "corrected").text(Paint::Odd, "", reason, full));
    let commands = step.commands.iter().map(|one| command(one, full));
    item.items = compacted
        .into_iter()
        .chain(corrected)
        .chain(commands)
        .chain(step.calls.iter().map(|one| call(one, full)))
        .collect();
    item
}

fn command(command: &Command, full: bool) -> Item<'_> {
    let mut item =
        Item::new(Paint::Name, excerpt(&command.kind, 24)).figures([bytes(command.bytes)]);
    item = match &command.ended {
        Some(ended) => {
            let paint = if ended.ok { Paint::Good } else { Paint::Bad };
            item.mark(paint, excerpt(&ended.status, STATUS_COLUMNS))
                .figures([time(ended.total_ms)])
        }
        None => item.mark(Paint::Odd, "no end"),
    };
    if let Some(source) = &command.source {
        item = item.text(Paint::Plain, "source", source, full);
    }
    item.items = command.calls.iter().map(|one| call(one, full)).collect();
    if let Some(ended) = &command.ended {
        if ended.status.len() > STATUS_COLUMNS {
            let long = Item::new(Paint::Faint, "status");
            item.items
                .push(long.text(Paint::Plain, "", &ended.status, full));
        }
        outputs(ended, full, &mut item.items);
    }
    item
}

fn outputs<'run>(ended: &'run CommandEnded, full: bool, items: &mut Vec<Item<'run>>) {
    let mut add = |label: &str, size: u64, text: &'run Option<String>, paint: Paint| {
        if size == 0 {
            return;
        }
        let mut item = Item::new(Paint::Faint, label).figures([bytes(size)]);
        if let Some(text) = text {
            // What went wrong stands at the end.
            let shown = match paint {
                Paint::Bad if !full => text.trim_end().lines().last().unwrap_or_default(),
                _ => text,
            };
            item = item.text(paint, "", shown, full);
        }
        items.push(item);
    };
    let err = if ended.ok { Paint::Plain } else { Paint::Bad };
    add("stdout", ended.stdout_bytes, &ended.stdout, Paint::Plain);
    add("stderr", ended.stderr_bytes, &ended.stderr, err);
    let value = ended.value.as_ref().map_or(0, |value| value.len() as u64);
    add("value", value, &ended.value, Paint::Plain);
    let files = ended.files.iter();
    items.extend(
        files.map(|file| Item::new(Paint::Faint, "more output in").mark(Paint::Plain, file)),
    );
}

fn call(call: &Call, full: bool) -> Item<'_> {
    let mut item = Item::new(Paint::Name, words::call(call)).figures([time(words::call_ms(call))]);
    if call.name == "final" {
        item = item.figures([bytes(call.bytes)]);
    }
    let queries = Queries::of(call);
    item = item.figures(queries.replies());
    if let Some(failed) = queries.failed() {
        item = item.mark(Paint::Bad, failed);
    }
    if let Some(missing) = queries.missing() {
        item = item.mark(Paint::Odd, missing);
    }
    match &call.ended {
        Some(ended) => {
            if let Some(error) = &ended.error {
                item = item
                    .mark(Paint::Bad, "refused")
                    .text(Paint::Bad, "", error, full);
            }
        }
        None => item = item.mark(Paint::Odd, "no end"),
    }
    let most = if full { usize::MAX } else { FEW_QUERIES };
    // A failure is not hidden behind replies.
    let shown = call.queries.iter().enumerate();
    let shown = shown.filter(|(index, query)| *index < most || query.reply.is_err());
    let shown = shown.map(|(_, query)| query).take(most.saturating_mul(2));
    item.items = shown.map(|one| query_item(one, full)).collect();
    let hidden = call.queries.len() - item.items.len();
    if hidden > 0 {
        let more = things(hidden as u64, "more query", "more queries");
        item.items
            .push(Item::new(Paint::Faint, format!("… {more}")));
    }
    item.items
        .extend(call.children.iter().map(|one| child(one, full)));
    item
}

fn query_item(query: &Query, full: bool) -> Item<'_> {
    let item = Item::new(Paint::Plain, format!("{}", query.item));
    match &query.reply {
        Err(error) => item
            .mark(Paint::Bad, "failed")
            .text(Paint::Bad, "", error, full),
        Ok(reply) => {
            let mut item = item
                .figures([time(reply.latency_ms)])
                .figures(words::usage(reply));
            if let Some(problem) = words::finish(reply) {
                item = item.mark(Paint::Odd, problem);
            }
            if full && let Some(prompt) = &query.prompt {
                item.texts.push(("prompt".to_owned(), prompt));
            }
            match &reply.reply {
                Some(text) => item.text(Paint::Plain, "reply", text, full),
                None => item,
            }
        }
    }
}

fn child(node: &Node, full: bool) -> Item<'_> {
    let status = Status::of(node.outcome.as_ref());
    let took = time(node.until_ms - node.from_ms);
    // Where the tree is too deep to be indented further, this tells who is below whom.
    let depth = match node.started.depth {
        0 | 1 => String::new(),
        depth => format!(" at depth {depth}"),
    };
    let mut item = Item::new(Paint::Strong, format!("node {}{depth}", node.id))
        .mark(paint_of(status), status.word())
        .figures([took, things(node.steps.len() as u64, "step", "steps")]);
    if let Some(spent) = &node.spent {
        let tokens = things(spent.tokens(), "token", "tokens");
        item = item.figures([tokens]).figures(words::known_cost(spent));
    }
    if let Some(question) = &node.started.question {
        item = item.text(Paint::Plain, "question", question, full);
    }
    item.items = steps(node, full);
    item.items.extend(outcome(node, full));
    item
}

/// What came of a child.
fn outcome(node: &Node, full: bool) -> Option<Item<'_>> {
    let status = Status::of(node.outcome.as_ref());
    let item = Item::new(paint_of(status), status.word());
    match node.outcome.as_ref()? {
        Outcome::Failed { error } => Some(item.text(Paint::Bad, "", error, full)),
        Outcome::Answered {
            answer, partial, ..
        } => {
            let item = item.figures(partial.clone());
            match answer {
                Some(answer) => Some(item.text(Paint::Plain, "", answer, full)),
                None => Some(item),
            }
        }
    }
}
