//! Finds the terms of a thesaurus in a text.
//!
//! One automaton holds all terms. It is started wherever a word may begin and followed as far as
//! any term goes; the longest term that ends where a word may end counts, and the search goes on
//! behind it. That is more than filtering longest matches: of the terms `net`, `network` and
//! `network sys`, the text `network systems` has `network`. It is also faster, since no time is
//! spent inside words that begin no term.
//!
//! The automaton is a finite state transducer (crate `fst`), not the Aho-Corasick automaton of
//! Terraphim. Started at words it needs no failure transitions, which are what Aho-Corasick adds.
//! And it is built in linear time: `aho-corasick` 1.1.5 takes quadratic time for terms that are
//! mostly beginnings of other terms, such as a million numbers.
//!
//! Case: ASCII letters match in either case, as in Terraphim. Other letters match in lower case,
//! in upper case, or with a capital at the beginning of the term. Texts are not normalised: `é`
//! as one character and as two are different, as in Terraphim.
//!
//! Time is linear in the text. A text made to be slow costs at most the longest term (256 bytes
//! in lower case) at every place where a word may begin.

mod beginning;
mod places;

use crate::Result;
use crate::boundary::is_boundary;
use crate::thesaurus::{ConceptId, Thesaurus};
use beginning::Beginnings;
use fst::raw::{Fst, Output};
use places::{BLOCK_BYTES, Places};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A place in a text where a term stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Which bytes of the text.
    pub range: Range<usize>,
    /// The concept it names.
    pub concept: ConceptId,
}

/// A compiled thesaurus. Clones share it.
#[derive(Clone)]
pub struct Scanner(Arc<Compiled>);

struct Compiled {
    /// From spellings, their ASCII letters in lower case, to concepts.
    automaton: fst::Map<Vec<u8>>,
    places: Places,
    beginnings: Beginnings,
}

impl Scanner {
    /// Compiles a thesaurus, in time linear in it.
    ///
    /// # Errors
    /// [`KgError::Automaton`](crate::KgError::Automaton) should the library fail, for which there
    /// is no known cause.
    pub fn new(thesaurus: &Thesaurus) -> Result<Self> {
        let spellings = spellings(thesaurus);
        Ok(Self(Arc::new(Compiled {
            places: Places::of(spellings.keys()),
            beginnings: Beginnings::of(spellings.keys()),
            automaton: fst::Map::from_iter(spellings)?,
        })))
    }

    /// The terms that stand in a text as whole words, from left to right, none overlapping.
    pub fn find_iter<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Mention> + 'a {
        let mut from = 0;
        std::iter::from_fn(move || {
            let mention = self.0.next(text, from)?;
            from = mention.range.end;
            Some(mention)
        })
    }

    /// Memory of the automaton, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.automaton.as_fst().size()
    }
}

impl Compiled {
    /// The first term at or after `from`, which is where a word may begin.
    fn next(&self, text: &str, from: usize) -> Option<Mention> {
        let bytes = text.as_bytes().get(from..)?;
        let mut within_word = false;
        for (block, base) in bytes.chunks(BLOCK_BYTES).zip((from..).step_by(BLOCK_BYTES)) {
            let (mut places, ends_within) = self.places.of_block(block, within_word);
            within_word = ends_within;
            while places != 0 {
                let at = base + places.trailing_zeros() as usize;
                places &= places - 1;
                if self.beginnings.may_begin(&bytes[at - from..])
                    && is_boundary(text, at)
                    && let Some(mention) = longest(self.automaton.as_fst(), text, at)
                {
                    return Some(mention);
                }
            }
        }
        None
    }
}

/// The longest term that begins here and ends where a word may end.
fn longest(automaton: &Fst<Vec<u8>>, text: &str, start: usize) -> Option<Mention> {
    let mut node = automaton.root();
    let mut output = Output::zero();
    let mut longest = None;
    for (byte, end) in text.as_bytes()[start..].iter().zip(start + 1..) {
        let Some(index) = node.find_input(byte.to_ascii_lowercase()) else {
            break;
        };
        let transition = node.transition(index);
        output = output.cat(transition.out);
        node = automaton.node(transition.addr);
        if node.is_final() && is_boundary(text, end) {
            longest = Some((output.cat(node.final_output()).value(), end));
        }
    }
    longest.map(|(concept, end)| Mention {
        range: start..end,
        concept: ConceptId(concept),
    })
}

impl fmt::Debug for Scanner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Scanner({} spellings)", self.0.automaton.len())
    }
}

/// Every way to write a term, ASCII letters in lower case, and its concept. A term wins over a
/// spelling of another.
fn spellings(thesaurus: &Thesaurus) -> BTreeMap<String, u64> {
    let mut spellings: BTreeMap<String, u64> = thesaurus
        .iter()
        .map(|(term, concept)| (term.to_string(), concept.id.0))
        .collect();
    for (term, concept) in thesaurus
        .iter()
        .filter(|(term, _)| !term.as_str().is_ascii())
    {
        let text = term.as_str();
        let mut rest = text.chars();
        let first = rest.next().into_iter().flat_map(char::to_uppercase);
        let capital: String = first.chain(rest).collect();
        for spelling in [text.to_uppercase(), capital] {
            let spelling = spelling.to_ascii_lowercase();
            spellings.entry(spelling).or_insert(concept.id.0);
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(terms: &[&str], text: &'a str) -> Vec<&'a str> {
        let mut thesaurus = Thesaurus::new("t");
        let terms = terms.iter().map(|term| term.parse().expect("a term"));
        thesaurus.insert_new(terms).expect("room");
        let scanner = Scanner::new(&thesaurus).expect("an automaton");
        scanner
            .find_iter(text)
            .map(|mention| &text[mention.range])
            .collect()
    }

    #[test]
    fn the_longest_term_of_whole_words_counts() {
        let terms = ["net", "network", "network sys", "systems"];
        assert_eq!(found(&terms, "Network systems"), ["Network", "systems"]);
        assert_eq!(found(&terms, "network sys"), ["network sys"]);
        assert_eq!(found(&terms, "networks net-work subnet"), ["net"]);
        assert_eq!(found(&["a b", "b c", "c"], "a b c"), ["a b", "c"]);
        assert_eq!(found(&["a b x", "b"], "a b xy"), ["b"]);
    }

    #[test]
    fn punctuation_is_part_of_terms() {
        let terms = ["c++", ".net", "a.*b", "$x", "@y z"];
        assert_eq!(
            found(&terms, "c++, .NET (a.*b) aXXb $x @y z"),
            ["c++", ".NET", "a.*b", "$x", "@y z"]
        );
        assert_eq!(
            found(&["reactor"], "my_reactor_1 reactor1 'reactor'"),
            ["reactor", "reactor"]
        );
    }

    #[test]
    fn letters_beyond_ascii_match_in_capitals_too() {
        let terms = ["école normale", "straße"];
        assert_eq!(found(&terms, "École Normale, ÉCOLE NORMALE").len(), 2);
        assert_eq!(found(&terms, "die STRASSE"), ["STRASSE"]);
        assert!(found(&["cafe"], "cafe\u{301}").is_empty());
        assert!(found(&["caf\u{e9}"], "cafe\u{301}").is_empty());
    }

    #[test]
    fn odd_texts_are_texts() {
        assert!(found(&[], "anything").is_empty());
        assert!(found(&["a"], "").is_empty());
        assert_eq!(found(&["a"], "\0a\0"), ["a"]);
        assert_eq!(found(&["日本"], "日本 日本語"), ["日本"]);
    }

    #[test]
    fn a_text_made_to_be_slow_is_not() {
        let long = "a".repeat(256);
        let text = "a".repeat(4 << 20);
        assert!(found(&[&long], &text).is_empty());
        let dashes = format!("{}x", "-".repeat(250));
        assert!(found(&[&dashes], &"-".repeat(1 << 20)).is_empty());
    }
}
