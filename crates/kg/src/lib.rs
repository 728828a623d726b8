//! Known terms, and the validation of commands against them.
//!
//! A [`Thesaurus`] maps terms to concepts. A [`Scanner`] finds its terms in a text, a
//! [`ConceptGraph`] says which concepts belong together, and a [`KnowledgeGraphValidator`] asks,
//! before a command of a model runs, whether it speaks of what is known
//! (RLM specification, sections 2.4 and 2.10.5).
//!
//! ```text
//!   JSON ── thesaurus ──> scan ──┐
//!                 │              ├──> validator ──> Verdict: run, warn, retry, block, ask a person
//!                 ├──> suggest ──┤                     │
//!   documents ────┴──> graph ────┘                     └── approved terms join the thesaurus
//!                  command: which parts of a command are language at all
//! ```
//!
//! What this crate refuses to do: read files or the environment, log, run anything, and pretend
//! to be a security boundary. It keeps a model to the vocabulary of a domain; what code may *do*
//! is the sandbox's matter. All its values are cheap to clone and share nothing mutable, so an
//! approval in one session is not seen in another unless the caller wants that.
//!
//! ```
//! use ukernel_kg::{
//!     Attempts, CommandKind, KgConfig, KnowledgeGraphValidator, Limits, Thesaurus, Verdict,
//! };
//!
//! let json = br#"{"name": "plant", "data": {
//!     "reactor": {"id": 1, "nterm": "reactor"},
//!     "pile":    {"id": 1, "nterm": "reactor"}
//! }}"#;
//! let thesaurus = Thesaurus::from_json(json, &Limits::default())?;
//! let validator = KnowledgeGraphValidator::new(thesaurus, KgConfig::default())?;
//!
//! let mut attempts = Attempts::default();
//! let verdict = validator.validate(CommandKind::Prose, "Which reactors are there?", &mut attempts);
//! let Verdict::Retry { findings, .. } = verdict else { panic!() };
//! assert_eq!(findings.unknown[0].term, "reactors");
//! assert_eq!(findings.unknown[0].suggestions, ["reactor"]);
//! # Ok::<(), ukernel_kg::KgError>(())
//! ```
#![forbid(unsafe_code)]

mod boundary;
pub mod command;
mod error;
pub mod graph;
pub mod scan;
pub mod suggest;
pub mod thesaurus;
pub mod validator;

pub use command::{CommandKind, Ordinary};
pub use error::{KgError, Result};
pub use graph::ConceptGraph;
pub use scan::{Mention, Scanner};
pub use thesaurus::{Concept, ConceptId, Limits, Term, Thesaurus};
pub use validator::{
    Attempts, Findings, KgConfig, KgEscalationRequired, KgStrictness, KnowledgeGraphValidator,
    SuggestedAction, UnknownTerm, Verdict,
};
