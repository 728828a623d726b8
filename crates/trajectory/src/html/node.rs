//! Nodes and their steps.

use super::command;
use super::out::Page;
use super::overview::{badge, class};
use crate::figures::{bytes, things, time};
use crate::printable::excerpt;
use crate::record::{ModelReply, Outcome};
use crate::tree::{Node, Step};
use crate::words::{self, Status};

/// Steps of the first node that are open from the beginning.
const OPEN_STEPS: usize = 8;

/// The steps of a node, and the warnings about it.
pub(super) fn body(node: &Node, is_root: bool, page: &mut Page) {
    for warning in &node.warnings {
        if !page.take_row() {
            return;
        }
        page.raw("<div class=\"box odd\"><b>Warning</b>\n");
        page.whole("prose", &warning.message);
        page.raw("</div>\n");
    }
    let is_open = is_root && node.steps.len() <= OPEN_STEPS;
    for step in &node.steps {
        if !page.take_row() {
            return;
        }
        self::step(node, step, is_open, page);
    }
}

fn step(node: &Node, step: &Step, is_open: bool, page: &mut Page) {
    page.open("step", is_open);
    page.text(&format!("Step {}", step.number));
    page.raw("<span class=\"x\">");
    match &step.reply {
        Some(Ok(ModelReply {
            reply: Some(text), ..
        })) => page.excerpt(prose(text), 160),
        Some(Err(error)) => page.excerpt(error, 160),
        _ => page,
    };
    page.raw("</span>");
    problems(step, page);
    let mut figures = vec![time(step.until_ms - step.from_ms)];
    if let Some(Ok(reply)) = &step.reply {
        figures.extend(words::usage(reply));
    }
    page.raw("<span class=\"fig\">").text(&figures.join(" · "));
    page.raw("</span>");
    track(node, step, page);
    page.raw("</summary>\n<div class=\"in\">\n");
    said(step, page);
    for one in &step.commands {
        if !page.take_row() {
            break;
        }
        command::show(one, page);
    }
    command::calls(&step.calls, page);
    page.raw("</div>\n</details>\n");
}

/// What goes before the code of a reply, or the code if nothing does.
fn prose(reply: &str) -> &str {
    match reply.split_once("```") {
        Some((before, _)) if !before.trim().is_empty() => before,
        Some((_, code)) => {
            let code = code.split_once('\n').map_or(code, |(_, code)| code);
            code.split("```").next().unwrap_or(code)
        }
        None => reply,
    }
}

/// What went wrong in a step, to be seen while it is folded away.
fn problems(step: &Step, page: &mut Page) {
    match &step.reply {
        Some(Err(_)) => page.raw("<span class=\"badge bad\">no reply</span>"),
        None => page.raw("<span class=\"badge odd\">no reply yet</span>"),
        Some(Ok(_)) => page,
    };
    if !step.corrected.is_empty() {
        page.raw("<span class=\"badge odd\">corrected</span>");
    }
    for command in &step.commands {
        match &command.ended {
            Some(ended) if !ended.ok => {
                page.raw("<span class=\"badge bad\">");
                page.excerpt(&ended.status, 24).raw("</span>");
            }
            Some(_) => {}
            None => {
                page.raw("<span class=\"badge odd\">no end</span>");
            }
        }
    }
}

/// When within its node a step was, and which part of it a model took.
fn track(node: &Node, step: &Step, page: &mut Page) {
    let whole = node.until_ms - node.from_ms;
    let share = |at_ms: f64| (at_ms - node.from_ms) / whole;
    let replied = step.replied_ms.unwrap_or(step.until_ms);
    page.raw("<u class=\"track\"><i class=\"m\"");
    page.place(share(step.from_ms), share(replied));
    page.raw("></i><i class=\"c\"");
    page.place(share(replied), share(step.until_ms));
    page.raw("></i></u>");
}

/// What the model was told, and what it said.
fn said(step: &Step, page: &mut Page) {
    if let Some(words) = words::compacted(step) {
        page.element("p", "box", &words);
    }
    let messages = step.new_messages.as_deref().unwrap_or_default();
    for message in messages {
        if !page.take_row() {
            return;
        }
        let size = bytes(message.text.len() as u64);
        let label = format!("To the model, {}: {size}", words::role(message.role));
        page.folded(&label, "talk", &message.text, false);
    }
    if let (true, Some(size)) = (messages.is_empty(), step.prompt_bytes) {
        let prompt = format!("Prompt of {}", bytes(size));
        page.element("p", "faint", &prompt);
    }
    match &step.reply {
        Some(Ok(reply)) => replied(reply, step.commands.is_empty(), page),
        Some(Err(error)) => {
            page.raw("<div class=\"box bad\"><b>No reply</b>\n");
            page.whole("prose", error);
            page.raw("</div>\n");
        }
        None => {}
    }
    for reason in &step.corrected {
        if !page.take_row() {
            return;
        }
        page.raw("<div class=\"box odd\"><b>The model was told to correct it</b>\n");
        page.whole("prose", reason);
        page.raw("</div>\n");
    }
}

fn replied(reply: &ModelReply, is_open: bool, page: &mut Page) {
    let model = excerpt(&reply.model, 80);
    let (size, took) = (bytes(reply.reply_bytes), time(reply.latency_ms));
    let label = format!("Reply of {model}: {size} in {took}");
    match &reply.reply {
        Some(text) => page.folded(&label, "talk", text, is_open),
        None => page.element("p", "faint", &label),
    }
    if let Some(problem) = words::finish(reply) {
        page.element("p", "box odd", problem);
    }
}

/// A node that a call made.
pub(super) fn child(node: &Node, page: &mut Page) {
    let status = Status::of(node.outcome.as_ref());
    page.open("node", false);
    page.text(&format!("Node {}", node.id));
    page.raw("<span class=\"x\">");
    match &node.started.question {
        Some(question) => page.excerpt(question, 160),
        None => page.text(&bytes(node.started.question_bytes)),
    };
    page.raw("</span>");
    badge(status, page);
    let steps = things(node.steps.len() as u64, "step", "steps");
    let mut figures = vec![steps, time(node.until_ms - node.from_ms)];
    if let Some(spent) = &node.spent {
        figures.push(things(spent.tokens(), "token", "tokens"));
        figures.extend(words::known_cost(spent));
    }
    page.raw("<span class=\"fig\">").text(&figures.join(" · "));
    page.raw("</span></summary>\n<div class=\"in\">\n");
    if let Some(question) = &node.started.question {
        page.raw("<div class=\"box\"><b>Question</b>\n");
        page.whole("prose", question);
        page.raw("</div>\n");
    }
    let context = words::context(&node.started.context);
    page.element("p", "faint", &format!("Context: {context}"));
    body(node, false, page);
    ended(node, status, page);
    page.raw("</div>\n</details>\n");
}

/// What came of a node.
fn ended(node: &Node, status: Status, page: &mut Page) {
    page.raw("<div class=\"box ")
        .raw(class(status))
        .raw("\"><b>");
    match &node.outcome {
        Some(Outcome::Answered {
            answer,
            answer_bytes,
            partial,
        }) => {
            page.raw(if partial.is_some() {
                "Partial answer"
            } else {
                "Answer"
            });
            page.raw("</b>\n");
            if let Some(why) = partial {
                page.element("p", "why", why);
            }
            match answer {
                Some(answer) => page.whole("prose", answer),
                None => page.element("p", "faint", &bytes(*answer_bytes)),
            }
        }
        Some(Outcome::Failed { error }) => {
            page.raw("Failed</b>\n");
            page.whole("prose", error);
        }
        None => {
            page.raw("No end</b>\n");
        }
    }
    page.raw("</div>\n");
}
