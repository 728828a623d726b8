//! Calls of `FINAL` and `FINAL_VAR` in prose.
//!
//! They count at a line's beginning only, past the marks that Markdown puts there and a label such as
//! `Final answer:`. Anywhere else they are talk about the command.

use crate::argument::{Argument, argument};
use crate::correction::excerpt;
use crate::reader::Reader;
use crate::{Command, Fault};

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
    /// Where in the line its argument begins.
    argument: usize,
    /// Whether it stands in inline code.
    in_code: bool,
    /// Whether a space stands before the parenthesis.
    is_spaced: bool,
}

/// The call that a line begins with.
pub(crate) fn call_at(line: &str) -> Option<Call> {
    let mut start = after_marks(line);
    if let Some(unlabelled) = after_label(start) {
        start = after_marks(unlabelled);
    }
    let name = start.strip_prefix("FINAL")?;
    let rest = name.strip_prefix("_VAR").unwrap_or(name);
    let open = rest.trim_start_matches([' ', '\t']);
    Some(Call {
        is_variable: rest.len() < name.len(),
        argument: line.len() - open.strip_prefix('(')?.len(),
        in_code: line[..line.len() - start.len()].ends_with('`'),
        is_spaced: open.len() < rest.len(),
    })
}

/// The line past white space, bullets, headings, emphasis and a number.
fn after_marks(line: &str) -> &str {
    let is_mark = |c: char| c.is_whitespace() || "#*_-+•`".contains(c);
    let rest = line.trim_start_matches(is_mark);
    let unnumbered = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    match unnumbered.strip_prefix(['.', ')']) {
        Some(item)
            if (1..=3).contains(&(rest.len() - unnumbered.len())) && item.starts_with(' ') =>
        {
            item.trim_start_matches(is_mark)
        }
        _ => rest,
    }
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
pub(crate) fn is_identifier(text: &str) -> bool {
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

fn trail(call: Call, rest: &str) -> Trail {
    let rest = match rest.strip_prefix('`') {
        Some(after_code) if call.in_code => after_code,
        None if call.in_code => return Trail::Sentence,
        _ => rest,
    };
    let rest = rest.trim_matches(|c: char| c.is_whitespace() || "*_`".contains(c));
    if rest.starts_with("FINAL") && !call.in_code {
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
    if !rest.contains(char::is_alphanumeric)
        || (begins_sentence && !call.in_code && !call.is_spaced)
    {
        Trail::Ends
    } else {
        Trail::Sentence
    }
}

impl Reader<'_> {
    /// Reads a call of `FINAL`.
    pub(crate) fn answer(&mut self, call: Call) -> Result<(), Fault> {
        let line = self.line();
        let from = self.at + call.argument;
        // Inline code ends with its line.
        let limit = if call.in_code {
            self.at + line.len()
        } else {
            self.text.len()
        };
        let argument = argument(&mut self.fences, &self.text[..limit], from);
        match argument.end {
            None if call.in_code || call.is_spaced => self.prose(line),
            None => {
                self.end_unclosed(from)?;
                self.finish(argument)?;
            }
            Some(end) if self.goes_past(call, end, line)? => self.finish(argument)?,
            Some(_) => {}
        }
        Ok(())
    }

    /// Reads a call of `FINAL_VAR`, which never leaves its line.
    pub(crate) fn variable(&mut self, call: Call) -> Result<(), Fault> {
        let line = self.line();
        let inside = &line[call.argument..];
        let no_variable = |inside: &str| {
            let inside = excerpt(inside);
            format!(
                "FINAL_VAR({inside}) does not name a variable that your code set in the REPL. If you \
                 mean the text itself, write FINAL(...)."
            )
        };
        let Some(length) = inside.find(')') else {
            if call.in_code {
                self.prose(line);
                return Ok(());
            }
            return Err(no_variable(inside));
        };
        let end = self.at + call.argument + length + 1;
        if self.goes_past(call, end, line)? {
            let name = inside[..length].trim();
            let unquoted = ['"', '\'', '`']
                .iter()
                .find_map(|quote| name.strip_prefix(*quote)?.strip_suffix(*quote));
            let name = unquoted.map_or(name, str::trim);
            if !is_identifier(name) {
                return Err(no_variable(name));
            }
            self.add(Command::FinalVariable(name.to_owned()));
        }
        Ok(())
    }

    /// Moves past a call; says whether it is meant and not only mentioned.
    fn goes_past(&mut self, call: Call, end: usize, line: &str) -> Result<bool, Fault> {
        self.at = end;
        match trail(call, self.line()) {
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
        self.skip_line();
        while self.at < self.text.len() {
            let block = self.fences.block_at(self.at);
            let is_command = match &block {
                Some(block) => block.language.is_run(),
                None => call_at(self.line()).is_some(),
            };
            if is_command {
                return Err(format!(
                    "FINAL({} is never closed, and a code block or another FINAL follows it, so it is \
                     not clear whether you are done.",
                    excerpt(&self.text[from..])
                ));
            }
            match block {
                Some(block) => self.at = block.end,
                None => self.skip_line(),
            }
        }
        Ok(())
    }

    fn finish(&mut self, argument: Argument) -> Result<(), Fault> {
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
        self.add(Command::Final(text));
        Ok(())
    }
}
