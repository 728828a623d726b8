//! A thesaurus: which terms there are, and which concept each of them names.

mod json;
mod term;

pub use term::{Concept, ConceptId, MAX_TERM_BYTES, Term};

use crate::{KgError, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// How large a thesaurus may be. Within the defaults it takes some hundred megabytes of memory at
/// most, and some seconds to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the JSON.
    pub file_bytes: usize,
    /// Terms.
    pub terms: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            terms: 1_000_000,
        }
    }
}

/// Terms and their concepts, in the order of the terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thesaurus {
    name: String,
    source_hash: Option<String>,
    terms: BTreeMap<Term, Concept>,
    most_terms: usize,
}

impl Thesaurus {
    /// An empty thesaurus of this name, that may grow to the default limits.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source_hash: None,
            terms: BTreeMap::new(),
            most_terms: Limits::default().terms,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many terms there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there is no term.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The concept a text names, if it is a term. Case and surrounding space do not matter.
    #[must_use]
    pub fn get(&self, text: &str) -> Option<&Concept> {
        self.terms.get(Term::fold(text).as_str())
    }

    /// All terms with their concepts, in the order of the terms.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Term, &Concept)> {
        self.terms.iter()
    }

    /// The terms that begin with a text, which is compared as it is, in their order.
    pub fn beginning_with<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Term> {
        self.terms
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
            .map(|(term, _)| term)
            .take_while(move |term| term.as_str().starts_with(text))
    }

    /// Adds a term. A term that names this concept already stays as it is.
    ///
    /// # Errors
    /// [`KgError::Conflict`] if it names another concept, [`KgError::TooLarge`] if the thesaurus
    /// is full. Nothing has changed then.
    pub fn insert(&mut self, term: Term, concept: Concept) -> Result<()> {
        if let Some(there) = self.terms.get(&term) {
            if there.id == concept.id {
                return Ok(());
            }
            return Err(KgError::Conflict {
                term: term.to_string(),
                first: there.id,
                second: concept.id,
            });
        }
        if self.terms.len() >= self.most_terms {
            return Err(KgError::TooLarge {
                what: "terms of the thesaurus",
                actual: self.terms.len() + 1,
                limit: self.most_terms,
            });
        }
        self.terms.insert(term, concept);
        Ok(())
    }

    /// Adds terms that are new, each as a concept of its own; known ones stay as they are.
    ///
    /// # Errors
    /// As [`insert`](Self::insert). Nothing has changed then.
    pub fn insert_new(&mut self, terms: impl IntoIterator<Item = Term>) -> Result<()> {
        let mut grown = self.clone();
        let mut taken: BTreeSet<ConceptId> = self.terms.values().map(|old| old.id).collect();
        for term in terms {
            if !grown.terms.contains_key(&term) {
                let id = free_id(&taken);
                taken.insert(id);
                let concept = Concept::new(id, term.as_str());
                grown.insert(term, concept)?;
            }
        }
        *self = grown;
        Ok(())
    }
}

/// The id after the greatest one taken, or the smallest that is free.
fn free_id(taken: &BTreeSet<ConceptId>) -> ConceptId {
    let after = taken
        .last()
        .map_or(Some(1), |greatest| greatest.0.checked_add(1));
    ConceptId(after.unwrap_or_else(|| {
        let gap = taken.iter().zip(0..).find(|(id, counted)| id.0 != *counted);
        gap.map_or(0, |(_, counted)| counted)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(text: &str) -> Term {
        text.parse().expect("a term")
    }

    #[test]
    fn new_terms_get_free_ids() {
        let mut thesaurus = Thesaurus::new("t");
        thesaurus
            .insert_new([term("a"), term("b"), term("a")])
            .expect("room");
        assert_eq!(thesaurus.get("A").map(|concept| concept.id.0), Some(1));
        assert_eq!(thesaurus.get("b").map(|concept| concept.id.0), Some(2));
        let last = Concept::new(ConceptId(u64::MAX), "last");
        thesaurus.insert(term("last"), last).expect("room");
        thesaurus.insert_new([term("c"), term("d")]).expect("room");
        assert_eq!(thesaurus.get("c").map(|concept| concept.id.0), Some(0));
        assert_eq!(thesaurus.get("d").map(|concept| concept.id.0), Some(3));
    }

    #[test]
    fn a_full_thesaurus_says_so_and_stays() {
        let mut thesaurus = Thesaurus::new("t");
        thesaurus.most_terms = 1;
        let error = thesaurus
            .insert_new([term("a"), term("b")])
            .expect_err("full");
        assert!(matches!(
            error,
            KgError::TooLarge {
                actual: 2,
                limit: 1,
                ..
            }
        ));
        assert!(thesaurus.is_empty());
    }

    #[test]
    fn a_term_does_not_change_its_concept() {
        let mut thesaurus = Thesaurus::new("t");
        thesaurus
            .insert(term("a"), Concept::new(ConceptId(1), "a"))
            .expect("room");
        thesaurus
            .insert(term("a"), Concept::new(ConceptId(1), "x"))
            .expect("the same");
        let error = thesaurus.insert(term("a"), Concept::new(ConceptId(2), "a"));
        assert!(matches!(error, Err(KgError::Conflict { .. })));
        assert_eq!(
            thesaurus.get("a").map(|concept| concept.nterm.as_str()),
            Some("a")
        );
    }

    #[test]
    fn terms_are_found_by_their_beginning() {
        let mut thesaurus = Thesaurus::new("t");
        let terms = ["core", "reactor", "reactor core", "rear"].map(term);
        thesaurus.insert_new(terms).expect("room");
        let found: Vec<&str> = thesaurus
            .beginning_with("react")
            .map(Term::as_str)
            .collect();
        assert_eq!(found, ["reactor", "reactor core"]);
    }
}
