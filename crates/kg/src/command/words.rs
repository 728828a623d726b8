//! The words of a text that is language.

use crate::boundary::is_word_character;
use crate::thesaurus::MAX_TERM_BYTES;
use std::ops::Range;

/// Shortest word that is judged, in characters.
const SHORTEST: usize = 3;

/// Where the words of a part of a text are.
pub(super) fn words(text: &str, part: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
    runs(text, part, |character| !character.is_whitespace())
        .filter(|chunk| !is_machine_text(&text[chunk.clone()]))
        .flat_map(|chunk| runs(text, chunk, is_word_character))
        .filter(|word| is_word(&text[word.clone()]))
}

fn is_word(word: &str) -> bool {
    word.len() <= MAX_TERM_BYTES
        && word.chars().take(SHORTEST).count() == SHORTEST
        && word.chars().any(char::is_alphabetic)
        && word.to_lowercase().len() <= MAX_TERM_BYTES
}

/// Where the longest runs of such characters are.
fn runs(
    text: &str,
    part: Range<usize>,
    is_in: impl Fn(char) -> bool,
) -> impl Iterator<Item = Range<usize>> {
    let Range { mut start, end } = part;
    std::iter::from_fn(move || {
        start += text[start..end].find(&is_in)?;
        let from = start;
        let length = text[from..end].find(|character| !is_in(character));
        start = length.map_or(end, |length| from + length);
        Some(from..start)
    })
}

/// Whether a piece of text without spaces is an address, a path, a file name or an option.
fn is_machine_text(chunk: &str) -> bool {
    let bare = chunk.trim_start_matches(['(', '[', '{', '<', '"', '\'', '`']);
    let begins = ["/", "./", "../", "~/", "-", "$", "%", "\\"];
    bare.contains("://")
        || bare.contains('@')
        || begins.iter().any(|begin| bare.starts_with(begin))
        || is_file_name(bare)
}

/// Whether it ends like `data.json`: a dot in a word, and one to five small letters or digits.
fn is_file_name(bare: &str) -> bool {
    let bare = bare.trim_end_matches(|character| !is_word_character(character));
    bare.rsplit_once('.').is_some_and(|(stem, extension)| {
        stem.ends_with(is_word_character)
            && (1..=5).contains(&extension.len())
            && extension
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        words(text, 0..text.len()).map(|word| &text[word]).collect()
    }

    #[test]
    fn words_are_what_people_say() {
        assert_eq!(
            found("The core's k8s_node, 42 x-ray; été!"),
            ["The", "core", "k8s", "node", "ray", "été"]
        );
        assert_eq!(
            found("e\u{301}te\u{301} \0bad\0"),
            ["e\u{301}te\u{301}", "bad"]
        );
        assert!(found("").is_empty() && found(" \n\0 ab 12 12345").is_empty());
    }

    #[test]
    fn what_machines_say_is_not_judged() {
        for text in [
            "https://a.bc/def",
            "(me@host.org)",
            "/usr/lib",
            "./run",
            "--flag",
            "$HOME",
            "%Y-abc",
            "data.json,",
            "v1.2",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
        assert_eq!(found("end. Next and/or"), ["end", "Next", "and"]);
        assert!(found(&"x".repeat(MAX_TERM_BYTES + 1)).is_empty());
        assert!(
            found(&"İ".repeat(MAX_TERM_BYTES / 2)).is_empty(),
            "too long in lower case"
        );
    }
}
