//! From records to the tree. Records of nodes that run side by side are interleaved, so nodes are
//! kept in a list while records come, and put into each other at the end. A node can only name one
//! before it as its parent, so there are no cycles, and nothing here recurses.

use super::count::count;
use super::open::{Open, Place};
use super::{MAX_LEVELS, Run, Warning};
use crate::record::{Event, NodeStarted, Outcome, Record};
use std::collections::HashMap;

pub(super) fn build(records: impl IntoIterator<Item = Record>) -> Run {
    let mut builder = Builder::default();
    for record in records {
        builder.run.until_ms = builder.run.until_ms.max(record.at_ms);
        if builder.run.outcome.is_none() {
            count(&record.event, &mut builder.run.spent);
        }
        if builder.place(record).is_none() {
            builder.run.stray += 1;
        }
    }
    builder.finish()
}

/// The tree while records come.
#[derive(Default)]
pub(super) struct Builder {
    run: Run,
    pub(super) nodes: Vec<Open>,
    pub(super) by_id: HashMap<u32, usize>,
    pub(super) calls: HashMap<u32, Place>,
}

impl Builder {
    /// Puts a record where it belongs; `None` if that is nowhere.
    fn place(&mut self, record: Record) -> Option<()> {
        let Record { at_ms, node, event } = record;
        match event {
            Event::RunStarted(started) => put(&mut self.run.started, started),
            Event::RunEnded { outcome, spent } => {
                put(&mut self.run.outcome, outcome)?;
                self.run.spent = spent;
                Some(())
            }
            Event::NodeStarted(started) => self.start_node(at_ms, node, started),
            Event::Warned { message } => {
                let warning = Warning { at_ms, message };
                match self.node(at_ms, node) {
                    Some(open) => open.node.warnings.push(warning),
                    None => self.run.warnings.push(warning),
                }
                Some(())
            }
            Event::NodeEnded { outcome, spent } => {
                let Some(open) = self.node(at_ms, node) else {
                    // A node fails before it starts if its context cannot be loaded. Whoever asked
                    // for it says so too.
                    return matches!(outcome, Outcome::Failed { .. }).then_some(());
                };
                put(&mut open.node.outcome, outcome)?;
                put(&mut open.node.spent, spent)
            }
            Event::CallStarted { .. }
            | Event::QueryReplied { .. }
            | Event::QueryFailed { .. }
            | Event::CallEnded { .. } => self.place_in_call(at_ms, node, event),
            _ => self.node(at_ms, node)?.place(at_ms, event),
        }
    }

    pub(super) fn node(&mut self, at_ms: f64, id: u32) -> Option<&mut Open> {
        let open = self.nodes.get_mut(*self.by_id.get(&id)?)?;
        open.node.until_ms = open.node.until_ms.max(at_ms);
        Some(open)
    }

    fn start_node(&mut self, at_ms: f64, id: u32, started: NodeStarted) -> Option<()> {
        if self.by_id.contains_key(&id) {
            return None;
        }
        let parent = match (started.parent, started.call) {
            // There is one root, and it comes first.
            (None, _) if self.nodes.is_empty() => None,
            (Some(parent), Some((call, _))) => {
                let place = *self.calls.get(&call)?;
                (self.nodes[place.node].node.id == parent).then_some(())?;
                Some(place)
            }
            _ => return None,
        };
        let level = parent.map_or(0, |place| self.nodes[place.node].level + 1);
        if level >= MAX_LEVELS {
            return None;
        }
        self.by_id.insert(id, self.nodes.len());
        self.nodes
            .push(Open::new(at_ms, id, started, parent, level));
        Some(())
    }

    /// Puts the nodes into each other, the last one first: its children are in it by then.
    fn finish(mut self) -> Run {
        while let Some(Open {
            mut node, parent, ..
        }) = self.nodes.pop()
        {
            for step in &mut node.steps {
                let of_commands = step.commands.iter_mut().map(|command| &mut command.calls);
                for call in of_commands.chain([&mut step.calls]).flatten() {
                    // They came last first.
                    call.children.reverse();
                    call.children.sort_by_key(|child| child.started.call);
                    call.queries.sort_by_key(|query| query.item);
                }
            }
            match parent {
                None => self.run.root = Some(node),
                Some(place) => {
                    if let Some(call) = self.touch(place, node.until_ms) {
                        call.children.push(node);
                    }
                }
            }
        }
        self.run.is_cut = self.run.outcome.is_none();
        if self.run.is_cut {
            self.run.spent.elapsed_ms = self.run.until_ms;
        }
        self.run
    }
}

/// Fills what is empty; `None` if it is not.
pub(super) fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    if place.is_some() {
        return None;
    }
    *place = Some(value);
    Some(())
}
