//! Terms and the concepts they name.

use crate::{KgError, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// Longest term, in bytes, whatever the [`Limits`](super::Limits) say.
pub const MAX_TERM_BYTES: usize = 256;

/// A term: not empty, trimmed, in lower case, without control characters, at most
/// [`MAX_TERM_BYTES`] long. Two spellings that differ only in case are one term.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Term(Box<str>);

impl Term {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as terms are compared. It need not be a term: it may be empty or too long.
    pub(crate) fn fold(text: &str) -> String {
        text.trim().to_lowercase()
    }
}

impl FromStr for Term {
    type Err = KgError;

    /// # Errors
    /// [`KgError::BadTerm`] if it is empty, too long, or contains control characters.
    fn from_str(text: &str) -> Result<Self> {
        let folded = Self::fold(text);
        let why = if folded.is_empty() {
            "it is empty"
        } else if folded.len() > MAX_TERM_BYTES {
            "it is longer than 256 bytes"
        } else if folded.chars().any(char::is_control) {
            "it contains control characters"
        } else {
            return Ok(Self(folded.into_boxed_str()));
        };
        Err(KgError::BadTerm {
            shown: text.chars().take(40).flat_map(char::escape_debug).collect(),
            why,
        })
    }
}

impl Borrow<str> for Term {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Term {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Names a concept within one thesaurus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConceptId(pub u64);

impl fmt::Display for ConceptId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What a term stands for: Terraphim's `NormalizedTerm`. The fields after `nterm` are kept and
/// written out again; nothing here reads them. Unknown fields are ignored, as Terraphim does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concept {
    /// Which concept. All synonyms have the same.
    pub id: ConceptId,
    /// Its name.
    pub nterm: String,
    /// Its name as people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_value: Option<String>,
    /// Where it is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A command template of Terraphim's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// A routing priority of Terraphim's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// A trigger of Terraphim's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// Whether Terraphim pins it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

impl Concept {
    /// A concept of this id and name, with nothing else said about it.
    #[must_use]
    pub fn new(id: ConceptId, nterm: impl Into<String>) -> Self {
        Self {
            id,
            nterm: nterm.into(),
            display_value: None,
            url: None,
            action: None,
            priority: None,
            trigger: None,
            pinned: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_terms_are_refused() {
        let long = "x".repeat(MAX_TERM_BYTES + 1);
        for text in ["", " ", "\t\n", "a\0b", "a\nb", "\u{1b}[31m", &long] {
            assert!(text.parse::<Term>().is_err(), "{text:?}");
        }
        for text in ["c", ".*", "a+(b|c)$", "e\u{301}", "日本", &long[1..]] {
            assert!(text.parse::<Term>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn case_and_surrounding_space_do_not_matter() {
        let term: Term = " École Normale ".parse().expect("a term");
        assert_eq!(term.as_str(), "école normale");
    }

    #[test]
    fn what_is_shown_of_a_bad_term_is_short_and_printable() {
        let error = "\u{1b}\0"
            .repeat(1000)
            .parse::<Term>()
            .expect_err("control characters");
        assert!(error.to_string().len() < 500);
        assert!(!error.to_string().chars().any(char::is_control));
    }
}
