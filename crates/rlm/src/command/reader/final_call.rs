//! Calls of `FINAL` and `FINAL_VAR` in prose, from their parenthesis on.

use super::super::Command;
use super::super::answers::{self, Call, Trail};
use super::super::argument::{Argument, argument};
use super::super::correction::{Correction, excerpt};
use super::super::placeholder::is_placeholder;
use super::super::variable::is_identifier;
use super::Reader;

impl Reader<'_> {
    /// Reads a call of `FINAL`.
    pub(super) fn answer(&mut self, call: Call) -> Result<(), Correction> {
        let from = self.at + call.argument;
        let line = self.line();
        let limit = if call.in_code {
            self.line_end
        } else {
            self.text.len()
        };
        let argument = argument(&mut self.fences, self.text, from, limit);
        let Some(end) = argument.end else {
            if call.in_code || call.spaced {
                self.prose(line);
                return Ok(());
            }
            return self.unclosed(from, argument);
        };
        if self.past_call(call, end, line)? {
            self.finish(argument)?;
        }
        Ok(())
    }

    /// Reads a call of `FINAL_VAR`, which never leaves its line.
    pub(super) fn variable(&mut self, call: Call) -> Result<(), Correction> {
        let line = self.line();
        let inside = &line[call.argument..];
        let Some(length) = inside.find(')') else {
            if call.in_code {
                self.prose(line);
                return Ok(());
            }
            return Err(no_variable(inside));
        };
        let end = self.at + call.argument + length + 1;
        if !self.past_call(call, end, line)? {
            return Ok(());
        }
        let name = unquoted(inside[..length].trim());
        if !is_identifier(name) {
            return Err(no_variable(&inside[..length]));
        }
        self.reading
            .commands
            .push(Command::FinalVariable(name.to_owned()));
        Ok(())
    }

    /// Moves past a call; says whether it is meant and not only mentioned.
    fn past_call(&mut self, call: Call, end: usize, line: &str) -> Result<bool, Correction> {
        self.at = end;
        let rest = self.line();
        match answers::trail(call, rest) {
            Trail::Ends => self.skip_line(),
            Trail::NextCall => {}
            Trail::Sentence => {
                self.mention(line);
                return Ok(false);
            }
            Trail::Unbalanced => return Err(unbalanced(line)),
        }
        Ok(true)
    }

    /// An answer whose parenthesis never closes: models run out of words.
    fn unclosed(&mut self, from: usize, argument: Argument) -> Result<(), Correction> {
        self.skip_line();
        while self.at < self.text.len() {
            let line = self.line();
            match self.fences.block_at(self.at) {
                Some(block) if block.language.is_run() => return Err(unclosed(&self.text[from..])),
                Some(block) => self.at = block.end,
                None if answers::call_at(line).is_some() => {
                    return Err(unclosed(&self.text[from..]));
                }
                None => self.skip_line(),
            }
        }
        self.finish(argument)
    }

    fn finish(&mut self, argument: Argument) -> Result<(), Correction> {
        let text = argument.text;
        if text.trim().is_empty() {
            return Err(Correction::new(
                "Your FINAL() is empty. Write the answer itself between the parentheses, as in \
                 FINAL(the capital is Paris), or name the REPL variable that holds it with \
                 FINAL_VAR(name).",
            ));
        }
        if is_placeholder(&text) {
            return Err(placeholder(&text));
        }
        if argument.formatted {
            return Err(Correction::new(format!(
                "FINAL(f\"{}\") is an f-string, but outside of a code block nothing is filled in. \
                 Write the finished text, or call FINAL inside a ```python block.",
                excerpt(&text)
            )));
        }
        self.reading.commands.push(Command::Final(text));
        Ok(())
    }
}

/// A name without the quotes or backticks around it.
fn unquoted(name: &str) -> &str {
    ['"', '\'', '`']
        .iter()
        .find_map(|quote| name.strip_prefix(*quote)?.strip_suffix(*quote))
        .map_or(name, str::trim)
}

fn no_variable(inside: &str) -> Correction {
    Correction::new(format!(
        "FINAL_VAR({}) does not name a variable. Write FINAL_VAR(name) on one line, where name is \
         a variable that your code set in the REPL, without anything else between the \
         parentheses. If you mean the text itself, write FINAL(...) with the text.",
        excerpt(inside)
    ))
}

fn placeholder(text: &str) -> Correction {
    let variable = if is_identifier(text) {
        format!(" If the answer is in the REPL variable {text}, write FINAL_VAR({text}).")
    } else {
        String::new()
    };
    Correction::new(format!(
        "FINAL({}) holds a placeholder, not an answer. Write the answer itself between the \
         parentheses.{variable} If you do not know it yet, go on with a ```python block and \
         leave FINAL out.",
        excerpt(text)
    ))
}

fn unbalanced(line: &str) -> Correction {
    Correction::new(format!(
        "The parentheses of your FINAL do not pair up, so its end is not clear: \"{}\". Put the \
         answer in triple quotes, FINAL(\"\"\"...\"\"\"), with nothing after it.",
        excerpt(line)
    ))
}

fn unclosed(inside: &str) -> Correction {
    Correction::new(format!(
        "FINAL({} is never closed, and a code block or another FINAL follows it, so it is not clear whether you \
         are done. If you are, write only FINAL(\"\"\"...\"\"\"), closed. If not, write only the \
         code block.",
        excerpt(inside)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn commands(text: &str) -> Vec<Command> {
        read(text)
            .unwrap_or_else(|error| panic!("{text}: {error:?}"))
            .commands
    }

    fn fault(text: &str) -> String {
        match read(text) {
            Ok(reading) => panic!("{text}: {:?}", reading.commands),
            Err(correction) => correction.into_message(),
        }
    }

    #[test]
    fn a_variable_is_named_with_or_without_quotes() {
        for text in [
            "FINAL_VAR(x)",
            "FINAL_VAR(\"x\")",
            "FINAL_VAR( 'x' )",
            "**`FINAL_VAR(`x`)`**",
        ] {
            assert_eq!(
                commands(text),
                [Command::FinalVariable("x".into())],
                "{text}"
            );
        }
        for text in [
            "FINAL_VAR(the answer)",
            "FINAL_VAR()",
            "FINAL_VAR(x[0])",
            "FINAL_VAR(x",
        ] {
            assert!(fault(text).contains("does not name a variable"), "{text}");
        }
    }

    #[test]
    fn a_call_inside_a_sentence_or_as_inline_code_in_one_is_skipped() {
        let texts = [
            "FINAL(x) is what I shall call.",
            "FINAL_VAR(x) returns the variable.",
            "`FINAL(x)` ends the run.",
            "`FINAL(` ends the run",
            "`FINAL_VAR(` too",
            "FINAL (see below",
        ];
        for text in texts {
            assert_eq!(commands(text), [], "{text}");
        }
    }

    #[test]
    fn an_unclosed_answer_reaches_to_the_end_unless_something_follows() {
        assert_eq!(commands("FINAL(a\nb\n"), [Command::Final("a\nb".into())]);
        let quoted = "FINAL(a\n```text\nb\n```";
        assert_eq!(
            commands(quoted),
            [Command::Final("a\n```text\nb\n```".into())]
        );
        for text in [
            "FINAL(a\n```python\nb\n```",
            "FINAL(a\nFINAL(b)",
            "FINAL(a\nFINAL_VAR(b)",
        ] {
            assert!(fault(text).contains("never closed"), "{text}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_meant_is_corrected() {
        let cases = [
            ("FINAL()", "empty"),
            ("FINAL(\"\")", "empty"),
            ("FINAL(", "empty"),
            ("FINAL(<answer>)", "placeholder"),
            ("FINAL(answer)", "FINAL_VAR(answer)"),
            ("FINAL(f\"{n} items\")", "f-string"),
            ("FINAL(1) first 2) second)", "pair up"),
        ];
        for (text, expected) in cases {
            let message = fault(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
