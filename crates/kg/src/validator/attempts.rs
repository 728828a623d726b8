//! What a validator remembers of one conversation.

use crate::thesaurus::Term;
use std::collections::BTreeSet;

/// The attempts of one conversation since its last command that was let through, and the terms a
/// person has rejected in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    pub(super) failed: u32,
    rejected: BTreeSet<String>,
}

impl Attempts {
    /// How many attempts in a row had unknown terms.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// A person rejects these terms: commands with them do not run in this conversation, and
    /// nobody is asked about them again. The model may say it in other words, with all retries.
    pub fn reject<'a>(&mut self, terms: impl IntoIterator<Item = &'a str>) {
        self.rejected.extend(terms.into_iter().map(Term::fold));
        self.failed = 0;
    }

    /// A person has approved these terms.
    pub(super) fn approved<'a>(&mut self, terms: impl IntoIterator<Item = &'a str>) {
        for term in terms {
            self.rejected.remove(&Term::fold(term));
        }
        self.failed = 0;
    }

    /// Whether a person has rejected a term, which is in lower case.
    pub(super) fn has_rejected(&self, term: &str) -> bool {
        self.rejected.contains(term)
    }
}
