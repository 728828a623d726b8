//! What can go wrong with terms.

use crate::thesaurus::ConceptId;

/// Shorthand for results of this crate.
pub type Result<T, E = KgError> = std::result::Result<T, E>;

/// A failure of the knowledge graph. An unknown term is a verdict, not an error.
#[derive(Debug, thiserror::Error)]
pub enum KgError {
    /// More than a bound allows.
    #[error("{what}: {actual} is more than the {limit} allowed; raise the limit or split it")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        actual: usize,
        /// How much there may be.
        limit: usize,
    },
    /// The bytes are not a thesaurus.
    #[error(
        "this is no thesaurus: {0}; expected {{\"name\": …, \"data\": {{term: {{\"id\", \"nterm\"}}}}}}"
    )]
    Json(#[from] serde_json::Error),
    /// A text that cannot be a term.
    #[error("`{shown}` cannot be a term: {why}")]
    BadTerm {
        /// The beginning of it, made printable.
        shown: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// One term names two concepts.
    #[error("the term `{term}` names two concepts, {first} and {second}: remove one")]
    Conflict {
        /// The term as it is compared: trimmed and in lower case.
        term: String,
        /// The concept it named first.
        first: ConceptId,
        /// The other.
        second: ConceptId,
    },
    /// An edge ends at a concept the thesaurus does not have.
    #[error("there is no concept {0} in the thesaurus")]
    NoConcept(ConceptId),
    /// The terms do not go into one automaton.
    #[error("the terms cannot be compiled: {0}")]
    Automaton(#[from] fst::Error),
}
