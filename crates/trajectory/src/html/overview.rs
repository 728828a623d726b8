//! What stands above the steps, and the line below them.

use super::out::Page;
use crate::figures::{bytes, count, dollars, moment, short, things, time};
use crate::record::{ContextShape, Outcome, RunStarted};
use crate::tree::Run;
use crate::words::{self, Status};
use ukernel_budget::Budget;

/// A question longer than this is a text to be opened, and its beginning the heading.
const HEADING_COLUMNS: usize = 240;
/// Texts of a context that are listed.
const MAX_PARTS: usize = 500;

/// The question, or what stands for it.
pub(super) fn title(run: &Run) -> &str {
    let root = run.root.as_ref().map(|root| &root.started);
    match root.and_then(|root| root.question.as_deref()) {
        Some(question) if !question.trim().is_empty() => question,
        _ => "A question that was not recorded",
    }
}

/// The class of how something ended.
pub(super) fn class(status: Status) -> &'static str {
    match status {
        Status::Answered => "good",
        Status::Partial | Status::Open => "odd",
        Status::Failed => "bad",
    }
}

/// How something ended, as a badge.
pub(super) fn badge(status: Status, page: &mut Page) {
    page.raw("<span class=\"badge ").raw(class(status));
    page.raw("\">").raw(status.word()).raw("</span>");
}

pub(super) fn header(run: &Run, page: &mut Page) {
    let title = title(run);
    page.raw("<header>\n<p class=\"over\">");
    badge(Status::of(run.outcome.as_ref()), page);
    if let Some(started) = &run.started {
        page.raw("<span>").excerpt(&started.run, 60).raw("</span>");
        let when = moment(started.started_unix_ms);
        page.raw("<span>").text(&when).raw("</span><span>");
        page.excerpt(&started.model, 60).raw("</span>");
    }
    page.raw("</p>\n<h1>");
    page.excerpt(title, HEADING_COLUMNS).raw("</h1>\n");
    if title.len() > HEADING_COLUMNS {
        page.folded("The whole question", "prose", title, false);
    }
    page.raw("</header>\n");
}

pub(super) fn answer(run: &Run, page: &mut Page) {
    let status = Status::of(run.outcome.as_ref());
    page.raw("<section class=\"answer ")
        .raw(class(status))
        .raw("\">\n");
    match &run.outcome {
        Some(Outcome::Answered {
            answer,
            answer_bytes,
            partial,
        }) => {
            match partial {
                Some(why) => {
                    page.raw("<h2>Partial answer</h2>\n");
                    let why = format!("The best there was, because a limit came near: {why}");
                    page.element("p", "why", &why);
                }
                None => {
                    page.raw("<h2>Answer</h2>\n");
                }
            }
            match answer {
                Some(answer) => page.whole("prose", answer),
                None => {
                    let size = format!("{}, not recorded", bytes(*answer_bytes));
                    page.element("p", "faint", &size);
                }
            }
        }
        Some(Outcome::Failed { error }) => {
            page.raw("<h2>Failed</h2>\n");
            page.whole("prose", error);
        }
        None => {
            page.raw("<h2>No answer</h2>\n<p class=\"faint\">The trajectory has no end.</p>\n");
        }
    }
    page.raw("</section>\n");
}

pub(super) fn totals(run: &Run, page: &mut Page) {
    let spent = &run.spent;
    let budget = run.started.as_ref().map(|run| run.budget);
    let of = |limit: fn(&Budget) -> u64| budget.as_ref().map(limit).unwrap_or_default();
    let share = |used: f64, limit: u64| used / limit as f64;
    page.raw("<section class=\"cards\">\n");
    let wall_clock = of(|budget| budget.wall_clock_ms);
    let limit = time(wall_clock as f64);
    let used = share(spent.elapsed_ms, wall_clock);
    card("time", &time(spent.elapsed_ms), &limit, used, page);
    card("steps", &count(spent.steps), "", f64::NAN, page);
    card("model calls", &count(spent.model_calls), "", f64::NAN, page);
    let limit = of(|budget| budget.sub_calls);
    let used = share(spent.sub_calls as f64, limit);
    card(
        "sub-calls",
        &count(spent.sub_calls),
        &count(limit),
        used,
        page,
    );
    let limit = of(|budget| budget.tokens);
    let used = share(spent.tokens() as f64, limit);
    card("tokens", &short(spent.tokens()), &short(limit), used, page);
    let cost = match (spent.micro_dollars, spent.calls_without_cost) {
        (0, 1..) => "unknown".to_owned(),
        (micro, _) => dollars(micro),
    };
    let limit = budget.and_then(|budget| budget.micro_dollars);
    let used = limit.map_or(f64::NAN, |limit| share(spent.micro_dollars as f64, limit));
    let limit = limit.map(dollars).unwrap_or_default();
    card("cost", &cost, &limit, used, page);
    page.raw("</section>\n<p class=\"faint small\">");
    page.text(&format!(
        "{} of prompts, {} of replies",
        things(spent.prompt_tokens, "token", "tokens"),
        count(spent.completion_tokens)
    ));
    if spent.estimated_calls > 0 {
        let calls = things(spent.estimated_calls, "call", "calls");
        page.text(&format!(" · tokens of {calls} estimated"));
    }
    if spent.calls_without_cost > 0 {
        let calls = things(spent.calls_without_cost, "call", "calls");
        page.text(&format!(" · cost of {calls} unknown"));
    }
    page.text(&format!(" · {} of output", bytes(spent.output_bytes)));
    page.raw("</p>\n");
}

/// A figure, and how much of its limit it is. A share that is no number has no limit.
fn card(label: &'static str, value: &str, limit: &str, share: f64, page: &mut Page) {
    page.raw("<div class=\"card\"><b>")
        .text(value)
        .raw("</b><span>");
    page.raw(label);
    if share.is_finite() {
        page.text(&format!(" of {limit}"));
        let is_near = share >= 0.9;
        page.raw("</span><u class=\"bar\"><i");
        page.raw(if is_near { " class=\"near\"" } else { "" });
        page.place(0.0, share).raw("></i></u></div>\n");
    } else {
        page.raw("</span></div>\n");
    }
}

pub(super) fn facts(run: &Run, page: &mut Page) {
    page.raw("<details class=\"facts\"><summary>What it was given</summary>\n<dl>\n");
    if let Some(started) = &run.started {
        facts_of_run(started, page);
    }
    if let Some(root) = &run.root {
        let context = words::context(&root.started.context);
        let load = time(root.started.load_ms);
        fact("Context", &format!("{context}. There after {load}."), page);
    }
    page.raw("</dl>\n");
    if let Some(root) = &run.root {
        parts(&root.started.context, page);
    }
    page.raw("</details>\n");
}

fn facts_of_run(started: &RunStarted, page: &mut Page) {
    fact("Model", &started.model, page);
    if started.sub_model != started.model {
        fact("Sub-calls", &started.sub_model, page);
    }
    fact("Replies from", &started.origin, page);
    if let Some(trace) = &started.traceparent {
        fact("Caller's trace", trace, page);
    }
    fact("Budget", &words::budget(&started.budget), page);
}

fn fact(label: &'static str, text: &str, page: &mut Page) {
    page.raw("<dt>").raw(label).raw("</dt><dd>");
    page.excerpt(text, 400).raw("</dd>\n");
}

/// The texts of a context.
fn parts(context: &ContextShape, page: &mut Page) {
    if context.parts.is_empty() {
        return;
    }
    page.raw("<div class=\"scroll\"><table>\n<thead><tr><th>text</th><th>length</th>");
    page.raw("<th>lines</th><th>begins</th></tr></thead>\n<tbody>\n");
    for part in context.parts.iter().take(MAX_PARTS) {
        page.raw("<tr><td>")
            .excerpt(&part.name, 80)
            .raw("</td><td>");
        page.text(&count(part.length)).raw("</td><td>");
        page.text(&count(part.lines)).raw("</td><td class=\"x\">");
        page.excerpt(&part.first.join("\n"), 100);
        if part.replaced > 0 {
            let replaced = things(part.replaced, "byte was", "bytes were");
            page.text(&format!(" ({replaced} no UTF-8)"));
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n");
    if context.parts.len() > MAX_PARTS {
        let more = count((context.parts.len() - MAX_PARTS) as u64);
        page.element("p", "faint", &format!("… and {more} more"));
    }
}

pub(super) fn footer(run: &Run, page: &mut Page) {
    page.raw("<footer>Recorded");
    if let Some(started) = &run.started {
        page.raw(" by ukernel ").excerpt(&started.ukernel, 40);
    }
    page.raw(". This page stands alone: it has no script, and loads nothing.</footer>\n");
}
