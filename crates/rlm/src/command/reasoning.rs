//! The model's reasoning before its reply proper: `<think>...</think>`.
//!
//! What a model thinks aloud is full of half-meant code and answers, so nothing
//! in it is a command.

use super::correction::{Correction, excerpt};

/// The ways in which reasoning is opened.
const OPENINGS: [&str; 2] = ["<think>", "<thinking>"];

/// What the closing tags begin with; `>` or `ing>` follows.
const CLOSING_STEM: &str = "</think";

/// The reply without the reasoning at its beginning.
///
/// Chat templates often put the opening tag into the prompt, so a closing tag
/// without an opening one ends reasoning, too.
pub(super) fn after_reasoning(reply: &str) -> Result<&str, Correction> {
    let mut rest = reply;
    while let Some(inside) = after_opening(rest) {
        let Some(end) = closing_from(inside, 0).map(|closing| closing.end) else {
            return Err(ended_while_thinking(inside));
        };
        rest = &inside[end..];
    }
    if rest.len() == reply.len() {
        rest = after_stray_closing(reply);
    }
    Ok(rest)
}

/// What follows an opening tag at the beginning, if there is one.
fn after_opening(text: &str) -> Option<&str> {
    let text = text.trim_start();
    OPENINGS.iter().find_map(|tag| text.strip_prefix(tag))
}

/// What follows the first closing tag that begins or ends a line, or all.
///
/// A tag in the middle of a line is more likely text about tags, such as
/// `reply.split("</think>")` in a program.
fn after_stray_closing(text: &str) -> &str {
    let mut from = 0;
    while let Some(closing) = closing_from(text, from) {
        let before = text[..closing.start].trim_end_matches([' ', '\t']);
        let after = text[closing.end..].trim_start_matches([' ', '\t']);
        let begins_line = before.is_empty() || before.ends_with('\n');
        if begins_line || after.is_empty() || after.starts_with('\n') {
            return &text[closing.end..];
        }
        from = closing.end;
    }
    text
}

/// Where the next closing tag stands.
fn closing_from(text: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let mut from = from;
    loop {
        let start = from + text[from..].find(CLOSING_STEM)?;
        let stem_end = start + CLOSING_STEM.len();
        let tail = &text[stem_end..];
        for ending in [">", "ing>"] {
            if tail.starts_with(ending) {
                return Some(start..stem_end + ending.len());
            }
        }
        from = stem_end;
    }
}

fn ended_while_thinking(inside: &str) -> Correction {
    Correction::new(format!(
        "Your reply ended while you were still thinking: it opens a <think> that is never closed \
         (it begins \"{}\"), and nothing inside it is carried out. Think more briefly, close it \
         with </think>, and then write one ```python block or FINAL(...) with the answer itself.",
        excerpt(inside)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinking_before_the_reply_is_skipped() {
        let cases = [
            ("<think>hm</think>\nFINAL(1)", "\nFINAL(1)"),
            ("\n<thinking>hm\n</thinking>FINAL(1)", "FINAL(1)"),
            ("<think>a</think><think>b</think>c", "c"),
            ("the prompt opened it\n</think>\nc", "\nc"),
            ("it ends a line.</think>\nc", "\nc"),
            ("only thoughts</think>", ""),
            ("no thinking here", "no thinking here"),
            ("    indented stays", "    indented stays"),
        ];
        for (reply, rest) in cases {
            assert_eq!(after_reasoning(reply), Ok(rest), "{reply}");
        }
    }

    #[test]
    fn a_closing_tag_inside_a_program_is_not_the_end_of_thinking() {
        let reply = "```python\nx = reply.split(\"</think>\")[-1]\n```";
        assert_eq!(after_reasoning(reply), Ok(reply));
    }

    #[test]
    fn a_word_that_only_begins_like_the_tag_closes_nothing() {
        assert_eq!(after_reasoning("<think>a</thinker>b</think>c"), Ok("c"));
    }

    #[test]
    fn a_reply_that_never_stops_thinking_is_told_so() {
        let outcome = after_reasoning("<think>\nLet me see.\n```python\nprint(1)\n```");
        let message = outcome
            .map(str::to_owned)
            .expect_err("an error")
            .into_message();
        assert!(message.contains("thinking"), "{message}");
        assert!(message.contains("</think>"), "{message}");
    }
}
