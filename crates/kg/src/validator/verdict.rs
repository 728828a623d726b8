//! What a validation says.

use crate::thesaurus::ConceptId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most unknown terms of one command that are reported.
pub const MAX_UNKNOWN: usize = 32;

/// A term of a command that the thesaurus does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownTerm {
    /// The term, in lower case.
    pub term: String,
    /// Known terms it may have meant, the likeliest first.
    pub suggestions: Vec<String>,
}

/// What a command speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The concepts it mentions.
    pub concepts: BTreeSet<ConceptId>,
    /// Whether these are connected in the graph. It is reported and decides nothing: the
    /// specification's strictness is about unknown terms only.
    pub connected: bool,
    /// What is unknown, each term once, in the order of the command: at most [`MAX_UNKNOWN`].
    pub unknown: Vec<UnknownTerm>,
    /// How many more unknown terms there are.
    pub more_unknown: usize,
    /// The command around the first unknown term, printable; empty if there is none.
    pub context: String,
}

impl Findings {
    /// The unknown terms, without suggestions.
    #[must_use]
    pub fn unknown_terms(&self) -> Vec<String> {
        self.unknown
            .iter()
            .map(|unknown| unknown.term.clone())
            .collect()
    }
}

/// What is proposed to a person who is asked about unknown terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuggestedAction {
    /// At least one term is like no known one, so it may well be new.
    Approve,
    /// Every term is like a known one, which the model could have used.
    Reject,
}

/// A person has to decide on unknown terms (RLM specification, section 2.4 and F5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KgEscalationRequired {
    /// The terms to be approved or rejected.
    pub unknown_terms: Vec<String>,
    /// The command around the first of them.
    pub context: String,
    /// What is proposed.
    pub suggested_action: SuggestedAction,
}

impl KgEscalationRequired {
    pub(super) fn new(findings: &Findings) -> Self {
        let has_new = findings
            .unknown
            .iter()
            .any(|unknown| unknown.suggestions.is_empty());
        Self {
            unknown_terms: findings.unknown_terms(),
            context: findings.context.clone(),
            suggested_action: if has_new {
                SuggestedAction::Approve
            } else {
                SuggestedAction::Reject
            },
        }
    }
}

/// What is to become of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All its terms are known. Run it.
    Known(Findings),
    /// Some are unknown. Log that, and run it (F4).
    Warned(Findings),
    /// Do not run it. Give the advice to the model, which may say it again.
    Retry {
        /// What the command speaks of.
        findings: Findings,
        /// What to tell the model.
        advice: String,
        /// How many retries it has left, this one included.
        retries_left: u32,
    },
    /// Do not run it: `KgValidationFailed` of the specification. The advice tells the model why.
    Blocked {
        /// What the command speaks of.
        findings: Findings,
        /// What to tell the model.
        advice: String,
        /// How many attempts in a row had unknown terms.
        attempts: u32,
    },
    /// Do not run it. Ask a person, and tell the validator the answer.
    Escalate {
        /// What the command speaks of.
        findings: Findings,
        /// What to ask.
        request: KgEscalationRequired,
    },
}

impl Verdict {
    /// Whether the command may run.
    #[must_use]
    pub fn may_run(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Warned(_))
    }

    /// What the command speaks of.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        match self {
            Self::Known(findings)
            | Self::Warned(findings)
            | Self::Retry { findings, .. }
            | Self::Blocked { findings, .. }
            | Self::Escalate { findings, .. } => findings,
        }
    }
}
