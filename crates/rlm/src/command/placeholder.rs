//! Answers that only stand for an answer: `FINAL(your answer here)`.
//!
//! Models repeat the instruction's own example when they do not know what to do.

/// The stand-ins, in lower case and without brackets and quotes.
const PLACEHOLDERS: [&str; 22] = [
    "",
    "...",
    "…",
    "answer",
    "answer here",
    "answer text",
    "final answer",
    "final answer here",
    "final_answer_here",
    "insert answer here",
    "my answer",
    "my final answer",
    "the answer",
    "the answer here",
    "the final answer",
    "answer goes here",
    "your answer",
    "your answer here",
    "your answer text",
    "your final answer",
    "your final answer here",
    "your_answer",
];

/// Whether an answer is a placeholder.
pub(super) fn is_placeholder(answer: &str) -> bool {
    let answer = answer.trim();
    let bracketed = answer.starts_with(['<', '[', '{']) && answer.ends_with(['>', ']', '}']);
    let bare = answer
        .trim_matches(|c: char| c.is_whitespace() || "<>[]{}\"'`*_".contains(c))
        .to_lowercase();
    // `<your answer in one sentence>`
    let instruction = bracketed && bare.starts_with("your ");
    // `[]` and `{}` are answers: an empty list.
    let nothing = bare.is_empty() && !answer.is_empty();
    !nothing && (instruction || PLACEHOLDERS.contains(&bare.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_own_examples_are_placeholders() {
        let texts = [
            "your answer here",
            "...",
            "…",
            "answer",
            "<answer>",
            "[your answer]",
            "\"answer\"",
            "Your final answer",
            "<your answer in one sentence>",
            "{answer}",
            "the final answer",
        ];
        for text in texts {
            assert!(is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn answers_are_no_placeholders() {
        let texts = [
            "42",
            "The answer is 42.",
            "[]",
            "{}",
            "your house",
            "<b>x</b>",
            "[1, 2]",
            "no answer",
            "yes",
            "\"\"",
        ];
        for text in texts {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
