//! The one message to a model whose reply cannot be carried out.

/// The longest message, in characters.
const MAX_MESSAGE: usize = 600;

/// The longest excerpt of a reply in it, in characters.
const MAX_EXCERPT: usize = 80;

/// How commands are written.
const HOW_TO: &str = "To run code, write a ```python block (or a ```bash block) with each fence on a \
line of its own. To finish, write FINAL(...) with the answer itself between the parentheses, or \
FINAL_VAR(name) with a REPL variable's name, alone on a line.";

/// What was wrong, and how commands are written. The longest fault gives way.
pub(crate) fn correction(fault: &str) -> String {
    let room = MAX_MESSAGE - HOW_TO.len() - 2;
    match fault.char_indices().nth(room) {
        None => format!("{fault} {HOW_TO}"),
        Some((end, _)) => format!("{}… {HOW_TO}", &fault[..end]),
    }
}

/// The beginning of a text on one line, short enough to be quoted. Runs of white space become one
/// space, and an ellipsis shows a cut.
pub(crate) fn excerpt(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(MAX_EXCERPT).collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_EXCERPT) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}
