//! What the host says, decided: a message and the state give the next state and effects.
//!
//! ```text
//!            opened             Hello              Resume            Ready said
//!   (none) ─────────> GREETING ───────> TWIN ─────────────> WAKING ────────────> INDIVIDUAL
//!      ^                                                                            │ Exec
//!      └── connection gone: what runs goes on unheard ──         at most CAPACITY at once
//! ```

mod files;
#[cfg(test)]
mod tests;

use crate::execution::{Execution, Running};
use crate::files::Tree;
use crate::surroundings::sparing;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ukernel_abi::message::{
    Exec, GuestMessage, HostMessage, Limits, MAX_SOURCE_BYTES, Outcome, PROTOCOL_VERSION, Refusal,
    Signal,
};
use ukernel_abi::parts::Assembly;

/// Executions this kernel runs at once: one interpreter, one namespace.
pub const CAPACITY: u32 = 1;

/// What the workload task is asked to do.
pub enum Job {
    /// This VM goes on, as itself or as a copy.
    Resume {
        /// Whether it is a copy: it must draw new randomness.
        is_copy: bool,
    },
    /// Runs this.
    Exec(Running),
}

/// What a message leads to outside of this crate.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the host.
    Say(GuestMessage),
    /// This VM is someone now.
    Individual {
        /// Seed of the random numbers.
        entropy: [u8; 32],
        /// Wall clock, nanoseconds since 1970-01-01 UTC.
        wall_clock_ns: u64,
        /// What it may use.
        limits: Limits,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Twin,
    Individual,
}

/// The state of the service.
pub struct Service {
    guest: String,
    stage: Stage,
    /// Who this VM was told to be, most recently.
    instance: Option<[u8; 16]>,
    /// Accepted and not ended, those of earlier connections too.
    executions: Vec<Running>,
    /// What waits for the workload task.
    pub jobs: VecDeque<Job>,
}

impl Service {
    /// Before any connection. `guest` names what runs here, for people.
    #[must_use]
    pub const fn new(guest: String) -> Self {
        Self {
            guest,
            stage: Stage::Greeting,
            instance: None,
            executions: Vec::new(),
            jobs: VecDeque::new(),
        }
    }

    /// A new connection, or the end of one: who was there is gone.
    pub fn opened(&mut self) {
        self.stage = Stage::Greeting;
        for execution in &self.executions {
            execution.get().close();
        }
        // What has not begun never will: nobody would hear of it.
        self.jobs.retain(|job| matches!(job, Job::Resume { .. }));
        self.executions
            .retain(|running| !running.get().is_waiting());
    }

    fn find(&self, id: u32) -> Option<&Running> {
        self.executions.iter().find(|running| {
            let execution = running.get();
            execution.id == id && execution.is_heard()
        })
    }

    /// Follows one message.
    pub fn follow(&mut self, message: HostMessage, tree: &mut Tree) -> Option<Effect> {
        match (self.stage, message) {
            (Stage::Greeting, HostMessage::Hello { .. }) => {
                // The host compares versions; a guest cannot do better than say its own.
                self.stage = Stage::Twin;
                Some(Effect::Say(GuestMessage::Hello {
                    version: PROTOCOL_VERSION,
                    guest: self.guest.clone(),
                }))
            }
            (Stage::Greeting, _) => refused("say hello first"),
            (_, HostMessage::Ping { nonce }) => Some(Effect::Say(GuestMessage::Pong { nonce })),
            (
                _,
                HostMessage::Resume {
                    entropy,
                    wall_clock_ns,
                    instance,
                    limits,
                },
            ) => {
                let is_copy = self.instance.replace(instance) != Some(instance);
                self.jobs.push_back(Job::Resume { is_copy });
                self.stage = Stage::Individual;
                Some(Effect::Individual {
                    entropy,
                    wall_clock_ns,
                    limits,
                })
            }
            (Stage::Twin, _) => refused("this VM is a copy: resume it first"),
            (_, HostMessage::Hello { .. }) => refused("hello was said"),
            (_, message) => self.work(message, tree),
        }
    }

    /// Follows what an individual is asked.
    fn work(&mut self, message: HostMessage, tree: &mut Tree) -> Option<Effect> {
        match message {
            HostMessage::Exec {
                id,
                exec,
                source_bytes,
            } => self.accept(id, exec, source_bytes),
            HostMessage::ExecPart { id, bytes } => self.add_source(id, &bytes, tree),
            HostMessage::Input { id, bytes } => {
                let took = self.find(id)?.get().input.push(&bytes);
                if took {
                    None
                } else {
                    refused("there is no room for input")
                }
            }
            HostMessage::InputEnd { id } => {
                self.find(id)?.get().input.end();
                None
            }
            HostMessage::OutputRoom { id, bytes } => {
                self.find(id)?.get().grant_room(bytes);
                None
            }
            HostMessage::Signal { id, signal } => {
                let mut execution = self.find(id)?.get();
                match signal {
                    Signal::Interrupt => execution
                        .want_interrupt()
                        .then(|| Effect::Say(execution.signalled())),
                    Signal::Terminate | Signal::Kill => {
                        Some(Effect::Say(GuestMessage::Signalled {
                            id,
                            signal,
                            is_supported: false,
                        }))
                    }
                }
            }
            HostMessage::Answer {
                id,
                call,
                is_result,
                length,
                bytes,
            } => {
                let mut execution = self.find(id)?.get();
                execution.calls.answer(call, is_result, length, bytes);
                None
            }
            HostMessage::AnswerPart { id, call, bytes } => {
                let mut execution = self.find(id)?.get();
                execution.calls.answer_part(call, |answer| {
                    sparing(tree.surroundings, || answer.push(&bytes))
                });
                None
            }
            HostMessage::File { request, op } => {
                let result = files::follow(tree, op);
                Some(Effect::Say(GuestMessage::File { request, result }))
            }
            // There are no terminals here, so none has a size.
            HostMessage::Resize { .. } => None,
            // Taken before an individual is asked anything.
            HostMessage::Hello { .. } | HostMessage::Resume { .. } | HostMessage::Ping { .. } => {
                None
            }
        }
    }

    fn accept(&mut self, id: u32, mut exec: Exec, source_bytes: u64) -> Option<Effect> {
        let refusal = if self.executions.len() >= CAPACITY as usize {
            Some(Refusal::Busy)
        } else if exec.terminal.is_some() {
            Some(Refusal::NoTerminal)
        } else if exec.user.is_some() {
            Some(Refusal::NoUsers)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return never_began(id, refusal);
        }
        let first = core::mem::take(&mut exec.source);
        let Ok(source) = Assembly::begin(source_bytes, first, MAX_SOURCE_BYTES) else {
            return never_began(id, Refusal::BadSource);
        };
        let is_whole = source.is_whole();
        let running = Running::new(Execution::new(id, exec, Some(source)));
        self.executions.push(running.clone());
        if is_whole {
            self.jobs.push_back(Job::Exec(running));
        }
        None
    }

    fn add_source(&mut self, id: u32, part: &[u8], tree: &Tree) -> Option<Effect> {
        let running = self.find(id)?.clone();
        let added = sparing(tree.surroundings, || running.get().add_source(part));
        match added {
            Ok(true) => self.jobs.push_back(Job::Exec(running)),
            Ok(false) => {}
            // Too much for one that waits or runs already is dropped: it does not concern it.
            Err(_) if !running.get().is_coming() => return refused("the source is whole"),
            Err(_) => {
                self.executions.retain(|other| !other.is(&running));
                return never_began(id, Refusal::BadSource);
            }
        }
        None
    }

    /// An execution has ended. What to tell the host, if it still hears.
    #[must_use]
    pub fn ended(
        &mut self,
        running: &Running,
        outcome: Outcome,
        tree: &mut Tree,
    ) -> Option<GuestMessage> {
        self.executions.retain(|other| !other.is(running));
        let mut execution = running.get();
        let spilled = execution.finish(tree);
        execution.is_heard().then(|| GuestMessage::Done {
            id: execution.id,
            outcome,
            spilled,
        })
    }
}

fn never_began(id: u32, refusal: Refusal) -> Option<Effect> {
    Some(Effect::Say(GuestMessage::Done {
        id,
        outcome: Outcome::Refused(refusal),
        spilled: Vec::new(),
    }))
}

fn refused(reason: &str) -> Option<Effect> {
    Some(Effect::Say(GuestMessage::Refused {
        reason: reason.to_string(),
    }))
}
