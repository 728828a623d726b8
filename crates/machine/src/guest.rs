//! The guest inside a machine: greeting it, running code, moving files.

use crate::calls::{Answers, HostCall, Incoming};
use crate::{Channel, Machine, MachineError, Result};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};
use ukernel_abi::message::{
    GuestMessage, HostMessage, LogLevel, MAX_CHUNK_BYTES, MAX_INLINE_SOURCE_BYTES, Mode, Outcome,
    PROTOCOL_VERSION, SessionToken, Source, SpilledOutput, Stream, TraceRecord,
};

/// How long a guest may take to say hello: a cold boot on a loaded host.
const GREETING_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a guest may take to move one chunk of a file.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where sources too long for one message are put.
const SOURCE_PATH: &str = "/tmp/.source";

/// Code to run.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// File name for tracebacks.
    pub name: &'a str,
    /// The source, in the encoding its language says.
    pub source: &'a [u8],
    /// Its arguments, without its name.
    pub args: &'a [String],
    /// How it is run.
    pub mode: Mode,
    /// Bytes of each output stream that are handed on; a stream that writes more goes to a
    /// file of the guest.
    pub inline_output_bytes: u64,
    /// What its host calls show. Without one it has none.
    pub token: Option<SessionToken>,
}

impl<'a> Program<'a> {
    /// A program without arguments whose output is handed on, all of it.
    #[must_use]
    pub fn new(name: &'a str, source: &'a [u8]) -> Self {
        Self {
            name,
            source,
            args: &[],
            mode: Mode::Program,
            inline_output_bytes: u64::MAX,
            token: None,
        }
    }
}

/// How a program ended, and what it left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Output too long to be handed on.
    pub spilled: Vec<SpilledOutput>,
}

/// When to give up waiting for an execution.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until<'a> {
    /// The time limit.
    pub deadline: Option<Instant>,
    /// Becomes readable when the caller wants to stop.
    pub cancel: Option<BorrowedFd<'a>>,
    /// Answers to its host calls.
    pub answers: Option<&'a Answers>,
}

/// Something a running program said.
#[derive(Debug)]
pub enum Event {
    /// It wrote output.
    Output(Stream, Vec<u8>),
    /// It logged.
    Log(LogLevel, String),
    /// It traced, at this moment of its monotonic clock, nanoseconds.
    Trace(u64, TraceRecord),
    /// It asks for something and waits: the answer goes to [`Until::answers`].
    Call(HostCall),
}

/// A greeted guest.
#[derive(Debug)]
pub struct Guest {
    channel: Channel,
    name: String,
    next: u32,
    /// The execution that was started and has not been seen to end.
    running: Option<u32>,
    /// Its host calls of which parts have come.
    calls: Incoming,
}

impl Guest {
    /// Greets the guest and makes it an individual: fresh entropy, the time, an identity.
    ///
    /// # Errors
    /// [`MachineError::Version`], and those of [`Channel::receive`].
    pub fn greet(mut channel: Channel) -> Result<Self> {
        let deadline = Some(Instant::now() + GREETING_TIMEOUT);
        channel.send_greeting()?;
        let name = match channel.receive(deadline, None)? {
            GuestMessage::Hello {
                version: PROTOCOL_VERSION,
                guest,
            } => guest,
            GuestMessage::Hello { version, .. } => {
                return Err(MachineError::Version {
                    theirs: version,
                    ours: PROTOCOL_VERSION,
                });
            }
            other => return Err(unexpected(&other)),
        };
        match channel.receive(deadline, None)? {
            GuestMessage::Ready => Ok(Self {
                channel,
                name,
                next: 1,
                running: None,
                calls: Incoming::default(),
            }),
            GuestMessage::Refused { reason } => Err(MachineError::Refused(reason)),
            other => Err(unexpected(&other)),
        }
    }

    /// What runs there, for people: `ukernel/0.1.0 python`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a program to its end, handing on what it says as it comes. `events` may fail
    /// to stop waiting.
    ///
    /// # Errors
    /// [`MachineError::TimedOut`] and [`MachineError::Cancelled`] leave the program
    /// running: end the machine. Those of [`Channel::receive`], and of `events`.
    pub fn exec(
        &mut self,
        program: &Program<'_>,
        until: Until<'_>,
        events: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Ended> {
        let id = self.take_number();
        let source = if program.source.len() <= MAX_INLINE_SOURCE_BYTES {
            Source::Inline(program.source.to_vec())
        } else {
            self.write_file(SOURCE_PATH, program.source)?;
            Source::File(SOURCE_PATH.to_owned())
        };
        self.channel.send(&HostMessage::Exec {
            id,
            source,
            name: program.name.to_owned(),
            args: program.args.to_vec(),
            mode: program.mode,
            inline_output_bytes: program.inline_output_bytes,
            token: program.token,
        })?;
        self.running = Some(id);
        self.calls = Incoming::default();
        self.follow(id, until, events)
    }

    /// Interrupts the program that [`Self::exec`] stopped waiting for, and waits for its end:
    /// in Python, KeyboardInterrupt. State is kept. `machine` is the machine of this guest.
    ///
    /// # Errors
    /// [`MachineError::TimedOut`] if it does not end until `until`: it caught the interrupt,
    /// or cannot be reached where it is. End the machine. Those of [`Self::exec`].
    pub fn interrupt(
        &mut self,
        machine: &mut dyn Machine,
        until: Until<'_>,
        events: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Ended> {
        let Some(id) = self.running else {
            return Err(MachineError::Unexpected("nothing is running".to_owned()));
        };
        // Heard by a program that waits; one that computes is reached from outside.
        self.channel.send(&HostMessage::Cancel { id })?;
        machine.interrupt()?;
        self.follow(id, until, events)
    }

    /// Hands on what execution `id` says, to its end.
    fn follow(
        &mut self,
        id: u32,
        until: Until<'_>,
        events: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<Ended> {
        let wake = until.answers.map(Answers::wake);
        loop {
            let received = self
                .channel
                .receive_or_wake(until.deadline, until.cancel, wake)?;
            let Some(message) = received else {
                if let Some(answers) = until.answers {
                    answers.send(&mut self.channel)?;
                }
                continue;
            };
            match message {
                GuestMessage::Call {
                    id: from,
                    call,
                    token,
                    name,
                    length,
                    bytes,
                } if from == id && until.answers.is_some() => {
                    let call = HostCall {
                        number: call,
                        token,
                        name,
                        payload: Vec::new(),
                    };
                    if let Some(call) = self.calls.begin(call, length, bytes)? {
                        events(Event::Call(call))?;
                    }
                }
                GuestMessage::CallPart { call, bytes } => {
                    if let Some(call) = self.calls.push(call, &bytes)? {
                        events(Event::Call(call))?;
                    }
                }
                GuestMessage::Output {
                    id: from,
                    stream,
                    bytes,
                } if from == id => {
                    events(Event::Output(stream, bytes))?;
                }
                GuestMessage::Log { level, message } => events(Event::Log(level, message))?,
                GuestMessage::Trace { at_ns, record } => events(Event::Trace(at_ns, record))?,
                GuestMessage::Done {
                    id: from,
                    outcome,
                    spilled,
                } if from == id => {
                    self.running = None;
                    return Ok(Ended { outcome, spilled });
                }
                GuestMessage::Refused { reason } => return Err(MachineError::Refused(reason)),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Writes a whole file, in chunks, making the folders above it.
    ///
    /// # Errors
    /// [`MachineError::GuestFile`], and those of [`Channel::receive`].
    pub fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let mut offset = 0;
        loop {
            let end = content.len().min(offset + MAX_CHUNK_BYTES);
            let request = self.take_number();
            self.channel.send(&HostMessage::FileWrite {
                request,
                path: path.to_owned(),
                offset: offset as u64,
                truncate: offset == 0,
                bytes: content[offset..end].to_vec(),
            })?;
            match self.answer(FILE_TIMEOUT)? {
                GuestMessage::FileWritten {
                    request: answered,
                    result,
                } if answered == request => {
                    result.map_err(|cause| MachineError::GuestFile {
                        path: path.to_owned(),
                        cause,
                    })?;
                }
                other => return Err(unexpected(&other)),
            }
            offset = end;
            if offset == content.len() {
                return Ok(());
            }
        }
    }

    /// Reads a whole file of at most `max_bytes`; longer ones are cut off there.
    ///
    /// # Errors
    /// [`MachineError::GuestFile`], and those of [`Channel::receive`].
    pub fn read_file(&mut self, path: &str, max_bytes: usize) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        while content.len() < max_bytes {
            let request = self.take_number();
            let wanted = (max_bytes - content.len()).min(MAX_CHUNK_BYTES);
            self.channel.send(&HostMessage::FileRead {
                request,
                path: path.to_owned(),
                offset: content.len() as u64,
                max_bytes: u32::try_from(wanted).unwrap_or(u32::MAX),
            })?;
            match self.answer(FILE_TIMEOUT)? {
                GuestMessage::FileContent {
                    request: answered,
                    result,
                } if answered == request
                    && result.as_ref().is_ok_and(|bytes| bytes.len() > wanted) =>
                {
                    return Err(MachineError::Unexpected(
                        "more bytes than were asked for".to_owned(),
                    ));
                }
                GuestMessage::FileContent {
                    request: answered,
                    result,
                } if answered == request => {
                    let bytes = result.map_err(|cause| MachineError::GuestFile {
                        path: path.to_owned(),
                        cause,
                    })?;
                    if bytes.is_empty() {
                        break;
                    }
                    content.extend_from_slice(&bytes);
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(content)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// Those of [`Channel::receive`].
    pub fn ping(&mut self, timeout: Duration) -> Result<()> {
        let nonce = u64::from(self.take_number());
        self.channel.send(&HostMessage::Ping { nonce })?;
        match self.answer(timeout)? {
            GuestMessage::Pong { nonce: answered } if answered == nonce => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The answer to a request. What tasks say that outlived their program is passed over.
    fn answer(&mut self, timeout: Duration) -> Result<GuestMessage> {
        let deadline = Some(Instant::now() + timeout);
        loop {
            match self.channel.receive(deadline, None)? {
                GuestMessage::Log { .. } | GuestMessage::Trace { .. } => {}
                answer => return Ok(answer),
            }
        }
    }

    fn take_number(&mut self) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }
}

fn unexpected(message: &GuestMessage) -> MachineError {
    let text = format!("{message:?}");
    MachineError::Unexpected(text.chars().take(200).collect())
}
