//! Which parts of a command are held against the thesaurus.
//!
//! The specification says "unknown terms" and not what they are. Here:
//!
//! | kind | judged |
//! |---|---|
//! | prose | every word |
//! | Python | every word in string literals; the names of imported packages |
//! | bash | every word in quotes; the names of programs that are run |
//!
//! A *word* is a run of word characters (letters, digits, marks) with a letter in it, of at least
//! three characters and at most 256 bytes: what is longer is data. `_` and `-` separate words.
//! Not judged: text that is no language (web and mail addresses, paths, file names, options) and
//! what is [`Ordinary`]: common English words, Python's own modules, usual programs.
//!
//! A word is *known* if a term covers it, alone or as part of a longer term.
//!
//! What this cannot do, and does not claim: it parses neither language in full. Names of
//! variables and functions, comments, expressions inside f-strings, unquoted arguments and here
//! documents are not judged. It does not know inflections: `reactors` is unknown where only
//! `reactor` is known, and gets it as a suggestion. Ordinary words are English ones; other
//! languages bring theirs ([`Ordinary::add`]). Code can always hide what it says; keeping it
//! from doing harm is the sandbox's work.

mod bash;
mod ordinary;
mod python;
mod words;

pub use ordinary::Ordinary;

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a command is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandKind {
    /// Language for people or models, such as a question to a model.
    Prose,
    /// Python code.
    Python,
    /// A bash command line or script.
    Bash,
}

/// What a part of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// Words.
    Prose,
    /// The name of an imported package.
    Module,
    /// The name of a program.
    Program,
}

/// A part of a command that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub kind: PartKind,
    pub range: Range<usize>,
}

impl Part {
    fn new(kind: PartKind, range: Range<usize>) -> Self {
        Self { kind, range }
    }
}

/// The words and names that are judged, from left to right. A name may consist of several words.
pub(crate) fn judged(kind: CommandKind, command: &str) -> impl Iterator<Item = Part> + '_ {
    let parts = match kind {
        CommandKind::Prose => vec![Part::new(PartKind::Prose, 0..command.len())],
        CommandKind::Python => python::parts(command),
        CommandKind::Bash => bash::parts(command),
    };
    parts.into_iter().flat_map(move |part| match part.kind {
        PartKind::Prose => words::words(command, part.range)
            .map(|range| Part::new(PartKind::Prose, range))
            .collect(),
        PartKind::Module | PartKind::Program => vec![part],
    })
}
