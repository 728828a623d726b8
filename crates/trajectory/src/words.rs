//! What both renderings say in the same words. Texts of the file are in here as they are; whoever
//! shows the result makes them harmless.

use crate::figures::{bytes, count, dollars, things, time};
use crate::printable::excerpt;
use crate::record::{ContextShape, ModelReply, Outcome, RunStarted};
use crate::tree::{Call, CallEnded, Run, Step};
use std::collections::HashSet;
use ukernel_budget::{Budget, Spent};
use ukernel_llm::{FinishReason, Role};

/// Warnings about no node that are shown.
const FEW_WARNINGS: usize = 20;

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Answered,
    Partial,
    Failed,
    Open,
}

impl Status {
    pub(crate) fn of(outcome: Option<&Outcome>) -> Self {
        match outcome {
            Some(Outcome::Answered { partial: None, .. }) => Self::Answered,
            Some(Outcome::Answered { .. }) => Self::Partial,
            Some(Outcome::Failed { .. }) => Self::Failed,
            None => Self::Open,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Partial => "partial answer",
            Self::Failed => "failed",
            Self::Open => "no end",
        }
    }
}

/// What a reader of any rendering has to know first.
pub(crate) fn notes(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    match &run.started {
        None => notes.push("The trajectory does not say how the run began.".to_owned()),
        Some(started) => {
            if is_replay(started) {
                notes.push("The replies came from a file. No model was asked.".to_owned());
            }
            if !started.verbose {
                notes.push(
                    "Texts were not recorded, only sizes, times, tokens and costs. Run with --trace \
                     to have questions, code, output and replies."
                        .to_owned(),
                );
            }
        }
    }
    if run.is_cut {
        notes.push(
            "The trajectory breaks off: the run is still going, or its process ended before it \
             could write how. Totals are of what is there."
                .to_owned(),
        );
    }
    if run.stray > 0 {
        let records = things(run.stray, "record fits", "records fit");
        notes.push(format!("{records} nowhere, and cannot be shown."));
    }
    let warnings = run.warnings.iter().take(FEW_WARNINGS);
    notes.extend(warnings.map(|warning| format!("Warning: {}", excerpt(&warning.message, 300))));
    if run.warnings.len() > FEW_WARNINGS {
        let more = count((run.warnings.len() - FEW_WARNINGS) as u64);
        notes.push(format!("There are {more} more warnings."));
    }
    notes
}

/// Whether any of the replies came from a file.
fn is_replay(run: &RunStarted) -> bool {
    let is_file = |model: &str| model.starts_with("replay:");
    is_file(&run.model) || is_file(&run.sub_model) || run.origin.starts_with("a replay of")
}

/// What a context is.
pub(crate) fn context(context: &ContextShape) -> String {
    let unit = |kind: &str| {
        if kind == "bytes" {
            "bytes"
        } else {
            "characters"
        }
    };
    let length = context
        .parts
        .iter()
        .fold(0, |sum: u64, part| sum.saturating_add(part.length));
    let lines = context
        .parts
        .iter()
        .fold(0, |sum: u64, part| sum.saturating_add(part.lines));
    match context.parts.as_slice() {
        [] => match context.kind.as_str() {
            "none" | "" => "none".to_owned(),
            kind => format!("{kind}, empty"),
        },
        parts => {
            let kind = &context.kind;
            let texts = match parts.len() {
                1 => String::new(),
                more => format!(" of {}", things(more as u64, "text", "texts")),
            };
            let unit = unit(&parts[0].kind);
            format!(
                "{kind}{texts}: {} {unit}, {}",
                count(length),
                things(lines, "line", "lines")
            )
        }
    }
}

/// What may be used.
pub(crate) fn budget(budget: &Budget) -> String {
    let mut limits = vec![
        things(budget.tokens, "token", "tokens"),
        time(budget.wall_clock_ms as f64),
        things(budget.sub_calls, "sub-call", "sub-calls"),
        format!("depth {}", budget.depth),
        format!("{} of output", bytes(budget.output_bytes)),
    ];
    if let Some(micro) = budget.micro_dollars {
        limits.insert(1, dollars(micro));
    }
    limits.join(" · ")
}

/// What was paid, as far as anybody knows.
pub(crate) fn cost(spent: &Spent) -> String {
    let unknown = format!(
        "cost of {} unknown",
        things(spent.calls_without_cost, "call", "calls")
    );
    match (spent.micro_dollars, spent.calls_without_cost) {
        (micro, 0) => dollars(micro),
        (0, _) => unknown,
        (micro, _) => format!("{}, {unknown}", dollars(micro)),
    }
}

/// What is known of it, if anything is.
pub(crate) fn known_cost(spent: &Spent) -> Option<String> {
    (spent.micro_dollars > 0).then(|| dollars(spent.micro_dollars))
}

/// What a reply took, in the order: tokens, cost, and what is unusual about it.
pub(crate) fn usage(reply: &ModelReply) -> Vec<String> {
    let usage = reply.usage;
    let about = if usage.is_estimated { "about " } else { "" };
    let mut words = vec![format!(
        "{about}{} → {} tokens",
        count(usage.prompt_tokens),
        count(usage.completion_tokens)
    )];
    words.extend(reply.cost.map(|cost| dollars(cost.micro_dollars)));
    if reply.attempts > 1 {
        words.push(format!("{} attempts", reply.attempts));
    }
    words
}

/// What is wrong with how a reply ended.
pub(crate) fn finish(reply: &ModelReply) -> Option<&'static str> {
    match reply.finish {
        FinishReason::Length => Some("the reply was cut off at its limit"),
        FinishReason::Filtered => Some("the reply was refused or filtered"),
        FinishReason::Stop | FinishReason::Other => None,
    }
}

/// What became of the queries of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queries {
    replies: u64,
    failed: u64,
    missing: u64,
}

impl Queries {
    pub(crate) fn of(call: &Call) -> Self {
        let failed = call.queries.iter().filter(|query| query.reply.is_err());
        let failed = failed.count() as u64;
        let replies = call.queries.len() as u64 - failed;
        // A query may be asked twice, when the first reply does not fit its schema.
        let items: HashSet<u32> = call.queries.iter().map(|query| query.item).collect();
        let is_refused = matches!(&call.ended, Some(CallEnded { error: Some(_), .. }));
        let missing = match call.name.as_str() {
            "query_llm" if !is_refused => u64::from(call.items).saturating_sub(items.len() as u64),
            _ => 0,
        };
        Self {
            replies,
            failed,
            missing,
        }
    }

    pub(crate) fn replies(self) -> Option<String> {
        (self.replies > 0).then(|| things(self.replies, "reply", "replies"))
    }

    pub(crate) fn failed(self) -> Option<String> {
        (self.failed > 0).then(|| format!("{} failed", count(self.failed)))
    }

    pub(crate) fn missing(self) -> Option<String> {
        (self.missing > 0).then(|| format!("{} unanswered", count(self.missing)))
    }
}

/// The name of a call, and how much it carries.
pub(crate) fn call(call: &Call) -> String {
    // An answer carries no query.
    if call.items <= 1 {
        excerpt(&call.name, 32)
    } else {
        format!(
            "{} × {}",
            excerpt(&call.name, 32),
            count(u64::from(call.items))
        )
    }
}

/// How long a call took, as far as is known.
pub(crate) fn call_ms(call: &Call) -> f64 {
    match &call.ended {
        Some(ended) => ended.total_ms,
        None => call.until_ms - call.from_ms,
    }
}

/// What was left out of a prompt.
pub(crate) fn compacted(step: &Step) -> Option<String> {
    let (before, after) = step.compacted?;
    let (before, after) = (count(before), count(after));
    Some(format!(
        "Older steps were left out of the prompt: {before} tokens became {after}."
    ))
}

/// Who speaks.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

#[cfg(test)]
mod tests;
