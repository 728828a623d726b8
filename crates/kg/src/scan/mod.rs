//! Finds the terms of a thesaurus in a text.
//!
//! One automaton holds all terms. It is started wherever a word may begin and followed as far as
//! any term goes; the longest term that ends where a word may end counts, and the search goes on
//! behind it. That is more than filtering longest matches: of the terms `net`, `network` and
//! `network sys`, the text `network systems` has `network`. It is also faster, since no time is
//! spent inside words that begin no term.
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
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind, dfa::DFA};
use beginning::Beginnings;
use places::{BLOCK_BYTES, Places};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of all terms up to which every state has a full table: fastest, but some hundred times
/// as large as the terms.
const FULL_TABLE_BYTES: usize = 256 << 10;

/// How many bytes deep states have full tables otherwise.
const FULL_TABLE_DEPTH: usize = 3;

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
    automaton: Tables,
    /// The concept each pattern of the automaton names.
    concepts: Vec<ConceptId>,
    places: Places,
    beginnings: Beginnings,
}

enum Tables {
    Full(DFA),
    Sparse(NFA),
}

impl Scanner {
    /// Compiles a thesaurus. A million terms take some seconds and some hundred megabytes.
    ///
    /// # Errors
    /// [`KgError::Automaton`](crate::KgError::Automaton) if it is too large for an automaton.
    pub fn new(thesaurus: &Thesaurus) -> Result<Self> {
        let (patterns, concepts): (Vec<String>, Vec<ConceptId>) = patterns(thesaurus).unzip();
        let bytes: usize = patterns.iter().map(String::len).sum();
        let automaton = if bytes <= FULL_TABLE_BYTES {
            Tables::Full(
                DFA::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .start_kind(aho_corasick::StartKind::Anchored)
                    .build(&patterns)?,
            )
        } else {
            Tables::Sparse(
                NFA::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .dense_depth(FULL_TABLE_DEPTH)
                    .build(&patterns)?,
            )
        };
        Ok(Self(Arc::new(Compiled {
            automaton,
            concepts,
            places: Places::of(&patterns),
            beginnings: Beginnings::of(&patterns),
        })))
    }

    /// The terms that stand in a text as whole words, from left to right, none overlapping.
    pub fn find_iter<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Mention> + 'a {
        let mut from = 0;
        std::iter::from_fn(move || {
            let mention = match &self.0.automaton {
                Tables::Full(automaton) => self.0.next(automaton, text, from),
                Tables::Sparse(automaton) => self.0.next(automaton, text, from),
            }?;
            from = mention.range.end;
            Some(mention)
        })
    }

    /// Memory it takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let automaton = match &self.0.automaton {
            Tables::Full(automaton) => automaton.memory_usage(),
            Tables::Sparse(automaton) => automaton.memory_usage(),
        };
        automaton + size_of_val(&*self.0.concepts)
    }
}

impl Compiled {
    /// The first term at or after `from`, which is where a word may begin.
    fn next(&self, automaton: &impl Automaton, text: &str, from: usize) -> Option<Mention> {
        let initial = automaton.start_state(Anchored::Yes).ok()?;
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
                    && let Some(mention) = self.longest(automaton, initial, text, at)
                {
                    return Some(mention);
                }
            }
        }
        None
    }

    /// The longest term that begins here and ends where a word may end.
    fn longest(
        &self,
        automaton: &impl Automaton,
        initial: StateID,
        text: &str,
        start: usize,
    ) -> Option<Mention> {
        let mut state = initial;
        let mut longest = None;
        for (byte, end) in text.as_bytes()[start..].iter().zip(start + 1..) {
            state = automaton.next_state(Anchored::Yes, state, byte.to_ascii_lowercase());
            if !automaton.is_special(state) {
                continue;
            }
            if automaton.is_dead(state) {
                break;
            }
            if automaton.is_match(state) && is_boundary(text, end) {
                // A state also lists terms that only its end is; this one is the whole way.
                let whole = (0..automaton.match_len(state))
                    .map(|index| automaton.match_pattern(state, index))
                    .find(|pattern| automaton.pattern_len(*pattern) == end - start);
                longest = whole.map(|pattern| (pattern, end)).or(longest);
            }
        }
        longest.map(|(pattern, end)| Mention {
            range: start..end,
            concept: self.concepts[pattern.as_usize()],
        })
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Scanner({} spellings)", self.0.concepts.len())
    }
}

/// The terms as they are, then their spellings in capitals, so that a term wins over a spelling
/// of another. ASCII letters are in lower case in all of them.
fn patterns(thesaurus: &Thesaurus) -> impl Iterator<Item = (String, ConceptId)> {
    let terms = thesaurus
        .iter()
        .map(|(term, concept)| (term.to_string(), concept.id));
    let capitals = thesaurus
        .iter()
        .filter(|(term, _)| !term.as_str().is_ascii())
        .flat_map(|(term, concept)| {
            let text = term.as_str();
            let mut rest = text.chars();
            let first = rest.next().into_iter().flat_map(char::to_uppercase);
            let capital: String = first.chain(rest).collect();
            [text.to_uppercase(), capital]
                .map(|spelling| (spelling.to_ascii_lowercase(), concept.id))
        });
    terms.chain(capitals)
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
