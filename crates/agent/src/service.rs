//! The agent: follows what the host says, one message after the other; executions have threads of their own.

use crate::bash::Bash;
use crate::execution::Running;
use crate::port::Port;
use crate::python::Python;
use crate::{calls, files, individual, launch, program, terminal};
use std::collections::HashMap;
use std::fs;
use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use ukernel_abi::frame::Decoder;
use ukernel_abi::message::{
    Exec, GuestMessage, HostMessage, MAX_CALL_BYTES, MAX_SOURCE_BYTES, Mode, Outcome,
    PROTOCOL_VERSION, Refusal,
};
use ukernel_abi::parts::Assembly;

/// Executions at once, those that wait for an interpreter among them.
const CAPACITY: u32 = 64;
/// Bytes read from the channel at once.
const READ_BYTES: usize = 64 << 10;
/// Stack of the thread of an execution, in bytes.
const STACK_BYTES: usize = 256 << 10;

/// What the threads have in common.
struct Agent {
    port: Port,
    python: Python,
    bash: Bash,
    running: Mutex<HashMap<u32, Arc<Running>>>,
}

/// What the host is in the middle of saying.
#[derive(Default)]
struct Conversation {
    decoder: Decoder<HostMessage>,
    /// Executions whose sources are not whole.
    begun: HashMap<u32, (Exec, Assembly)>,
    /// Answers that are not whole, by execution and call.
    answers: HashMap<(u32, u32), (bool, Assembly)>,
    /// Who this VM is.
    instance: Option<[u8; 16]>,
    /// It has been told on this connection.
    is_ready: bool,
}

/// Serves the host for as long as the VM lives.
pub fn run() -> Result<()> {
    // Without memory it is user code that goes, never the agent.
    fs::write("/proc/self/oom_score_adj", "-1000")?;
    individual::make_group()
        .map_err(|error| Error::other(format!("making a control group: {error}")))?;
    let agent = Arc::new(Agent {
        port: Port::open()?,
        python: Python::default(),
        bash: Bash::default(),
        running: Mutex::default(),
    });
    individual::keep_interpreters();
    // Both are up before a template is made, and ready before anybody asks.
    agent.python.prepare()?;
    agent.bash.prepare()?;
    let own = Arc::clone(&agent);
    calls::serve(move |call| match own.find(call.execution) {
        Some(running) => call.make(&running, &own.port),
        None => call.refuse("its execution has ended"),
    })?;
    let mut conversation = Conversation::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let Some(count) = agent.port.read(&mut buffer)? else {
            // The host has gone: what was half said is nothing.
            agent.abandon();
            let instance = conversation.instance;
            conversation = Conversation {
                instance,
                ..Conversation::default()
            };
            continue;
        };
        conversation.decoder.push(&buffer[..count]);
        loop {
            match conversation.decoder.next_message() {
                Ok(Some(message)) => agent.take(message, &mut conversation),
                Ok(None) => break,
                Err(error) => {
                    let reason = error.to_string();
                    agent.port.send(&GuestMessage::Refused { reason });
                    conversation.decoder = Decoder::new();
                    break;
                }
            }
        }
    }
}

impl Agent {
    fn running(&self) -> MutexGuard<'_, HashMap<u32, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up what an earlier connection began.
    fn abandon(&self) {
        for (_, running) in self.running().drain() {
            running.abandon();
        }
    }

    /// An execution that is under way.
    fn find(&self, id: u32) -> Option<Arc<Running>> {
        self.running().get(&id).cloned()
    }

    fn with(&self, id: u32, act: impl FnOnce(&Running)) {
        if let Some(running) = self.find(id) {
            act(&running);
        }
    }

    fn refuse(&self, reason: impl ToString) {
        let reason = reason.to_string();
        self.port.send(&GuestMessage::Refused { reason });
    }

    fn take(self: &Arc<Self>, message: HostMessage, conversation: &mut Conversation) {
        match message {
            HostMessage::Hello { .. } => {
                self.abandon();
                conversation.begun.clear();
                conversation.answers.clear();
                conversation.is_ready = false;
                self.port.send(&GuestMessage::Hello {
                    version: PROTOCOL_VERSION,
                    guest: concat!("ukernel-agent/", env!("CARGO_PKG_VERSION"), " linux")
                        .to_owned(),
                });
            }
            HostMessage::Resume {
                entropy,
                wall_clock_ns,
                instance,
                limits,
            } => {
                let is_new = conversation.instance.replace(instance) != Some(instance);
                let resumed = individual::limit(&limits).and_then(|()| {
                    individual::become_one(entropy, wall_clock_ns, instance)?;
                    if is_new {
                        self.bash.reseed(entropy);
                        self.python.reseed();
                    }
                    Ok(())
                });
                match resumed {
                    Ok(()) => {
                        conversation.is_ready = true;
                        self.port.send(&GuestMessage::Ready { capacity: CAPACITY });
                    }
                    Err(error) => self.refuse(error),
                }
            }
            HostMessage::Exec { .. } if !conversation.is_ready => {
                self.refuse("nothing runs before the resume");
            }
            HostMessage::Exec {
                id,
                mut exec,
                source_bytes,
            } => {
                let first = std::mem::take(&mut exec.source);
                match Assembly::begin(source_bytes, first, MAX_SOURCE_BYTES) {
                    Ok(source) => self.begin_if_whole(id, exec, source, conversation),
                    Err(_) => self.done(id, Outcome::Refused(Refusal::BadSource)),
                }
            }
            HostMessage::ExecPart { id, bytes } => {
                let Some((exec, mut source)) = conversation.begun.remove(&id) else {
                    return self.refuse("a part of nothing");
                };
                match source.push(&bytes) {
                    Ok(()) => self.begin_if_whole(id, exec, source, conversation),
                    Err(_) => self.done(id, Outcome::Refused(Refusal::BadSource)),
                }
            }
            HostMessage::Input { id, bytes } => self.with(id, |running| {
                if !running.input(&bytes) {
                    self.refuse("more input than there is room for");
                }
            }),
            HostMessage::InputEnd { id } => self.with(id, Running::end_input),
            HostMessage::OutputRoom { id, bytes } => self.with(id, |running| running.grant(bytes)),
            HostMessage::Signal { id, signal } => self.with(id, |running| {
                running.signal(signal);
                self.port.send(&GuestMessage::Signalled {
                    id,
                    signal,
                    is_supported: true,
                });
            }),
            HostMessage::Resize { id, size } => self.with(id, |running| running.resize(size)),
            HostMessage::Answer {
                id,
                call,
                is_result,
                length,
                bytes,
            } => match Assembly::begin(length, bytes, MAX_CALL_BYTES) {
                Ok(answer) => self.answer_if_whole(id, call, is_result, answer, conversation),
                Err(error) => self.refuse(error),
            },
            HostMessage::AnswerPart { id, call, bytes } => {
                let Some((is_result, mut answer)) = conversation.answers.remove(&(id, call)) else {
                    return self.refuse("a part of nothing");
                };
                match answer.push(&bytes) {
                    Ok(()) => self.answer_if_whole(id, call, is_result, answer, conversation),
                    Err(error) => self.refuse(error),
                }
            }
            HostMessage::File { request, op } => {
                let result = files::carry_out(op);
                self.port.send(&GuestMessage::File { request, result });
            }
            HostMessage::Ping { nonce } => self.port.send(&GuestMessage::Pong { nonce }),
        }
    }

    fn answer_if_whole(
        &self,
        id: u32,
        call: u32,
        is_result: bool,
        answer: Assembly,
        conversation: &mut Conversation,
    ) {
        if answer.is_whole() {
            self.with(id, |running| {
                running.answer(call, is_result, answer.into_bytes())
            });
        } else {
            conversation.answers.insert((id, call), (is_result, answer));
        }
    }

    fn begin_if_whole(
        self: &Arc<Self>,
        id: u32,
        mut exec: Exec,
        source: Assembly,
        conversation: &mut Conversation,
    ) {
        if !source.is_whole() {
            conversation.begun.insert(id, (exec, source));
            return;
        }
        exec.source = source.into_bytes();
        // What it starts may call the host, as a part of it.
        exec.environment
            .push((calls::EXECUTION.to_owned(), id.to_string()));
        if let Err(refusal) = self.begin(id, exec) {
            self.done(id, Outcome::Refused(refusal));
        }
    }

    fn begin(self: &Arc<Self>, id: u32, exec: Exec) -> std::result::Result<(), Refusal> {
        if exec.terminal.is_some() && exec.mode != Mode::Shell {
            return Err(Refusal::NoTerminal);
        }
        let user = user_of(&exec)?;
        let mut table = self.running();
        if table.len() >= CAPACITY as usize || table.contains_key(&id) {
            return Err(Refusal::Busy);
        }
        let running = Running::new(id, exec.token).map_err(|_| Refusal::Busy)?;
        let agent = Arc::clone(self);
        let own = Arc::clone(&running);
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            let ran = match (exec.mode, exec.terminal) {
                (Mode::Shell, Some(size)) => terminal::run(&own, &agent.port, &exec, size, user),
                (Mode::Shell, None) => agent.bash.run(&own, &agent.port, &exec),
                (Mode::Prompt | Mode::Check, _) => agent.python.run(&own, &agent.port, &exec),
                (Mode::Program, _) => program::run(&own, &agent.port, &exec, id, user),
            };
            agent.running().remove(&id);
            own.end();
            if let Err(error) = ran {
                let outcome = Outcome::Exception {
                    kind: "OSError".to_owned(),
                    message: format!("the agent could not run it: {error}"),
                };
                agent.done(id, outcome);
            }
        });
        started.map_err(|_| Refusal::Busy)?;
        table.insert(id, running);
        Ok(())
    }

    fn done(&self, id: u32, outcome: Outcome) {
        let spilled = Vec::new();
        self.port.send(&GuestMessage::Done {
            id,
            outcome,
            spilled,
        });
    }
}

/// Whom an execution runs as. The interpreters are user code's: others have programs.
fn user_of(exec: &Exec) -> std::result::Result<u32, Refusal> {
    let is_lasting = exec.mode != Mode::Program && exec.terminal.is_none();
    match exec.user.as_deref() {
        None | Some("user") => Ok(launch::USER),
        Some("root") if !is_lasting => Ok(0),
        _ => Err(Refusal::NoUsers),
    }
}
