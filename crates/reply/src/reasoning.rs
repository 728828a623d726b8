//! The model's reasoning before its reply proper: `<think>...</think>`. It is full of half-meant code
//! and answers, so nothing in it is a command.

use crate::Fault;
use crate::correction::excerpt;
use std::ops::Range;

/// The reply without the reasoning at its beginning. Chat templates often put the opening tag into the
/// prompt, so a closing tag without an opening one ends reasoning, too.
pub(crate) fn after(reply: &str) -> Result<&str, Fault> {
    let mut rest = reply;
    while let Some(inside) = opened(rest) {
        let Some(closing) = closing(inside, 0) else {
            return Err(format!(
                "Your reply ended while you were still thinking: it opens a <think> that is never \
                 closed (it begins \"{}\"). Think more briefly, and close it with </think>.",
                excerpt(inside)
            ));
        };
        rest = &inside[closing.end..];
    }
    if rest.len() == reply.len() {
        rest = after_stray_closing(reply);
    }
    if rest.len() < reply.len() && rest.trim().is_empty() {
        return Err("Your reply holds only reasoning: nothing follows </think>.".to_owned());
    }
    Ok(rest)
}

fn opened(text: &str) -> Option<&str> {
    let text = text.trim_start();
    ["<think>", "<thinking>"]
        .iter()
        .find_map(|tag| text.strip_prefix(tag))
}

/// What follows the first closing tag that begins or ends a line, or all. A tag in the middle of a line
/// is more likely text about tags, such as `reply.split("</think>")`.
fn after_stray_closing(text: &str) -> &str {
    let mut from = 0;
    while let Some(tag) = closing(text, from) {
        let before = text[..tag.start].trim_end_matches([' ', '\t']);
        let after = text[tag.end..].trim_start_matches([' ', '\t']);
        let begins_line = before.is_empty() || before.ends_with('\n');
        if begins_line || after.is_empty() || after.starts_with('\n') {
            return &text[tag.end..];
        }
        from = tag.end;
    }
    text
}

/// The next closing tag.
fn closing(text: &str, mut from: usize) -> Option<Range<usize>> {
    loop {
        let start = from + text[from..].find("</think")?;
        from = start + "</think".len();
        for ending in [">", "ing>"] {
            if text[from..].starts_with(ending) {
                return Some(start..from + ending.len());
            }
        }
    }
}
