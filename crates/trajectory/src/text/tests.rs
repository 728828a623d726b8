use super::*;
use crate::printable::columns_of;
use crate::sample;
use crate::tree::Run;

fn shown(records: Vec<crate::record::Record>) -> String {
    show(&Run::from_records(records), Style::default())
}

fn full(records: Vec<crate::record::Record>) -> String {
    let style = Style {
        full: true,
        ..Style::default()
    };
    show(&Run::from_records(records), style)
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn a_run_is_understood_at_a_glance() {
    let text = shown(sample::whole());
    says(
        &text,
        &[
            "Question\n  Which of these licences mention patents?\n",
            "openrouter/qwen/qwen3-32b",
            "dict of 6 texts: 66,551 characters",
            "├─ step 1",
            "└─ step 3",
            "KeyError: 'Zlib'",
            "query_llm × 6",
            "5 replies · 1 failed",
            "rate limited (429)",
            "node 1 · answered",
            "corrected",
            "9,120 tokens became 3,204",
            "Answer\n  Three of the six mention patents:\n",
            "$0.0131, cost of 6 calls unknown",
        ],
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [20, 60, 100] {
        let style = Style {
            width,
            ..Style::default()
        };
        let text = show(&Run::from_records(sample::quiet(sample::whole())), style);
        for line in text.lines() {
            assert!(columns_of(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn full_shows_texts_whole() {
    let few = shown(sample::whole());
    assert!(!few.contains("You answer a question about a context"));
    let text = full(sample::whole());
    says(
        &text,
        &[
            "system to the model:",
            "You answer a question about a context",
            "print(name, \"->\", reply)\n",
            "File \"<step 1>\", line 3, in <module>",
            "Permission is hereby granted, and so on.\n",
        ],
    );
}

#[test]
fn endings_are_said_with_their_reason() {
    says(
        &shown(sample::partial()),
        &[
            "! The replies came from a file. No model was asked.",
            "Partial answer: the budget of 20,000 tokens was nearly used",
        ],
    );
    says(
        &shown(sample::cut()),
        &[
            "breaks off",
            "No answer",
            "2 replies · 4 unanswered",
            "no end",
        ],
    );
    says(
        &shown(sample::silent_failure()),
        &[
            "Failed\n  no connection to",
            "not recorded",
            "cost of 6 calls unknown",
        ],
    );
}

#[test]
fn deep_trees_are_indented_so_far_only_and_say_how_deep_they_are() {
    let text = shown(sample::deep(12));
    says(
        &text,
        &["node 1 ·", "node 2 at depth 2 ·", "node 12 at depth 12 ·"],
    );
    let indent = |line: &str| {
        line.chars()
            .take_while(|one| " │├└─".contains(*one))
            .count()
    };
    let deepest = text.lines().map(indent).max();
    assert!(deepest <= Some(56), "{deepest:?}\n{text}");
    assert!(text.lines().all(|line| columns_of(line) <= 100), "{text}");
}

#[test]
fn a_large_batch_has_few_lines() {
    let text = shown(sample::many(10_000));
    assert!(text.lines().count() < 60, "{text}");
    says(
        &text,
        &["9,990 replies · 10 failed", "more queries", "overloaded"],
    );
    assert!(full(sample::many(300)).lines().count() > 600);
}

#[test]
fn colours_are_there_only_if_asked_for() {
    let run = Run::from_records(sample::whole());
    assert!(!show(&run, Style::default()).contains('\x1b'));
    let style = Style {
        colour: true,
        ..Style::default()
    };
    let text = show(&run, style);
    says(&text, &["\x1b[31mKeyError\x1b[0m"]);
}
