//! Known terms that an unknown one may have meant.
//!
//! First come terms that differ from it by few edits (optimal string alignment: insert, delete,
//! replace, swap neighbours), the nearest first; then terms that begin with it. Each search
//! passes over the terms once, compares only those whose length and letters can be near enough,
//! and stops after [`MAX_COMPARED`] of these, so that its time is bounded.

use crate::thesaurus::{Term, Thesaurus};

/// How many suggestions there are at most.
pub const MAX_SUGGESTIONS: usize = 3;

/// How many terms are compared letter by letter at most.
pub const MAX_COMPARED: usize = 4096;

/// The terms a text may have meant, at most [`MAX_SUGGESTIONS`], the likeliest first.
#[must_use]
pub fn suggest(thesaurus: &Thesaurus, text: &str) -> Vec<String> {
    let text = Term::fold(text);
    let mut suggestions: Vec<&Term> = near(thesaurus, &text);
    for term in thesaurus.beginning_with(&text).take(MAX_SUGGESTIONS) {
        if !suggestions.contains(&term) {
            suggestions.push(term);
        }
    }
    suggestions.truncate(MAX_SUGGESTIONS);
    suggestions.into_iter().map(Term::to_string).collect()
}

/// The terms few edits away, the nearest first, then in their order.
fn near<'a>(thesaurus: &'a Thesaurus, text: &str) -> Vec<&'a Term> {
    let Some(edits) = edits_allowed(text) else {
        return Vec::new();
    };
    let (letters, length) = (letters(text), text.chars().count());
    let mut found: Vec<(usize, &Term)> = thesaurus
        .iter()
        .map(|(term, _)| term)
        .filter(|term| {
            let other = term.as_str();
            // A character has at most four bytes.
            other.len().abs_diff(text.len()) <= 4 * edits
                && self::letters(other).abs_diff_bits(letters) <= 2 * edits
                && other.chars().count().abs_diff(length) <= edits
        })
        .take(MAX_COMPARED)
        .map(|term| (strsim::osa_distance(term.as_str(), text), term))
        .filter(|(distance, _)| *distance <= edits)
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(_, term)| term)
        .take(MAX_SUGGESTIONS)
        .collect()
}

/// How many edits away a term may be: a third or so of a short word. None for texts that are no
/// words.
fn edits_allowed(text: &str) -> Option<usize> {
    match text
        .chars()
        .take(crate::thesaurus::MAX_TERM_BYTES + 1)
        .count()
    {
        3..=5 => Some(1),
        6..=9 => Some(2),
        10..=crate::thesaurus::MAX_TERM_BYTES => Some(3),
        _ => None,
    }
}

/// Which characters a text has, each as one of 64 bits. One edit changes at most two of them.
#[derive(Clone, Copy)]
struct Letters(u64);

fn letters(text: &str) -> Letters {
    Letters(
        text.chars()
            .fold(0, |bits, letter| bits | 1 << (u32::from(letter) % 64)),
    )
}

impl Letters {
    fn abs_diff_bits(self, other: Self) -> usize {
        (self.0 ^ other.0).count_ones() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thesaurus(terms: &[&str]) -> Thesaurus {
        let mut thesaurus = Thesaurus::new("t");
        let terms = terms.iter().map(|term| term.parse().expect("a term"));
        thesaurus.insert_new(terms).expect("room");
        thesaurus
    }

    #[test]
    fn the_nearest_comes_first() {
        let thesaurus = thesaurus(&[
            "reactor",
            "reaction",
            "react",
            "core",
            "reactor core",
            "réacteur",
        ]);
        assert_eq!(suggest(&thesaurus, "Raector"), ["reactor"]);
        assert_eq!(suggest(&thesaurus, "reactors"), ["reactor"]);
        assert_eq!(
            suggest(&thesaurus, "reacto"),
            ["react", "reactor", "reaction"]
        );
        assert_eq!(suggest(&thesaurus, "reacteur"), ["réacteur", "reactor"]);
        assert!(suggest(&thesaurus, "turbine").is_empty());
    }

    #[test]
    fn terms_that_begin_with_it_are_suggested() {
        let thesaurus = thesaurus(&["heat exchanger", "heat pump"]);
        assert_eq!(suggest(&thesaurus, "heat"), ["heat exchanger", "heat pump"]);
    }

    #[test]
    fn the_cost_is_bounded() {
        let near: Vec<String> = (0..50_000)
            .map(|number| format!("term{number:05}"))
            .collect();
        let near: Vec<&str> = near.iter().map(String::as_str).collect();
        let thesaurus = thesaurus(&near);
        assert_eq!(suggest(&thesaurus, "term000xx").len(), MAX_SUGGESTIONS);
        assert!(suggest(&thesaurus, &"x".repeat(1 << 20)).is_empty());
        assert!(suggest(&thesaurus, "").len() <= MAX_SUGGESTIONS);
    }
}
