//! What the model and the person are told. Everything in it is printable and short.

use super::attempts::Attempts;
use super::verdict::Findings;
use std::fmt::Write;
use std::ops::Range;

/// Characters of a command shown on each side of an unknown term.
const CONTEXT_CHARS: usize = 100;

/// What to tell the model, so that it can say the command again. `retries` is how often it may,
/// if that is limited.
pub(super) fn rephrase(findings: &Findings, attempts: &Attempts, retries: Option<u32>) -> String {
    let mut advice =
        String::from("This command did not run. It has terms that are not known here:");
    for (index, unknown) in findings.unknown.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        // Writing to a String does not fail.
        let _ = write!(advice, "{separator} `{}`", unknown.term);
        if attempts.has_rejected(&unknown.term) {
            advice.push_str(" (the user has rejected it)");
        } else if !unknown.suggestions.is_empty() {
            let _ = write!(advice, " (known: `{}`)", unknown.suggestions.join("`, `"));
        }
    }
    if findings.more_unknown > 0 {
        let _ = write!(advice, ", and {} more", findings.more_unknown);
    }
    advice.push_str(". Say the same with known terms.");
    match retries {
        None => {}
        Some(1) => advice.push_str(" This is the last retry."),
        Some(retries) => {
            let _ = write!(advice, " There are {retries} retries left.");
        }
    }
    advice
}

/// The command around a place, with control characters made visible.
pub(super) fn context(command: &str, place: &Range<usize>) -> String {
    let before = command[..place.start]
        .char_indices()
        .rev()
        .take(CONTEXT_CHARS)
        .last();
    let start = before.map_or(place.start, |(start, _)| start);
    let after = command[place.end..].char_indices().nth(CONTEXT_CHARS);
    let end = after.map_or(command.len(), |(offset, _)| place.end + offset);
    let shown = command[start..end].trim();
    let mut context = String::with_capacity(shown.len());
    for character in shown.chars() {
        if character.is_control() {
            context.extend(character.escape_debug());
        } else {
            context.push(character);
        }
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_is_short_and_printable() {
        assert_eq!(context("a\n\"b\" \u{1b}c", &(3..4)), "a\\n\"b\" \\u{1b}c");
        let long = "é".repeat(10_000);
        assert_eq!(
            context(&long, &(9_000..9_002)).chars().count(),
            2 * CONTEXT_CHARS + 1
        );
        assert_eq!(context("abc", &(0..3)), "abc");
    }
}
