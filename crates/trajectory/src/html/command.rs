//! Commands, their output, and the calls of their code.

use super::node;
use super::out::Page;
use crate::figures::{bytes, time};
use crate::printable::excerpt;
use crate::record::CommandEnded;
use crate::tree::{Call, Command, Query};
use crate::words::{self, Queries};

/// Output of at most so many bytes is open from the beginning.
const OPEN_BYTES: usize = 2 << 10;
/// How a command ended is a badge of at most so many columns, and a text if it is longer.
const STATUS_COLUMNS: usize = 60;
/// A batch of more queries than this begins with those that failed.
const LARGE_BATCH: usize = 50;
/// What all prompts of a batch begin with is left out of their excerpts, if it is this long.
const MIN_COMMON_BYTES: usize = 24;

pub(super) fn show(command: &Command, page: &mut Page) {
    page.raw("<div class=\"cmd\">\n<p class=\"head\"><b>");
    page.excerpt(&command.kind, 24).raw("</b>");
    match &command.ended {
        Some(ended) => {
            page.raw(if ended.ok {
                "<span class=\"badge good\">"
            } else {
                "<span class=\"badge bad\">"
            });
            page.excerpt(&ended.status, STATUS_COLUMNS).raw("</span>");
            let took = time(ended.total_ms);
            let figures = format!("{} · {took}", bytes(command.bytes));
            page.raw("<span class=\"fig\">").text(&figures);
        }
        None => {
            page.raw("<span class=\"badge odd\">no end</span><span class=\"fig\">");
            page.text(&bytes(command.bytes));
        }
    }
    page.raw("</span></p>\n");
    if let Some(ended) = &command.ended
        && ended.status.len() > STATUS_COLUMNS
    {
        page.whole(if ended.ok { "out" } else { "out err" }, &ended.status);
    }
    if let Some(source) = &command.source {
        page.whole("code", source);
    }
    calls(&command.calls, page);
    if let Some(ended) = &command.ended {
        outputs(ended, page);
    }
    page.raw("</div>\n");
}

fn outputs(ended: &CommandEnded, page: &mut Page) {
    let err = if ended.ok { "out" } else { "out err" };
    let value = ended.value.as_ref().map_or(0, |value| value.len() as u64);
    for (label, size, text, class) in [
        ("Output", ended.stdout_bytes, &ended.stdout, "out"),
        ("Standard error", ended.stderr_bytes, &ended.stderr, err),
        ("Value", value, &ended.value, "out"),
    ] {
        if size == 0 {
            continue;
        }
        let label = format!("{label}: {}", bytes(size));
        match text {
            Some(text) => page.folded(&label, class, text, text.len() <= OPEN_BYTES),
            None => page.element("p", "faint", &label),
        }
    }
    for file in &ended.files {
        if !page.take_row() {
            return;
        }
        page.raw("<p class=\"faint\">More output in <code>");
        page.excerpt(file, 200).raw("</code> of the guest</p>\n");
    }
}

pub(super) fn calls(calls: &[Call], page: &mut Page) {
    for one in calls {
        if !page.take_row() {
            return;
        }
        call(one, page);
    }
}

fn call(call: &Call, page: &mut Page) {
    let error = call.ended.as_ref().and_then(|ended| ended.error.as_ref());
    let is_large = call.queries.len() > LARGE_BATCH;
    let is_plain = call.queries.is_empty() && call.children.is_empty() && error.is_none();
    if is_plain {
        page.raw("<p class=\"call\">");
    } else {
        let class = if is_large { "call large" } else { "call" };
        page.open(class, call.queries.is_empty());
    }
    page.raw("<b>").excerpt(&words::call(call), 60).raw("</b>");
    if error.is_some() {
        page.raw("<span class=\"badge bad\">refused</span>");
    } else if call.ended.is_none() {
        page.raw("<span class=\"badge odd\">no end</span>");
    }
    let queries = Queries::of(call);
    if let Some(failed) = queries.failed() {
        page.raw("<span class=\"badge bad\">").text(&failed);
        page.raw("</span>");
    }
    if let Some(missing) = queries.missing() {
        page.raw("<span class=\"badge odd\">").text(&missing);
        page.raw("</span>");
    }
    let mut figures = Vec::from_iter(queries.replies());
    figures.push(bytes(call.bytes));
    figures.push(time(words::call_ms(call)));
    page.raw("<span class=\"fig\">").text(&figures.join(" · "));
    if is_plain {
        page.raw("</span></p>\n");
        return;
    }
    page.raw("</span></summary>\n<div class=\"in\">\n");
    if let Some(error) = error {
        page.whole("out err", error);
    }
    let common = common_beginning(call);
    // Nobody finds a failure among thousands of replies.
    let (first, then): (Vec<_>, Vec<_>) = call
        .queries
        .iter()
        .partition(|query| is_large && query.reply.is_err());
    for one in first.into_iter().chain(then) {
        if !page.take_row() {
            break;
        }
        query(call, one, common, page);
    }
    for one in &call.children {
        if !page.take_row() {
            break;
        }
        node::child(one, page);
    }
    page.raw("</div>\n</details>\n");
}

fn query(call: &Call, query: &Query, common: usize, page: &mut Page) {
    page.open(
        if query.reply.is_ok() {
            "query"
        } else {
            "query failed"
        },
        false,
    );
    page.raw("<span class=\"n\">").text(&query.item.to_string());
    page.raw("</span><span class=\"x\">");
    if let Some(prompt) = &query.prompt {
        page.raw(if common > 0 { "… " } else { "" });
        page.excerpt(prompt.get(common..).unwrap_or(prompt), 120);
    } else if query.prompt_bytes > 0 {
        page.text(&bytes(query.prompt_bytes));
    }
    page.raw("</span><span class=\"x said\">");
    let latency_ms = match &query.reply {
        Ok(reply) => {
            match &reply.reply {
                Some(text) => page.excerpt(text, 120),
                None => page.text(&bytes(reply.reply_bytes)),
            };
            reply.latency_ms
        }
        Err(error) => {
            page.excerpt(error, 120);
            0.0
        }
    };
    page.raw("</span><span class=\"fig\">");
    match &query.reply {
        Ok(reply) => page.text(&time(reply.latency_ms)),
        Err(_) => page.raw("failed"),
    };
    page.raw("</span><u class=\"track\"><i class=\"m\"");
    let whole = call.until_ms - call.from_ms;
    let until = query.until_ms - call.from_ms;
    page.place((until - latency_ms) / whole, until / whole);
    page.raw("></i></u></summary>\n<div class=\"in\">\n");
    if let Some(prompt) = &query.prompt {
        page.element(
            "p",
            "faint",
            &format!("Prompt: {}", bytes(query.prompt_bytes)),
        );
        page.whole("talk", prompt);
    }
    match &query.reply {
        Ok(reply) => {
            let model = excerpt(&reply.model, 80);
            let figures = words::usage(reply).join(" · ");
            page.element("p", "faint", &format!("Reply of {model}: {figures}"));
            if let Some(text) = &reply.reply {
                page.whole("talk", text);
            }
            if let Some(problem) = words::finish(reply) {
                page.element("p", "box odd", problem);
            }
        }
        Err(error) => page.whole("out err", error),
    }
    page.raw("</div>\n</details>\n");
}

/// How many bytes all prompts of a batch begin with, if they differ at all after many.
fn common_beginning(call: &Call) -> usize {
    let mut prompts = call
        .queries
        .iter()
        .filter_map(|query| query.prompt.as_deref());
    let Some(first) = prompts.next() else {
        return 0;
    };
    let same = |other: &str, most: usize| {
        let pairs = first.bytes().zip(other.bytes()).take(most);
        pairs.take_while(|(one, other)| one == other).count()
    };
    let mut common = first.len();
    let mut is_batch = false;
    for other in prompts {
        is_batch = true;
        common = same(other, common);
    }
    while !first.is_char_boundary(common) {
        common -= 1;
    }
    let is_worth_it = is_batch && common >= MIN_COMMON_BYTES && common < first.len();
    if is_worth_it { common } else { 0 }
}
