//! One execution: its output on the way to the host, its input on the way to the program, its end.
//!
//! A thread of its own follows it. Everything it does waits in one `poll`, so a host that does not read stops only this
//! execution, and a program that does not read only its input.

use crate::output::{Output, SPILLED};
use crate::overlay;
use crate::port::{Port, is_readable, wait};
use crate::streams::{self, Ours};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::process::{Pid, Signal as Kill, kill_process, kill_process_group};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ukernel_abi::message::{
    GuestMessage, INPUT_WINDOW_BYTES, MAX_CALL_NAME_BYTES, MAX_CHUNK_BYTES, MAX_PENDING_CALL_BYTES,
    MAX_PENDING_CALLS, OUTPUT_WINDOW_BYTES, Outcome, SessionToken, Signal, Stream, TerminalSize,
};
use ukernel_abi::parts::cut;

/// Bytes read from a program at once.
const READ_BYTES: usize = 64 << 10;
/// How often the overlay's room is looked at while something runs.
const LOOK: Duration = Duration::from_millis(20);
/// What a program hears that outlives what started it.
const ENDED: &str = "the execution that this belongs to has ended";

/// What others may do with an execution.
pub struct Running {
    id: u32,
    /// What its calls show.
    token: Option<SessionToken>,
    shared: Mutex<Shared>,
    /// Told when `shared` has changed.
    wake: OwnedFd,
    /// Told when a call has its answer, or nobody takes calls any more.
    answered: Condvar,
    /// Nobody hears of it any more: its connection is gone.
    is_abandoned: AtomicBool,
}

/// What an interpreter has come to.
pub enum Step {
    /// Nothing that can be told yet.
    Goes,
    /// It has ended.
    Ended(Outcome),
    /// It asks the host and waits.
    Calls {
        /// What for.
        name: String,
        /// Its own number of the call.
        serial: u64,
        payload: Vec<u8>,
    },
}

/// What carries an execution out.
pub trait Interpreter {
    /// Looks what has become of it; it has something to say, or has ended.
    fn step(&mut self) -> Step;

    /// Hands it the answer to a call.
    fn answer(&mut self, _serial: u64, _is_result: bool, _payload: &[u8]) {}
}

/// One that makes no calls.
impl<F: FnMut() -> Option<Outcome>> Interpreter for F {
    fn step(&mut self) -> Step {
        self().map_or(Step::Goes, Step::Ended)
    }
}

/// The answer to a call: whether it is a result, and its bytes.
pub type Answer = (bool, Vec<u8>);

/// Who waits for the answer to a call.
enum Caller {
    /// The interpreter, by its own number of the call.
    Interpreter(u64),
    /// A program that the execution started.
    Program(SyncSender<Answer>),
}

/// Calls of an execution.
#[derive(Default)]
struct Calls {
    last: u32,
    waiting: HashMap<u32, (Caller, usize)>,
    /// Answers for the interpreter, by its own numbers.
    answers: Vec<(u64, Answer)>,
}

impl Calls {
    /// Whether the host takes one more, of so many bytes, beside those that wait.
    fn has_room(&self, bytes: usize) -> bool {
        let waiting: usize = self.waiting.values().map(|(_, bytes)| bytes).sum();
        self.waiting.len() < MAX_PENDING_CALLS && waiting + bytes <= MAX_PENDING_CALL_BYTES
    }
}

#[derive(Default)]
struct Shared {
    calls: Calls,
    /// What it was asked for is done: nobody takes calls any more.
    has_ended: bool,
    /// Bytes that may still be sent.
    room: u64,
    input: VecDeque<u8>,
    input_ended: bool,
    /// Its terminal. An interrupt hangs it up: what is typed there reaches the program by itself.
    terminal: Option<OwnedFd>,
    /// Whom signals go to, when there is somebody.
    group: Option<Pid>,
    /// A signal that came before there was.
    pending: Option<Signal>,
    is_interrupted: bool,
}

impl Running {
    pub fn new(id: u32, token: Option<SessionToken>) -> std::io::Result<Arc<Self>> {
        let shared = Shared {
            room: OUTPUT_WINDOW_BYTES,
            ..Shared::default()
        };
        Ok(Arc::new(Self {
            id,
            token,
            shared: Mutex::new(shared),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            answered: Condvar::new(),
            is_abandoned: AtomicBool::new(false),
        }))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // Full only when it is told already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// The host has room for more output.
    pub fn grant(&self, bytes: u64) {
        let mut shared = self.shared();
        shared.room = shared.room.saturating_add(bytes);
        drop(shared);
        self.wake();
    }

    /// Input for the program. `false`: more than it was granted.
    pub fn input(&self, bytes: &[u8]) -> bool {
        let mut shared = self.shared();
        if (shared.input.len() + bytes.len()) as u64 > INPUT_WINDOW_BYTES {
            return false;
        }
        shared.input.extend(bytes);
        drop(shared);
        self.wake();
        true
    }

    /// A call has its answer.
    pub fn answer(&self, call: u32, is_result: bool, payload: Vec<u8>) {
        let mut shared = self.shared();
        let answer = (is_result, payload);
        match shared.calls.waiting.remove(&call) {
            Some((Caller::Interpreter(serial), _)) => shared.calls.answers.push((serial, answer)),
            // One that has gone needs none.
            Some((Caller::Program(answered), _)) => drop(answered.try_send(answer)),
            None => {}
        }
        drop(shared);
        self.answered.notify_all();
        self.wake();
    }

    /// Asks the host on behalf of a program that the execution started, and waits for the answer. `payload` is read when
    /// the host has room for so many bytes.
    pub fn call_for_program(
        &self,
        port: &Port,
        name: String,
        bytes: usize,
        payload: impl FnOnce() -> std::io::Result<Vec<u8>>,
    ) -> std::io::Result<Answer> {
        let refused = |reason: &str| Ok((false, reason.as_bytes().to_vec()));
        let (answered, answer) = sync_channel(1);
        let call = {
            let mut shared = self.shared();
            while !shared.has_ended && !shared.calls.has_room(bytes) {
                let woken = self.answered.wait(shared);
                shared = woken.unwrap_or_else(PoisonError::into_inner);
            }
            match self.register(&mut shared, Caller::Program(answered), &name, bytes) {
                Ok(call) => call,
                Err(reason) => return refused(reason),
            }
        };
        match payload() {
            Ok(payload) => self.send_call(port, call, name, &payload),
            Err(error) => {
                self.shared().calls.waiting.remove(&call);
                self.answered.notify_all();
                return Err(error);
            }
        }
        answer.recv().or_else(|_| refused(ENDED))
    }

    /// There is no more input.
    pub fn end_input(&self) {
        self.shared().input_ended = true;
        self.wake();
    }

    /// Sends it a signal, at the latest when it begins.
    pub fn signal(&self, signal: Signal) {
        let mut shared = self.shared();
        if shared.has_ended {
            return;
        }
        shared.is_interrupted |= signal == Signal::Interrupt;
        match shared.group {
            Some(group) => send(group, signal, shared.terminal.is_some()),
            None => shared.pending = Some(signal),
        }
    }

    /// Its terminal has another size.
    pub fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.shared().terminal {
            // One that is gone has no size.
            let _ = crate::terminal::resize(terminal.as_fd(), size);
        }
    }

    /// It runs on a terminal now.
    pub fn begin_on(&self, group: Pid, terminal: OwnedFd) {
        self.shared().terminal = Some(terminal);
        self.begin(group);
    }

    /// Asks the host for something on behalf of the interpreter, which makes one call at a time.
    fn call(&self, port: &Port, serial: u64, name: String, payload: &[u8]) -> Result<(), &str> {
        let caller = Caller::Interpreter(serial);
        let call = self.register(&mut self.shared(), caller, &name, payload.len())?;
        self.send_call(port, call, name, payload);
        Ok(())
    }

    /// Gives a call its number.
    fn register(
        &self,
        shared: &mut Shared,
        caller: Caller,
        name: &str,
        bytes: usize,
    ) -> Result<u32, &'static str> {
        if self.token.is_none() {
            return Err("nobody answers calls of this execution");
        }
        if shared.has_ended {
            return Err(ENDED);
        }
        if name.len() > MAX_CALL_NAME_BYTES {
            return Err("the name of the call is too long");
        }
        if !shared.calls.has_room(bytes) {
            return Err("too many calls at once");
        }
        shared.calls.last += 1;
        let call = shared.calls.last;
        shared.calls.waiting.insert(call, (caller, bytes));
        Ok(call)
    }

    fn send_call(&self, port: &Port, call: u32, name: String, payload: &[u8]) {
        let Some(token) = self.token else { return };
        let (first, rest) = cut(payload);
        let id = self.id;
        port.send(&GuestMessage::Call {
            id,
            call,
            token,
            name,
            length: payload.len() as u64,
            bytes: first.to_vec(),
        });
        for part in rest {
            let bytes = part.to_vec();
            port.send(&GuestMessage::CallPart { id, call, bytes });
        }
    }

    /// It is done: no signal reaches its interpreter any more, which is the next execution's, and nobody takes calls; those
    /// who wait hear it.
    pub fn end(&self) {
        let mut shared = self.shared();
        shared.has_ended = true;
        shared.group = None;
        shared.calls.waiting.clear();
        drop(shared);
        self.answered.notify_all();
    }

    /// It runs now, and signals go there. Whether one came before.
    pub fn begin(&self, group: Pid) {
        let mut shared = self.shared();
        shared.group = Some(group);
        if let Some(signal) = shared.pending.take() {
            send(group, signal, shared.terminal.is_some());
        }
    }

    /// Whether it was interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.shared().is_interrupted
    }

    /// Its connection is gone.
    pub fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.signal(Signal::Interrupt);
        self.end();
        self.wake();
    }

    fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }
}

/// Sends a signal to a program and what it started.
fn send(group: Pid, signal: Signal, is_on_terminal: bool) {
    let signal = match signal {
        Signal::Interrupt if is_on_terminal => Kill::HUP,
        Signal::Interrupt => Kill::INT,
        Signal::Terminate => Kill::TERM,
        Signal::Kill => Kill::KILL,
    };
    // One that was just started may have no group of its own yet, or have ended.
    let _ = kill_process_group(group, signal).or_else(|_| kill_process(group, signal));
}

/// Follows an execution to its end and says it. `endings` become readable when it may have ended, which `ended` knows.
pub fn follow(
    running: &Running,
    port: &Port,
    ours: Ours,
    inline: u64,
    endings: &[BorrowedFd<'_>],
    mut interpreter: impl Interpreter,
) {
    let Ours {
        mut input,
        mut outputs,
    } = ours;
    let mut kept =
        [Stream::Stdout, Stream::Stderr].map(|stream| Output::new(stream, inline, SPILLED));
    let mut granted = 0;
    let mut outcome = None;
    loop {
        overlay::grow();
        if running.is_abandoned() {
            // What it still writes has no reader.
            (input, outputs) = (None, [None, None]);
        }
        let (room, has_input) = {
            let shared = running.shared();
            let has_input = !shared.input.is_empty() || shared.input_ended;
            (shared.room, has_input)
        };
        let may_read = room > 0 && !running.is_abandoned();
        let mut fds = vec![PollFd::new(&running.wake, PollFlags::IN)];
        if may_read {
            fds.extend(
                outputs
                    .iter()
                    .flatten()
                    .map(|fd| PollFd::new(fd, PollFlags::IN)),
            );
        }
        if let Some(input) = input.as_ref().filter(|_| has_input || granted == 0) {
            fds.push(PollFd::new(input, PollFlags::OUT));
        }
        if outcome.is_none() {
            fds.extend(endings.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        }
        let is_ending = outcome.is_some() && may_read;
        let limit = if is_ending { Duration::ZERO } else { LOOK };
        if wait(&mut fds, limit).is_err() {
            return;
        }
        let _ = rustix::io::read(&running.wake, &mut [0_u8; 8]);
        // What it wrote before its end is in the pipes when the end is seen.
        if outcome.is_none() && endings.iter().any(is_readable) {
            match interpreter.step() {
                Step::Goes => {}
                Step::Ended(how) => {
                    // Before it is told: whoever hears of the end may begin the next.
                    running.end();
                    outcome = Some(how);
                }
                Step::Calls {
                    name,
                    serial,
                    payload,
                } => {
                    if let Err(reason) = running.call(port, serial, name, &payload) {
                        interpreter.answer(serial, false, reason.as_bytes());
                    }
                }
            }
        }
        let answers = std::mem::take(&mut running.shared().calls.answers);
        for (serial, (is_result, payload)) in answers {
            interpreter.answer(serial, is_result, &payload);
        }
        if let Some(fd) = &input {
            match feed(running, fd, &mut granted) {
                Fed::Open(0) => {}
                Fed::Open(bytes) => port.send(&GuestMessage::InputRoom {
                    id: running.id,
                    bytes,
                }),
                Fed::Closed => input = None,
            }
        }
        let mut is_dry = true;
        for (output, kept) in outputs.iter_mut().zip(&mut kept) {
            is_dry &= pump(running, port, output, kept);
        }
        if is_dry && let Some(outcome) = outcome.take() {
            // What it started in the background may go on writing.
            outputs.into_iter().flatten().for_each(streams::drain);
            let spilled = kept.into_iter().filter_map(Output::spilled).collect();
            let id = running.id;
            port.send(&GuestMessage::Done {
                id,
                outcome,
                spilled,
            });
            return;
        }
    }
}

/// Hands on what one stream has now, as far as there is room. Whether it had nothing.
fn pump(running: &Running, port: &Port, output: &mut Option<OwnedFd>, kept: &mut Output) -> bool {
    let Some(fd) = output else { return true };
    // A named pipe that nobody has opened yet reads as one at its end.
    if !is_readable(&*fd) {
        return true;
    }
    let room = usize::try_from(running.shared().room).unwrap_or(usize::MAX);
    if room == 0 {
        return false;
    }
    let mut buffer = [0; READ_BYTES];
    let most = room.min(READ_BYTES).min(MAX_CHUNK_BYTES);
    match streams::read_now(fd, &mut buffer[..most]) {
        None => {
            *output = None;
            true
        }
        Some(0) => true,
        Some(count) => {
            let bytes = kept.take(running.id, &buffer[..count]).to_vec();
            if !bytes.is_empty() && !running.is_abandoned() {
                running.shared().room -= bytes.len() as u64;
                let (id, stream) = (running.id, kept.stream);
                port.send(&GuestMessage::Output { id, stream, bytes });
            }
            false
        }
    }
}

enum Fed {
    /// It takes more: by how much the host may send now.
    Open(u64),
    /// It has ended, or nobody reads it.
    Closed,
}

/// Hands input on as the program takes it.
fn feed(running: &Running, fd: &OwnedFd, granted: &mut u64) -> Fed {
    let mut shared = running.shared();
    while !shared.input.is_empty() {
        match rustix::io::write(fd, shared.input.as_slices().0) {
            Ok(count) => {
                shared.input.drain(..count);
                *granted = granted.saturating_sub(count as u64);
            }
            Err(rustix::io::Errno::AGAIN) => return Fed::Open(0),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Fed::Closed,
        }
    }
    if shared.input_ended {
        return Fed::Closed;
    }
    // A pipe's worth ahead of the program: Linux does not tell who waits to read.
    const AHEAD: u64 = 4096;
    let more = AHEAD.saturating_sub(*granted);
    *granted += more;
    Fed::Open(more)
}
