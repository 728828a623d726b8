//! Where a line of prose says `FINAL(` or `FINAL_VAR(` as a command.
//!
//! Only at a line's beginning, past the marks that Markdown puts there and a
//! label such as `Final answer:`. Anywhere else it is talk about the command.

/// The longest label that is looked for, in characters.
const MAX_LABEL: usize = 40;

/// The labels that may stand before the command, in lower case.
const LABELS: [&str; 14] = [
    "answer",
    "the answer",
    "my answer",
    "final answer",
    "the final answer",
    "my final answer",
    "the answer is",
    "the final answer is",
    "final",
    "final result",
    "result",
    "the result",
    "the result is",
    "my answer is",
];

/// A call at a line's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Whether it is `FINAL_VAR`.
    pub(super) variable: bool,
    /// Where in the line its argument begins.
    pub(super) argument: usize,
    /// Whether it stands in inline code.
    pub(super) in_code: bool,
    /// Whether a space stands before the parenthesis.
    pub(super) spaced: bool,
}

/// What follows a call on its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trail {
    /// Nothing, or nothing that changes the call's meaning.
    Ends,
    /// The next call.
    NextCall,
    /// The rest of a sentence: the call is only mentioned.
    Sentence,
    /// A closing parenthesis that has no opening one.
    Unbalanced,
}

/// Whether a line is quoted from somewhere.
pub(super) fn is_quoted(line: &str) -> bool {
    line.trim_start().starts_with('>')
}

/// The call that a line begins with.
pub(super) fn call_at(line: &str) -> Option<Call> {
    let mut start = after_marks(line);
    if let Some(unlabelled) = after_label(start) {
        start = after_marks(unlabelled);
    }
    let in_code = line[..line.len() - start.len()].ends_with('`');
    let (variable, rest) = match start.strip_prefix("FINAL_VAR") {
        Some(rest) => (true, rest),
        None => (false, start.strip_prefix("FINAL")?),
    };
    let open = rest.trim_start_matches([' ', '\t']);
    let argument = open.strip_prefix('(')?;
    Some(Call {
        variable,
        argument: line.len() - argument.len(),
        in_code,
        spaced: open.len() != rest.len(),
    })
}

/// Judges what follows a call on its line.
pub(super) fn trail(call: Call, rest: &str) -> Trail {
    let after_code = if call.in_code {
        rest.strip_prefix('`')
    } else {
        Some(rest)
    };
    let Some(rest) = after_code else {
        return Trail::Sentence;
    };
    let rest = rest.trim_matches(|c: char| c.is_whitespace() || "*_`".contains(c));
    if rest.starts_with("FINAL") && !call.in_code {
        return Trail::NextCall;
    }
    if has_stray_parenthesis(rest) {
        return Trail::Unbalanced;
    }
    let ends = if call.in_code || call.spaced {
        !rest.contains(char::is_alphanumeric)
    } else {
        !rest.contains(char::is_alphanumeric)
            || rest.starts_with(['.', '!', '#'])
            || rest.starts_with(char::is_uppercase)
    };
    if ends { Trail::Ends } else { Trail::Sentence }
}

/// The line past white space, bullets, headings, emphasis and a number.
fn after_marks(line: &str) -> &str {
    let is_mark = |c: char| c.is_whitespace() || "#*_-+•`".contains(c);
    let rest = line.trim_start_matches(is_mark);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match rest[digits..].strip_prefix(['.', ')']) {
        Some(item) if (1..=3).contains(&digits) && item.starts_with(' ') => {
            item.trim_start_matches(is_mark)
        }
        _ => rest,
    }
}

/// The line past a label and its colon.
fn after_label(line: &str) -> Option<&str> {
    let (colon, _) = line
        .char_indices()
        .take(MAX_LABEL)
        .find(|&(_, c)| c == ':')?;
    let label = line[..colon].trim_matches([' ', '*', '_']).to_lowercase();
    LABELS.contains(&label.as_str()).then(|| &line[colon + 1..])
}

fn has_stray_parenthesis(rest: &str) -> bool {
    let mut depth = 0_usize;
    for byte in rest.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return true,
            b')' => depth -= 1,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows the opening parenthesis of the call that a line begins with.
    fn argument_of(line: &str) -> Option<&str> {
        call_at(line).map(|call| &line[call.argument..])
    }

    #[test]
    fn a_call_may_stand_behind_the_usual_marks() {
        let lines = [
            "FINAL(42)",
            "  FINAL(42)",
            "**FINAL(42)",
            "`FINAL(42)",
            "- FINAL(42)",
            "* **FINAL(42)",
            "3. FINAL(42)",
            "## FINAL(42)",
            "Final answer: FINAL(42)",
            "**Answer:** FINAL(42)",
            "**Final Answer**: `FINAL(42)",
            "### The final answer is: FINAL(42)",
            "The result is: FINAL(42)",
            "FINAL (42)",
        ];
        for line in lines {
            assert_eq!(argument_of(line), Some("42)"), "{line}");
        }
        assert!(call_at("FINAL_VAR(x)").is_some_and(|call| call.variable));
    }

    #[test]
    fn a_call_anywhere_else_is_only_mentioned() {
        let lines = [
            "I will call FINAL(answer) when done",
            "Then: FINAL(42)",
            "The count is: FINAL(42)",
            "(FINAL(42))",
            "FINAL: 42",
            "FINALLY(42)",
            "FINAL_ANSWER(42)",
            "final(42)",
            "| FINAL(42) |",
            "x = FINAL(42)",
            "FINAL",
            "",
        ];
        for line in lines {
            assert_eq!(call_at(line), None, "{line}");
        }
    }

    #[test]
    fn what_follows_a_call_decides_whether_it_is_meant() {
        let cases = [
            ("FINAL(", "", Trail::Ends),
            ("FINAL(", "**", Trail::Ends),
            ("FINAL(", ".", Trail::Ends),
            ("FINAL(", " ✅", Trail::Ends),
            ("FINAL(", " This is it.", Trail::Ends),
            ("FINAL(", ". Hope it helps (a lot).", Trail::Ends),
            ("FINAL(", " FINAL(2)", Trail::NextCall),
            ("FINAL(", "** **FINAL_VAR(x)", Trail::NextCall),
            ("FINAL(", " is what I call when done.", Trail::Sentence),
            ("FINAL(", ": ends the run", Trail::Sentence),
            ("FINAL(", ", once I know it", Trail::Sentence),
            ("FINAL(", " first 2) second)", Trail::Unbalanced),
            ("FINAL (", " Report", Trail::Sentence),
            ("FINAL (", "", Trail::Ends),
            ("`FINAL(", "`", Trail::Ends),
            ("`FINAL(", "`.", Trail::Ends),
            ("`FINAL(", "` Ends the run", Trail::Sentence),
            ("`FINAL(", "", Trail::Sentence),
        ];
        for (line, rest, expected) in cases {
            let call = call_at(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(trail(call, rest), expected, "{line} ... {rest}");
        }
    }
}
