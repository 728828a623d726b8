//! Records about calls.

use super::build::{Builder, put};
use super::open::Place;
use super::{Call, CallEnded, Query, Step};
use crate::record::Event;

impl Builder {
    /// Puts a record about a call where it belongs; `None` if that is nowhere.
    pub(super) fn place_in_call(&mut self, at_ms: f64, node: u32, event: Event) -> Option<()> {
        match event {
            Event::CallStarted {
                call,
                name,
                items,
                bytes,
            } => self.start_call(at_ms, node, Call::new(at_ms, call, name, items, bytes)),
            Event::QueryReplied {
                call,
                item,
                prompt_bytes,
                prompt,
                reply,
            } => {
                let query = Query {
                    item,
                    until_ms: at_ms,
                    prompt_bytes,
                    prompt,
                    reply: Ok(reply),
                };
                self.add_query(at_ms, node, call, query)
            }
            Event::QueryFailed {
                call, item, error, ..
            } => {
                let query = Query {
                    item,
                    until_ms: at_ms,
                    prompt_bytes: 0,
                    prompt: None,
                    reply: Err(error),
                };
                self.add_query(at_ms, node, call, query)
            }
            Event::CallEnded {
                call,
                error,
                total_ms,
            } => {
                let call = self.call(at_ms, node, call)?;
                put(&mut call.ended, CallEnded { error, total_ms })
            }
            _ => None,
        }
    }

    fn add_query(&mut self, at_ms: f64, node: u32, number: u32, query: Query) -> Option<()> {
        if !self.calls.contains_key(&number) {
            // A reply can ask for a query without any code. Then nothing else is said of the call.
            let total_ms = query.reply.as_ref().map_or(0.0, |reply| reply.latency_ms);
            let name = "query_llm".to_owned();
            let mut call = Call::new(at_ms - total_ms, number, name, 1, query.prompt_bytes);
            call.ended = Some(CallEnded {
                error: None,
                total_ms,
            });
            self.start_call(at_ms, node, call)?;
        }
        self.call(at_ms, node, number)?.queries.push(query);
        Some(())
    }

    /// Adds a call to the command that runs, else to the newest step.
    fn start_call(&mut self, at_ms: f64, node: u32, call: Call) -> Option<()> {
        if self.calls.contains_key(&call.number) {
            return None;
        }
        let index = *self.by_id.get(&node)?;
        let open = self.node(at_ms, node)?;
        let (step, command) = match open.running {
            Some((step, command)) => (step, Some(command)),
            None => (open.node.steps.len().checked_sub(1)?, None),
        };
        let number = call.number;
        let in_step = open.node.steps.get_mut(step)?;
        in_step.until_ms = in_step.until_ms.max(at_ms);
        let calls = calls_of(in_step, command)?;
        calls.push(call);
        let place = Place {
            node: index,
            step,
            command,
            call: calls.len() - 1,
        };
        self.calls.insert(number, place);
        Some(())
    }

    /// A call of a node. It counts as heard of.
    fn call(&mut self, at_ms: f64, node: u32, number: u32) -> Option<&mut Call> {
        let place = *self.calls.get(&number)?;
        (self.by_id.get(&node) == Some(&place.node)).then_some(())?;
        self.touch(place, at_ms)
    }

    /// A call, which is heard of now.
    pub(super) fn touch(&mut self, place: Place, at_ms: f64) -> Option<&mut Call> {
        let node = &mut self.nodes.get_mut(place.node)?.node;
        node.until_ms = node.until_ms.max(at_ms);
        let step = node.steps.get_mut(place.step)?;
        step.until_ms = step.until_ms.max(at_ms);
        let call = calls_of(step, place.command)?.get_mut(place.call)?;
        call.until_ms = call.until_ms.max(at_ms);
        Some(call)
    }
}

/// The calls of a command of a step, or those of none.
fn calls_of(step: &mut Step, command: Option<usize>) -> Option<&mut Vec<Call>> {
    match command {
        Some(command) => Some(&mut step.commands.get_mut(command)?.calls),
        None => Some(&mut step.calls),
    }
}
