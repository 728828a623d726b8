//! Words that belong to no domain, and so are never unknown.

use super::PartKind;
use crate::thesaurus::Term;
use std::collections::HashSet;
use std::sync::Arc;

/// Common English words: those that carry a sentence, and those that ask for something.
const ENGLISH: &str = include_str!("../../words/english.txt");
/// Top-level modules of Python 3.11's standard library (`sys.stdlib_module_names`).
const MODULES: &str = include_str!("../../words/python_modules.txt");
/// What bash has built in, the GNU core utilities, and other programs usually there.
const PROGRAMS: &str = include_str!("../../words/programs.txt");

/// The words that are never unknown. The default has lists of its own; more can be added.
#[derive(Clone, Debug)]
pub struct Ordinary {
    english: Arc<HashSet<&'static str>>,
    modules: Arc<HashSet<&'static str>>,
    programs: Arc<HashSet<&'static str>>,
    added: Arc<HashSet<String>>,
}

impl Default for Ordinary {
    fn default() -> Self {
        let set = |list: &'static str| Arc::new(list.lines().collect());
        Self {
            english: set(ENGLISH),
            modules: set(MODULES),
            programs: set(PROGRAMS),
            added: Arc::default(),
        }
    }
}

impl Ordinary {
    /// Adds a word, or the name of a package or program. Case does not matter.
    pub fn add(&mut self, word: &str) {
        Arc::make_mut(&mut self.added).insert(Term::fold(word));
    }

    /// Whether a word in lower case is ordinary where it stands.
    pub(crate) fn contains(&self, kind: PartKind, word: &str) -> bool {
        let list = match kind {
            PartKind::Prose => &self.english,
            PartKind::Module => &self.modules,
            PartKind::Program => &self.programs,
        };
        list.contains(word) || self.added.contains(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_ordinary_in_its_place() {
        let mut ordinary = Ordinary::default();
        assert!(ordinary.contains(PartKind::Prose, "the"));
        assert!(ordinary.contains(PartKind::Module, "asyncio"));
        assert!(ordinary.contains(PartKind::Program, "grep"));
        assert!(!ordinary.contains(PartKind::Prose, "asyncio"));
        assert!(!ordinary.contains(PartKind::Module, "numpy"));
        ordinary.add(" NumPy");
        assert!(ordinary.contains(PartKind::Module, "numpy"));
    }
}
