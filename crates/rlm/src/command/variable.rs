//! Names of REPL variables.

/// Words that no variable can be called.
const RESERVED: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// Whether a text can be the name of a Python variable.
pub(super) fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    let begins_well = characters
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_');
    begins_well && characters.all(|c| c.is_alphanumeric() || c == '_') && !RESERVED.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_known() {
        for name in ["x", "_", "final_answer", "x1", "été", "Result", "none"] {
            assert!(is_identifier(name), "{name}");
        }
        for name in [
            "", "1x", "a b", "a.b", "a[0]", "None", "for", "x-y", "\"x\"", "f()",
        ] {
            assert!(!is_identifier(name), "{name}");
        }
    }
}
