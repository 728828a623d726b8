//! A node while records come.

use super::build::put;
use super::{Call, Command, Node, Step};
use crate::record::{Event, ModelReply, NodeStarted};
use std::collections::HashMap;

/// A node to which records may still come.
pub(super) struct Open {
    pub(super) node: Node,
    /// The call that made it; absent for the root.
    pub(super) parent: Option<Place>,
    pub(super) level: usize,
    /// The newest step of a number.
    steps: HashMap<u32, usize>,
    /// The command that runs: what calls come from.
    pub(super) running: Option<(usize, usize)>,
}

/// Where a call is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) step: usize,
    /// Which command; none if code ran that is no command, or none did.
    pub(super) command: Option<usize>,
    pub(super) call: usize,
}

impl Open {
    pub(super) fn new(
        at_ms: f64,
        id: u32,
        started: NodeStarted,
        parent: Option<Place>,
        level: usize,
    ) -> Self {
        Self {
            node: Node {
                id,
                from_ms: at_ms,
                until_ms: at_ms,
                started,
                steps: Vec::new(),
                outcome: None,
                spent: None,
                warnings: Vec::new(),
            },
            parent,
            level,
            steps: HashMap::new(),
            running: None,
        }
    }

    /// Puts a record about a step where it belongs; `None` if that is nowhere.
    pub(super) fn place(&mut self, at_ms: f64, event: Event) -> Option<()> {
        match event {
            Event::ModelAsked {
                step,
                prompt_bytes,
                new_messages,
            } => {
                let step = self.step_without(at_ms, step, |step| step.prompt_bytes.is_some());
                step.prompt_bytes = Some(prompt_bytes);
                step.new_messages = new_messages;
            }
            Event::Compacted {
                step,
                tokens_before,
                tokens_after,
            } => {
                let step = self.step_without(at_ms, step, |step| step.compacted.is_some());
                step.compacted = Some((tokens_before, tokens_after));
            }
            Event::ModelReplied { step, reply } => self.reply(at_ms, step, Ok(reply))?,
            Event::ModelFailed { step, error, .. } => self.reply(at_ms, step, Err(error))?,
            Event::Corrected { step, reason } => self.step(at_ms, step)?.1.corrected.push(reason),
            Event::CommandStarted {
                step,
                kind,
                bytes,
                source,
            } => {
                let (index, step) = self.step(at_ms, step)?;
                step.commands.push(Command {
                    from_ms: at_ms,
                    kind,
                    bytes,
                    source,
                    ended: None,
                    calls: Vec::new(),
                });
                self.running = Some((index, step.commands.len() - 1));
            }
            Event::CommandEnded(ended) => {
                let (_, step) = self.step(at_ms, ended.step)?;
                put(&mut step.commands.last_mut()?.ended, ended)?;
                self.running = None;
            }
            _ => return None,
        }
        Some(())
    }

    /// The newest step of this number.
    fn step(&mut self, at_ms: f64, number: u32) -> Option<(usize, &mut Step)> {
        let index = *self.steps.get(&number)?;
        let step = self.node.steps.get_mut(index)?;
        step.until_ms = step.until_ms.max(at_ms);
        Some((index, step))
    }

    /// The newest step of this number, or a new one if that one already has something.
    fn step_without(&mut self, at_ms: f64, number: u32, has: fn(&Step) -> bool) -> &mut Step {
        let steps = &mut self.node.steps;
        let newest = self.steps.get(&number).copied();
        let index = match newest.filter(|&index| !has(&steps[index])) {
            Some(index) => index,
            None => {
                steps.push(Step {
                    number,
                    from_ms: at_ms,
                    until_ms: at_ms,
                    ..Step::default()
                });
                self.steps.insert(number, steps.len() - 1);
                steps.len() - 1
            }
        };
        &mut steps[index]
    }

    fn reply(&mut self, at_ms: f64, step: u32, reply: Result<ModelReply, String>) -> Option<()> {
        let (_, step) = self.step(at_ms, step)?;
        put(&mut step.reply, reply)?;
        step.replied_ms = Some(at_ms);
        Some(())
    }
}

impl Call {
    pub(super) fn new(at_ms: f64, number: u32, name: String, items: u32, bytes: u64) -> Self {
        Self {
            number,
            from_ms: at_ms,
            until_ms: at_ms,
            name,
            items,
            bytes,
            queries: Vec::new(),
            children: Vec::new(),
            ended: None,
        }
    }
}
