//! Commands held against the thesaurus.
//!
//! ```text
//!  command ── all terms known ───────────────────────────────────────────> Known
//!     │
//!     └─ some unknown ─┬─ Permissive ────────────────────────────────────> Warned
//!                      ├─ a person has rejected one ─────────────────────> Blocked
//!                      ├─ attempts <= retry limit ─┬─ Normal ────────────> Retry
//!                      │                           └─ Strict ────────────> Blocked
//!                      └─ attempts  > retry limit ─┬─ escalation ────────> Escalate ─┐
//!                                                  ├─ none, Normal ──────> Warned    │
//!                                                  └─ none, Strict ──────> Blocked   │
//!                                                                                    │
//!         attempts = 0 <── approved: the terms are known │ rejected: they stay so <──┘
//! ```
//!
//! `Known` and `Warned` set the attempts of the conversation back to 0, everything else but
//! Permissive counts one more. A command that has been escalated and comes again unanswered is
//! escalated again.
//!
//! Where the specification says two things, this is how they meet: "retry 3x, then warn"
//! (section 2.10.5) is what Normal does without escalation, "after 3 retries
//! `KgEscalationRequired`" (F5) with it, which is the default; "block immediately" is Strict.
//! An empty thesaurus knows nothing, and is treated no differently.

mod advice;
mod attempts;
mod config;
mod verdict;

pub use attempts::Attempts;
pub use config::{KgConfig, KgStrictness};
pub use verdict::{
    Findings, KgEscalationRequired, MAX_UNKNOWN, SuggestedAction, UnknownTerm, Verdict,
};

use crate::Result;
use crate::command::{self, CommandKind, Ordinary, Part};
use crate::graph::ConceptGraph;
use crate::scan::{Mention, Scanner};
use crate::suggest::suggest;
use crate::thesaurus::{Term, Thesaurus};
use std::collections::HashSet;
use std::sync::Arc;

/// Validates commands. Clones are cheap and independent: what one approves, the others do not
/// know.
#[derive(Clone, Debug)]
pub struct KnowledgeGraphValidator {
    thesaurus: Arc<Thesaurus>,
    scanner: Scanner,
    graph: ConceptGraph,
    ordinary: Ordinary,
    config: KgConfig,
}

impl KnowledgeGraphValidator {
    /// A validator of these terms, with the default ordinary words and a graph without edges.
    ///
    /// # Errors
    /// [`KgError::Automaton`](crate::KgError::Automaton) if there are too many terms.
    pub fn new(thesaurus: Thesaurus, config: KgConfig) -> Result<Self> {
        Ok(Self {
            scanner: Scanner::new(&thesaurus)?,
            thesaurus: Arc::new(thesaurus),
            graph: ConceptGraph::default(),
            ordinary: Ordinary::default(),
            config,
        })
    }

    /// The same with this graph.
    #[must_use]
    pub fn with_graph(self, graph: ConceptGraph) -> Self {
        Self { graph, ..self }
    }

    /// The same with these ordinary words.
    #[must_use]
    pub fn with_ordinary(self, ordinary: Ordinary) -> Self {
        Self { ordinary, ..self }
    }

    /// The terms, approved ones included: write them with [`Thesaurus::to_json`] to keep them.
    #[must_use]
    pub fn thesaurus(&self) -> &Thesaurus {
        &self.thesaurus
    }

    /// What finds its terms in a text.
    #[must_use]
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// Says what is to become of a command, and counts the attempt.
    pub fn validate(&self, kind: CommandKind, command: &str, attempts: &mut Attempts) -> Verdict {
        let findings = self.examine(kind, command);
        if findings.unknown.is_empty() {
            attempts.failed = 0;
            return Verdict::Known(findings);
        }
        if self.config.kg_strictness == KgStrictness::Permissive {
            return Verdict::Warned(findings);
        }
        attempts.failed = attempts.failed.saturating_add(1);
        let strict = self.config.kg_strictness == KgStrictness::Strict;
        let mut unknown = findings.unknown.iter();
        if unknown.any(|unknown| attempts.has_rejected(&unknown.term)) {
            blocked(findings, attempts)
        } else if attempts.failed <= self.config.kg_retry_limit {
            if strict {
                blocked(findings, attempts)
            } else {
                let retries_left = self.config.kg_retry_limit - attempts.failed + 1;
                retry(findings, attempts, retries_left)
            }
        } else if self.config.kg_escalation_enabled {
            let request = KgEscalationRequired::new(&findings);
            Verdict::Escalate { findings, request }
        } else if strict {
            blocked(findings, attempts)
        } else {
            attempts.failed = 0;
            Verdict::Warned(findings)
        }
    }

    /// What a command speaks of. Its time is linear in the command, and in the terms for each
    /// unknown term that is reported.
    #[must_use]
    pub fn examine(&self, kind: CommandKind, command: &str) -> Findings {
        let mentions: Vec<Mention> = self.scanner.find_iter(command).collect();
        let concepts = mentions.iter().map(|mention| mention.concept).collect();
        let mut findings = Findings {
            connected: self.graph.are_connected(&concepts),
            concepts,
            unknown: Vec::new(),
            more_unknown: 0,
            context: String::new(),
        };
        let mut seen = HashSet::new();
        for part in command::judged(kind, command) {
            let term = Term::fold(&command[part.range.clone()]);
            if self.knows(&part, &term, &mentions) || !seen.insert(term.clone()) {
                continue;
            }
            if findings.unknown.is_empty() {
                findings.context = advice::context(command, &part.range);
            }
            if findings.unknown.len() == MAX_UNKNOWN {
                findings.more_unknown += 1;
                continue;
            }
            let suggestions = suggest(&self.thesaurus, &term);
            findings.unknown.push(UnknownTerm { term, suggestions });
        }
        findings
    }

    /// A person approves these terms: each becomes a concept of its own, and the conversation has
    /// all its retries again. To make one a synonym instead, insert it into the thesaurus and make
    /// a new validator. All terms are compiled again, which takes seconds for a million.
    ///
    /// # Errors
    /// [`KgError::BadTerm`](crate::KgError::BadTerm), [`KgError::TooLarge`](crate::KgError::TooLarge)
    /// or [`KgError::Automaton`](crate::KgError::Automaton). Nothing has changed then.
    pub fn approve(&mut self, terms: &[String], attempts: &mut Attempts) -> Result<()> {
        let added: Vec<Term> = terms
            .iter()
            .map(|term| term.parse())
            .collect::<Result<_>>()?;
        let mut thesaurus = Thesaurus::clone(&self.thesaurus);
        thesaurus.insert_new(added)?;
        self.scanner = Scanner::new(&thesaurus)?;
        self.thesaurus = Arc::new(thesaurus);
        attempts.approved(terms.iter().map(String::as_str));
        Ok(())
    }

    /// Whether a word or name is ordinary, a term, or covered by terms.
    fn knows(&self, part: &Part, term: &str, mentions: &[Mention]) -> bool {
        self.ordinary.contains(part.kind, term)
            || self.thesaurus.get(term).is_some()
            || is_covered(part, mentions)
    }
}

/// Whether one mention covers it.
fn is_covered(part: &Part, mentions: &[Mention]) -> bool {
    let behind = mentions.partition_point(|mention| mention.range.start <= part.range.start);
    let before = behind.checked_sub(1).and_then(|index| mentions.get(index));
    before.is_some_and(|mention| part.range.end <= mention.range.end)
}

fn blocked(findings: Findings, attempts: &Attempts) -> Verdict {
    Verdict::Blocked {
        advice: advice::rephrase(&findings, attempts, None),
        attempts: attempts.failed,
        findings,
    }
}

fn retry(findings: Findings, attempts: &Attempts, retries_left: u32) -> Verdict {
    Verdict::Retry {
        advice: advice::rephrase(&findings, attempts, Some(retries_left)),
        retries_left,
        findings,
    }
}
