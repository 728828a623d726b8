//! Calls of `FINAL` and `FINAL_VAR` in prose.
//!
//! They count at a line's beginning only, past the marks that Markdown puts there and a label such as
//! `Final answer:`. Anywhere else they are talk about the command.

use crate::argument::{Argument, argument};
use crate::correction::excerpt;
use crate::reader::Reader;
use crate::{Command, Fault, TextAnswer};

/// The longest label that is looked for, in characters.
const MAX_LABEL: usize = 40;

/// What labels and placeholders consist of.
const LABEL: [&str; 6] = ["the", "my", "final", "answer", "result", "is"];
const PLACEHOLDER: [&str; 9] = [
    "insert", "the", "my", "your", "final", "answer", "text", "here", "goes",
];

/// Words that no variable can be called.
const RESERVED: &str = "False None True and as assert async await break class continue def del elif else \
except finally for from global if import in is lambda nonlocal not or pass raise return try while with \
yield";

/// A call at a line's beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Whether it is `FINAL_VAR`.
    pub(crate) is_variable: bool,
    /// Where in the line it begins.
    name: usize,
    /// Where in the line its argument begins.
    argument: usize,
}

/// The call that a line begins with.
pub(crate) fn call_at(line: &str) -> Option<Call> {
    let mut start = line.trim_start_matches(is_mark);
    if let Some(unlabelled) = after_label(start) {
        start = unlabelled.trim_start_matches(is_mark);
    }
    let unnumbered = start.trim_start_matches(|c: char| c.is_ascii_digit());
    if let Some(item) = unnumbered.strip_prefix(". ") {
        start = item.trim_start_matches(is_mark);
    }
    let name = start.strip_prefix("FINAL")?;
    let rest = name.strip_prefix("_VAR").unwrap_or(name);
    let open = rest.trim_start_matches(' ');
    let argument = open.strip_prefix('(')?;
    // Inline code, or a name before a parenthesis, is a call if there is nothing else on the line.
    let is_loose = line[..line.len() - start.len()].ends_with('`') || open.len() < rest.len();
    let end = line.trim_end_matches(|c| is_mark(c) || c == '.');
    (!is_loose || end.ends_with(')')).then_some(Call {
        is_variable: rest.len() < name.len(),
        name: line.len() - start.len(),
        argument: line.len() - argument.len(),
    })
}

/// White space, bullets, headings, emphasis, inline code.
fn is_mark(c: char) -> bool {
    c.is_whitespace() || "#*_-+•`".contains(c)
}

/// The line past a label and its colon.
fn after_label(line: &str) -> Option<&str> {
    let mut beginning = line.char_indices().take(MAX_LABEL);
    let (colon, _) = beginning.find(|&(_, c)| c == ':')?;
    let label = line[..colon].trim_matches([' ', '*', '_']).to_lowercase();
    consists_of(&label, &LABEL).then(|| &line[colon + 1..])
}

fn consists_of(text: &str, words: &[&str]) -> bool {
    !text.is_empty() && text.split([' ', '_']).all(|word| words.contains(&word))
}

/// Whether a text can be the name of a Python variable.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let begins_well = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    begins_well
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !RESERVED.split(' ').any(|word| word == text)
}

/// Whether an answer only stands for one, as the instruction's own example does.
fn is_placeholder(answer: &str) -> bool {
    let is_bracketed = answer.starts_with(['<', '[', '{']) && answer.ends_with(['>', ']', '}']);
    let is_frame = |c: char| c.is_whitespace() || "<>[]{}\"'`*_".contains(c);
    let bare = answer.trim_matches(is_frame).to_lowercase();
    matches!(bare.as_str(), "..." | "…")
        || (bare.contains("answer") && consists_of(&bare, &PLACEHOLDER))
        // `<your answer in one sentence>`
        || (is_bracketed && bare.starts_with("your "))
}

/// What follows a call on its line.
enum Trail {
    /// Nothing that changes the call's meaning.
    Ends,
    NextCall,
    /// The rest of a sentence: the call is only mentioned.
    Sentence,
    /// A closing parenthesis that has no opening one.
    Unbalanced,
}

fn trail(rest: &str) -> Trail {
    let rest = rest.trim_matches(is_mark);
    if rest.starts_with("FINAL") {
        return Trail::NextCall;
    }
    let mut depth = 0_i64;
    for byte in rest.bytes() {
        depth += i64::from(byte == b'(') - i64::from(byte == b')');
        if depth < 0 {
            return Trail::Unbalanced;
        }
    }
    let begins_sentence = rest.starts_with(|c: char| ".!#".contains(c) || c.is_uppercase());
    if begins_sentence || !rest.contains(char::is_alphanumeric) {
        Trail::Ends
    } else {
        Trail::Sentence
    }
}

impl Reader<'_> {
    /// Reads a call of `FINAL`.
    pub(crate) fn answer(&mut self, call: Call) -> Result<(), Fault> {
        let begin = self.at + call.name;
        let from = self.at + call.argument;
        let argument = argument(self.text, from);
        let is_meant = match argument.end {
            Some(end) => self.goes_past(end)?,
            None => {
                self.end_unclosed(from)?;
                true
            }
        };
        if is_meant {
            let end = argument.end.unwrap_or(self.text.len());
            self.finish(argument, &self.text[begin..end])?;
        }
        Ok(())
    }

    /// Reads a call of `FINAL_VAR`, which never leaves its line.
    pub(crate) fn variable(&mut self, call: Call) -> Result<(), Fault> {
        let inside = &self.line()[call.argument..];
        let no_variable = |inside: &str| {
            format!(
                "FINAL_VAR({}) does not name a variable that your code set in the REPL. If you mean the \
                 text itself, write FINAL(...).",
                excerpt(inside)
            )
        };
        let Some((name, _)) = inside.split_once(')') else {
            return Err(no_variable(inside));
        };
        if self.goes_past(self.at + call.argument + name.len() + 1)? {
            let name = name.trim_matches(|c: char| c.is_whitespace() || "\"'`".contains(c));
            if !is_identifier(name) {
                return Err(no_variable(name));
            }
            self.add(Command::FinalVariable(name.to_owned()));
        }
        Ok(())
    }

    /// Moves past a call; says whether it is meant and not only mentioned.
    fn goes_past(&mut self, end: usize) -> Result<bool, Fault> {
        let line = self.line();
        self.at = end;
        match trail(self.line()) {
            Trail::Ends => self.skip_line(),
            Trail::NextCall => {}
            Trail::Sentence => return Ok(false),
            Trail::Unbalanced => {
                return Err(format!(
                    "The parentheses of your FINAL do not pair up, so its end is not clear: \"{}\". \
                     Put the answer in triple quotes, FINAL(\"\"\"...\"\"\").",
                    excerpt(line)
                ));
            }
        }
        Ok(true)
    }

    /// Moves to the end past an answer whose parenthesis never closes: models run out of words.
    fn end_unclosed(&mut self, from: usize) -> Result<(), Fault> {
        let rest = &self.text[from..];
        if rest.contains("```") || rest.lines().skip(1).any(|line| call_at(line).is_some()) {
            return Err(format!(
                "FINAL({} is never closed, and a code block or another FINAL follows it, so it is not \
                 clear whether you are done.",
                excerpt(rest)
            ));
        }
        if self.is_in_open_block {
            return Err(format!(
                "FINAL({} is never closed, and neither is the code fence above it, so it is not clear what \
                 is an answer and what is code.",
                excerpt(rest)
            ));
        }
        self.at = self.text.len();
        Ok(())
    }

    fn finish(&mut self, argument: Argument, call: &str) -> Result<(), Fault> {
        let text = argument.text;
        if text.trim().is_empty() {
            return Err("Your FINAL() is empty.".to_owned());
        }
        let shown = excerpt(&text);
        if is_placeholder(text.trim()) {
            let variable = if is_identifier(&text) {
                format!(" If the answer is in a variable, write FINAL_VAR({text}).")
            } else {
                String::new()
            };
            return Err(format!(
                "FINAL({shown}) holds a placeholder, not an answer.{variable} If you do not know it \
                 yet, leave FINAL out."
            ));
        }
        if argument.is_formatted {
            return Err(format!(
                "FINAL(f\"{shown}\") is an f-string, but outside of a code block nothing is filled in."
            ));
        }
        self.add_answer(TextAnswer {
            text,
            call: Some(call.to_owned()),
            is_between_prose: false,
        });
        Ok(())
    }
}
