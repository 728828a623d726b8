//! Where words begin and end.
//!
//! A word character is one of Unicode's (UTS #18, annex C: alphabetic, mark, decimal number,
//! connector punctuation, join control) except `_`, so that `reactor_core` is two words: models
//! write terms in the names of variables. Between two word characters there is no boundary;
//! everywhere else there is, so terms such as `c++` and `.net` end where they end.
//!
//! Limit: languages written without spaces are not segmented. A run of Chinese characters is
//! one word, and a term inside it is not found.

/// Whether the character is part of a word.
pub(crate) fn is_word_character(character: char) -> bool {
    if character.is_ascii() {
        character.is_ascii_alphanumeric()
    } else {
        regex_syntax::is_word_character(character)
    }
}

/// Whether a word may begin or end at this byte, which is a character boundary of the text.
pub(crate) fn is_boundary(text: &str, at: usize) -> bool {
    let joined = text[..at]
        .chars()
        .next_back()
        .is_some_and(is_word_character)
        && text[at..].chars().next().is_some_and(is_word_character);
    !joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_where_a_reader_sees_them() {
        assert!(is_boundary("", 0));
        assert!(is_boundary("ab", 0) && is_boundary("ab", 2) && !is_boundary("ab", 1));
        assert!(is_boundary("a_b", 1) && is_boundary("a_b", 2));
        assert!(is_boundary("c++", 1) && is_boundary("c++", 2));
        assert!(!is_boundary("éa", 2), "letters beyond ASCII");
        assert!(
            !is_boundary("e\u{301}", 1),
            "a combining mark belongs to its letter"
        );
        assert!(!is_boundary("a\u{200d}b", 1), "joiners join");
        assert!(is_boundary("a\0b", 1));
    }
}
