//! Which concepts belong together.
//!
//! Concepts are the nodes. Edges have no direction; they are given ([`ConceptGraph::from_edges`])
//! or come from documents: two concepts are joined where a document mentions one right after the
//! other ([`ConceptGraph::add_document`]). Concepts are *connected* if each can be reached from
//! each.
//!
//! Terraphim's `is_all_terms_connected_by_path` (crate `terraphim_rolegraph`) asks for one path
//! that visits all of them without using an edge twice, and searches for it in exponential time.
//! The question a validator has is whether they belong together, and for that a common component
//! is enough, found in linear time.

use crate::scan::Scanner;
use crate::thesaurus::{ConceptId, Thesaurus};
use crate::{KgError, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Concepts and the edges between them. Clones share them until one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConceptGraph {
    neighbours: Arc<BTreeMap<ConceptId, BTreeSet<ConceptId>>>,
}

impl ConceptGraph {
    /// A graph of these edges.
    ///
    /// # Errors
    /// [`KgError::NoConcept`] if an edge ends at a concept the thesaurus does not have.
    pub fn from_edges(
        thesaurus: &Thesaurus,
        edges: impl IntoIterator<Item = (ConceptId, ConceptId)>,
    ) -> Result<Self> {
        let concepts: BTreeSet<ConceptId> =
            thesaurus.iter().map(|(_, concept)| concept.id).collect();
        let mut graph = Self::default();
        for (one, other) in edges {
            for end in [one, other] {
                if !concepts.contains(&end) {
                    return Err(KgError::NoConcept(end));
                }
            }
            graph.join(one, other);
        }
        Ok(graph)
    }

    /// Joins each concept a document mentions with the one it mentions next.
    pub fn add_document(&mut self, scanner: &Scanner, document: &str) {
        let mut before = None;
        for mention in scanner.find_iter(document) {
            if let Some(before) = before {
                self.join(before, mention.concept);
            }
            before = Some(mention.concept);
        }
    }

    fn join(&mut self, one: ConceptId, other: ConceptId) {
        if one != other && !self.are_neighbours(one, other) {
            let neighbours = Arc::make_mut(&mut self.neighbours);
            neighbours.entry(one).or_default().insert(other);
            neighbours.entry(other).or_default().insert(one);
        }
    }

    fn are_neighbours(&self, one: ConceptId, other: ConceptId) -> bool {
        self.neighbours
            .get(&one)
            .is_some_and(|of_one| of_one.contains(&other))
    }

    /// Every edge once, the smaller concept first, in their order: what
    /// [`from_edges`](Self::from_edges) takes.
    pub fn edges(&self) -> impl Iterator<Item = (ConceptId, ConceptId)> + '_ {
        self.neighbours.iter().flat_map(|(one, others)| {
            let greater = others.iter().filter(move |other| *other > one);
            greater.map(move |other| (*one, *other))
        })
    }

    /// Whether each of the concepts can be reached from each. So it is of one, and of none.
    #[must_use]
    pub fn are_connected(&self, concepts: &BTreeSet<ConceptId>) -> bool {
        let mut missing = concepts.clone();
        let Some(first) = missing.pop_first() else {
            return true;
        };
        let mut seen = BTreeSet::from([first]);
        let mut open = vec![first];
        while let Some(concept) = open.pop() {
            if missing.is_empty() {
                return true;
            }
            for neighbour in self.neighbours.get(&concept).into_iter().flatten() {
                if seen.insert(*neighbour) {
                    missing.remove(neighbour);
                    open.push(*neighbour);
                }
            }
        }
        missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thesaurus() -> Thesaurus {
        let mut thesaurus = Thesaurus::new("t");
        let terms = ["a", "b", "c", "d", "e"].map(|term| term.parse().expect("a term"));
        thesaurus.insert_new(terms).expect("room");
        thesaurus
    }

    fn ids<const N: usize>(ids: [u64; N]) -> BTreeSet<ConceptId> {
        ids.map(ConceptId).into()
    }

    #[test]
    fn concepts_are_connected_over_others() {
        let edges = [(1, 2), (2, 3), (4, 4)].map(|(one, other)| (ConceptId(one), ConceptId(other)));
        let graph = ConceptGraph::from_edges(&thesaurus(), edges).expect("a graph");
        assert!(graph.are_connected(&ids([])) && graph.are_connected(&ids([4])));
        assert!(graph.are_connected(&ids([1, 3])));
        assert!(!graph.are_connected(&ids([1, 3, 4])));
        assert!(!graph.are_connected(&ids([4, 5])));
        let again = ConceptGraph::from_edges(&thesaurus(), graph.edges()).expect("a graph");
        assert_eq!(again, graph);
    }

    #[test]
    fn documents_make_edges() {
        let scanner = Scanner::new(&thesaurus()).expect("an automaton");
        let mut graph = ConceptGraph::default();
        graph.add_document(&scanner, "a, a and b; then c");
        graph.add_document(&scanner, "d");
        let edges: Vec<_> = graph.edges().map(|(one, other)| (one.0, other.0)).collect();
        assert_eq!(edges, [(1, 2), (2, 3)]);
    }

    #[test]
    fn an_edge_ends_at_concepts() {
        let error = ConceptGraph::from_edges(&thesaurus(), [(ConceptId(1), ConceptId(9))]);
        assert!(matches!(error, Err(KgError::NoConcept(ConceptId(9)))));
    }

    #[test]
    fn a_long_chain_is_walked_without_a_stack() {
        let mut graph = ConceptGraph::default();
        for id in 0..200_000 {
            graph.join(ConceptId(id), ConceptId(id + 1));
        }
        assert!(graph.are_connected(&ids([0, 200_000])));
    }
}
