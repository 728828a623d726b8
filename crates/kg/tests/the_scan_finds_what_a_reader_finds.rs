//! The scan against a reference that tries every term everywhere.

use proptest::prelude::*;
use std::ops::Range;
use ukernel_kg::{Scanner, Term, Thesaurus};

/// Letters in both cases, what separates words and what does not, and what is often got wrong.
const CHARACTERS: &[char] = &[
    'a', 'A', 'b', 'B', '1', ' ', ' ', '_', '-', '.', '*', '+', '(', '\\', '\0', 'é', 'É', 'ß',
    '\u{301}', '日', '😀',
];

fn characters(length: Range<usize>) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(CHARACTERS), length)
        .prop_map(String::from_iter)
}

fn terms() -> impl Strategy<Value = Vec<Term>> {
    proptest::collection::vec(characters(1..6), 0..12)
        .prop_map(|texts| texts.iter().filter_map(|text| text.parse().ok()).collect())
}

fn scanner(terms: &[Term]) -> Scanner {
    let mut thesaurus = Thesaurus::new("t");
    thesaurus.insert_new(terms.iter().cloned()).expect("room");
    Scanner::new(&thesaurus).expect("an automaton")
}

/// Every way a term may be written, but for the case of its ASCII letters.
fn spellings(term: &Term) -> [String; 3] {
    let mut letters = term.as_str().chars();
    let first = letters.next().expect("not empty").to_uppercase();
    let capital = first.chain(letters).collect();
    [term.to_string(), term.as_str().to_uppercase(), capital]
}

fn is_boundary(text: &str, at: usize) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '\u{301}';
    let before = text[..at].chars().next_back().is_some_and(is_word);
    !(before && text[at..].chars().next().is_some_and(is_word))
}

fn reference(terms: &[Term], text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let ends = terms.iter().flat_map(spellings).filter_map(|spelling| {
            let end = at + spelling.len();
            let stands = text.get(at..end)?.eq_ignore_ascii_case(&spelling);
            (stands && is_boundary(text, at) && is_boundary(text, end)).then_some(end)
        });
        match ends.max() {
            Some(end) => {
                found.push(at..end);
                at = end;
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_finds_what_the_reference_finds(terms in terms(), text in characters(0..200)) {
        let found: Vec<_> = scanner(&terms).find_iter(&text).map(|mention| mention.range).collect();
        prop_assert_eq!(found, reference(&terms, &text));
    }

    #[test]
    fn terms_are_found_among_others(terms in terms(), order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..30)) {
        prop_assume!(!terms.is_empty());
        let text: String = order.iter().map(|index| format!("{} , ", index.get(&terms))).collect();
        let found: Vec<_> = scanner(&terms).find_iter(&text).map(|mention| mention.range).collect();
        prop_assert_eq!(found, reference(&terms, &text));
    }
}

/// Enough terms that not every state has a full table.
#[test]
fn many_terms_are_found_too() {
    let terms: Vec<Term> = (0..40_000)
        .map(|number| format!("term {number} of many").parse().expect("a term"))
        .collect();
    let scanner = scanner(&terms);
    let text = "Term 39999 of many, term 40000 of many, term 5 of manyfold, term 5 OF MANY";
    let found: Vec<&str> = scanner
        .find_iter(text)
        .map(|mention| &text[mention.range])
        .collect();
    assert_eq!(found, ["Term 39999 of many", "term 5 OF MANY"]);
}
