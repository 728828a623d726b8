//! What stands above the tree, and below it.

use super::draw::Drawing;
use super::item::Paint;
use super::node::paint_of;
use crate::figures::{bytes, count, moment, things, time};
use crate::record::{ContextPart, NodeStarted, Outcome, RunStarted};
use crate::tree::Run;
use crate::words::{self, Status};

/// Lines of a question or an answer, unless texts are shown whole.
const FEW_LINES: usize = 12;
/// Texts of a context that are listed, unless texts are shown whole.
const FEW_PARTS: usize = 8;

pub(super) fn header(run: &Run, out: &mut Drawing) {
    let root = run.root.as_ref().map(|root| &root.started);
    heading(out, Paint::Strong, "Question", "");
    match root {
        Some(NodeStarted {
            question: Some(question),
            ..
        }) => block(out, question),
        Some(root) => unrecorded(out, root.question_bytes),
        None => {}
    }
    out.line(&[]);
    if let Some(started) = &run.started {
        header_of_run(started, out);
    }
    if let Some(root) = root {
        let context = words::context(&root.context);
        let load = time(root.load_ms);
        labelled(out, "context", &format!("{context} · there after {load}"));
        if root.context.parts.len() > 1 {
            parts(&root.context.parts, out);
        }
    }
    if let Some(started) = &run.started {
        labelled(out, "budget", &words::budget(&started.budget));
    }
    out.line(&[]);
    let notes = words::notes(run);
    for note in &notes {
        out.paragraph(Paint::Odd, "! ", note);
    }
    if !notes.is_empty() {
        out.line(&[]);
    }
}

fn header_of_run(started: &RunStarted, out: &mut Drawing) {
    let when = moment(started.started_unix_ms);
    let run = format!("{} · {when} · ukernel {}", started.run, started.ukernel);
    labelled(out, "run", &run);
    labelled(out, "model", &started.model);
    if started.sub_model != started.model {
        labelled(out, "sub-calls", &started.sub_model);
    }
    labelled(out, "replies", &started.origin);
    if let Some(trace) = &started.traceparent {
        labelled(out, "trace", trace);
    }
}

fn parts(parts: &[ContextPart], out: &mut Drawing) {
    let most = if out.style().full {
        usize::MAX
    } else {
        FEW_PARTS
    };
    for part in parts.iter().take(most) {
        labelled(out, "", &format!("{}: {}", part.name, count(part.length)));
    }
    if parts.len() > most {
        let more = things((parts.len() - most) as u64, "more", "more");
        labelled(out, "", &format!("… {more}"));
    }
}

pub(super) fn footer(run: &Run, out: &mut Drawing) {
    let status = Status::of(run.outcome.as_ref());
    let paint = paint_of(status);
    match &run.outcome {
        Some(Outcome::Answered {
            answer,
            answer_bytes,
            partial,
        }) => {
            let why = partial.as_ref().map(|why| format!(": {why}"));
            match status {
                Status::Partial => {
                    heading(out, paint, "Partial answer", &why.unwrap_or_default());
                }
                _ => heading(out, paint, "Answer", ""),
            }
            match answer {
                Some(answer) => block(out, answer),
                None => unrecorded(out, *answer_bytes),
            }
        }
        Some(Outcome::Failed { error }) => {
            heading(out, paint, "Failed", "");
            block(out, error);
        }
        None => heading(out, paint, "No answer", ": the trajectory has no end"),
    }
    out.line(&[]);
    totals(run, out);
}

fn totals(run: &Run, out: &mut Drawing) {
    let spent = &run.spent;
    let about = match spent.estimated_calls {
        0 => String::new(),
        calls => format!(" ({} estimated)", things(calls, "call", "calls")),
    };
    let tokens = count(spent.tokens());
    let parts = (count(spent.prompt_tokens), count(spent.completion_tokens));
    let calls = [
        time(spent.elapsed_ms),
        things(spent.steps, "step", "steps"),
        things(spent.model_calls, "model call", "model calls"),
        things(spent.sub_calls, "sub-call", "sub-calls"),
        format!("{} of output", bytes(spent.output_bytes)),
    ];
    labelled(out, "took", &calls.join(" · "));
    let tokens = format!("{tokens}: {} → {}{about}", parts.0, parts.1);
    labelled(out, "tokens", &tokens);
    labelled(out, "cost", &words::cost(spent));
}

fn heading(out: &mut Drawing, paint: Paint, title: &str, rest: &str) {
    out.line(&[(paint, title.to_owned()), (Paint::Plain, rest.to_owned())]);
}

fn block(out: &mut Drawing, text: &str) {
    let most = if out.style().full {
        usize::MAX
    } else {
        FEW_LINES
    };
    out.block(text, most);
}

fn labelled(out: &mut Drawing, label: &str, text: &str) {
    out.line(&[
        (Paint::Faint, format!("  {label:<10}")),
        (Paint::Plain, text.to_owned()),
    ]);
}

fn unrecorded(out: &mut Drawing, size: u64) {
    let text = format!("  {}, not recorded", bytes(size));
    out.line(&[(Paint::Faint, text)]);
}
