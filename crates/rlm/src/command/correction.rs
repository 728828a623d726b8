//! What is said to the model when its reply cannot be carried out.

/// The longest correction, in characters.
const MAX_MESSAGE: usize = 600;

/// The longest excerpt of the reply inside a correction, in characters.
const MAX_EXCERPT: usize = 80;

/// How a command is written, for the end of a correction.
pub(super) const HOW_TO: &str = "To run code, write a ```python block (or a ```bash block) with \
each fence on a line of its own. To finish, write FINAL(...) with the answer itself between the \
parentheses, or FINAL_VAR(name) with a REPL variable's name, alone on a line.";

/// A message to the model that says what was wrong and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Correction(String);

impl Correction {
    /// Makes a correction, cut to the longest message.
    pub(super) fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        match message.char_indices().nth(MAX_MESSAGE) {
            None => Self(message),
            Some(_) => Self(message.chars().take(MAX_MESSAGE - 1).chain(['…']).collect()),
        }
    }

    /// The message itself.
    pub(super) fn into_message(self) -> String {
        self.0
    }
}

/// The beginning of a text on one line, short enough to be quoted.
///
/// Runs of white space become one space; a cut is shown by an ellipsis.
pub(super) fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    let mut count = 0;
    for word in text.split_whitespace() {
        if count > 0 {
            shown.push(' ');
            count += 1;
        }
        for character in word.chars() {
            if count >= MAX_EXCERPT {
                shown.push('…');
                return shown;
            }
            shown.push(character);
            count += 1;
        }
    }
    shown
}

/// For a reply in which nothing could be read as a command.
pub(super) fn nothing_found(text: &str) -> Correction {
    if text.trim().is_empty() {
        return Correction::new(format!(
            "Your reply was empty: no command was found. {HOW_TO}"
        ));
    }
    Correction::new(format!(
        "No command was found in your reply, which begins \"{}\". {HOW_TO}",
        excerpt(text)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("  a\n\n b\tc "), "a b c");
        let long = excerpt(&"é".repeat(500));
        assert_eq!(long.chars().count(), MAX_EXCERPT + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_correction_is_never_long() {
        let message = Correction::new("ü".repeat(5_000)).into_message();
        assert_eq!(message.chars().count(), MAX_MESSAGE);
    }

    #[test]
    fn an_empty_reply_is_told_how_to_write_a_command() {
        let message = nothing_found(" \n").into_message();
        assert!(message.contains("empty"), "{message}");
        assert!(message.contains("```python"), "{message}");
        assert!(message.contains("FINAL("), "{message}");
    }

    #[test]
    fn a_reply_of_prose_is_quoted_back() {
        let message = nothing_found("I am not sure.").into_message();
        assert!(message.contains("\"I am not sure.\""), "{message}");
        assert!(message.contains("```python"), "{message}");
    }
}
