//! Reaching the daemon, and starting it.

use crate::protocol::{
    Answered, Asked, Greeting, MAX_GREETING_BYTES, MAX_HEAD_BYTES, MAX_INPUT_BYTES, Reply, Request,
};
use crate::{DaemonError, Place, Result};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use ukernel_machine::wait;

/// How long a daemon may take to serve: it brings sessions back first.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a daemon may take to greet.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a daemon may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest body of an answer.
const MAX_BODY_BYTES: u64 = 512 << 20;

/// Longest head of an answer. It carries results: at most all inline output, escaped.
const MAX_ANSWER_HEAD_BYTES: u64 = 64 << 20;

/// Takes pieces of output as they come: the stream's name, and the bytes.
pub type Output<'a> = &'a mut dyn FnMut(&str, &[u8]) -> io::Result<()>;

/// What the daemon is sent piece by piece, when it asks: standard input, or an archive.
pub type Input = Box<dyn Read + Send>;

/// A connection to a daemon that has greeted, good for one request.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    greeting: Greeting,
}

impl Client {
    /// A connection to the daemon of this place, if there is one.
    ///
    /// # Errors
    /// [`DaemonError::Silent`] if it does not greet.
    pub fn connect(place: &Place) -> Result<Option<Self>> {
        let Ok(stream) = UnixStream::connect(place.socket()) else {
            return Ok(None);
        };
        match greeting(&stream) {
            Ok(Some(greeting)) => Ok(Some(Self { stream, greeting })),
            // It has ended, or is ending.
            Ok(None) => Ok(None),
            Err(error) => Err(DaemonError::Silent(error)),
        }
    }

    /// This connection, if the daemon is of our release.
    ///
    /// # Errors
    /// [`DaemonError::OtherVersion`].
    pub fn of_our_version(self) -> Result<Self> {
        if self.greeting == Greeting::own() {
            return Ok(self);
        }
        let version = self.greeting.version;
        Err(DaemonError::OtherVersion { version })
    }

    /// Starts a daemon by `command`, which is to take this place and serve, and waits until it
    /// does. It outlives this process; its standard error is its log.
    ///
    /// # Errors
    /// [`DaemonError::Start`], [`DaemonError::Ended`], [`DaemonError::NoAnswer`],
    /// [`DaemonError::Silent`].
    pub fn start(place: &Place, command: &mut Command) -> Result<Self> {
        place.make().map_err(DaemonError::Start)?;
        let log = place.begin_log().map_err(DaemonError::Start)?;
        let mut spawn = || -> io::Result<Child> {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.try_clone()?)
                .current_dir("/")
                .process_group(0)
                .spawn()
        };
        let mut daemon = spawn().map_err(DaemonError::Start)?;
        let deadline = Instant::now() + START_TIMEOUT;
        let started = wait::until(deadline, Duration::from_millis(2), || {
            if let Some(client) = Self::connect(place)? {
                return Ok(Some(client));
            }
            match daemon.try_wait().map_err(DaemonError::Start)? {
                None => {}
                // Another one has the place: it comes up, or it is just going.
                Some(status) if status.success() => {
                    std::thread::sleep(Duration::from_millis(100));
                    if UnixStream::connect(place.socket()).is_err() {
                        daemon = spawn().map_err(DaemonError::Start)?;
                    }
                }
                Some(status) => {
                    let log = place.log_tail();
                    return Err(DaemonError::Ended { status, log });
                }
            }
            Ok(None)
        })?;
        started.ok_or_else(|| DaemonError::NoAnswer {
            log: place.log_tail(),
        })
    }

    /// Asks, and says what came of it. When `cancel` becomes readable the execution that was
    /// asked for is interrupted.
    ///
    /// # Errors
    /// [`DaemonError::Failed`], [`DaemonError::Gone`], [`DaemonError::RequestTooLong`].
    pub fn ask(
        self,
        request: Request,
        body: &[u8],
        input: Input,
        cancel: Option<BorrowedFd<'_>>,
        output: Output<'_>,
    ) -> Result<Value> {
        converse(&self.stream, request, body, input, cancel, output)
    }

    /// Ends the daemon and waits until it has.
    ///
    /// # Errors
    /// [`DaemonError::Gone`], [`DaemonError::NotEnding`].
    pub fn stop(mut self) -> Result<()> {
        let input = Box::new(io::empty());
        converse(
            &self.stream,
            Request::Stop,
            &[],
            input,
            None,
            &mut |_, _| Ok(()),
        )?;
        self.stream
            .set_read_timeout(Some(STOP_TIMEOUT))
            .map_err(DaemonError::NotEnding)?;
        // It closes when the daemon is gone.
        match self.stream.read(&mut [0]) {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => Err(DaemonError::NotEnding(io::ErrorKind::InvalidData.into())),
            Err(error) => Err(DaemonError::NotEnding(error)),
        }
    }
}

/// What the daemon says first; `None` if it hangs up before.
fn greeting(stream: &UnixStream) -> io::Result<Option<Greeting>> {
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    let mut line = Vec::new();
    // Nothing else comes before we have asked: what is buffered beyond the line is nothing.
    let mut reader = BufReader::new(stream).take(MAX_GREETING_BYTES);
    match reader.read_until(b'\n', &mut line) {
        Ok(_) if line.ends_with(b"\n") => {}
        Ok(_) if (line.len() as u64) < MAX_GREETING_BYTES => return Ok(None),
        Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error),
    }
    stream.set_read_timeout(None)?;
    Ok(Some(serde_json::from_slice(&line)?))
}

fn converse(
    stream: &UnixStream,
    request: Request,
    body: &[u8],
    input: Input,
    cancel: Option<BorrowedFd<'_>>,
    output: Output<'_>,
) -> Result<Value> {
    let asked = Asked {
        request,
        body: body.len() as u64,
    };
    let mut head = serde_json::to_vec(&asked).map_err(|error| DaemonError::Gone(error.into()))?;
    if head.len() >= MAX_HEAD_BYTES {
        return Err(DaemonError::RequestTooLong);
    }
    head.push(b'\n');
    let mut writer = stream;
    // A daemon that refuses a body says why before it has read all of it.
    let sent = writer
        .write_all(&head)
        .and_then(|()| writer.write_all(body));
    let mut reader = BufReader::new(stream);
    let mut input = Some(input);
    let mut sender = None;
    loop {
        if let Some(cancel) = cancel {
            wait(stream, &reader, cancel).map_err(DaemonError::Gone)?;
        }
        let answered = match receive(&mut reader) {
            Ok(answered) => answered,
            Err(error) => return Err(DaemonError::Gone(sent.err().unwrap_or(error))),
        };
        let mut body = vec![0; usize::try_from(answered.body).unwrap_or(usize::MAX)];
        reader.read_exact(&mut body).map_err(DaemonError::Gone)?;
        match answered.reply {
            Reply::Output { stream: name } => {
                if output(&name, &body).is_err() {
                    // Nobody reads our output any more, as in `| head`.
                    stream
                        .shutdown(Shutdown::Write)
                        .map_err(DaemonError::Gone)?;
                }
            }
            Reply::Input => {
                if let Some(input) = input.take() {
                    sender = Some(send_input(stream, input).map_err(DaemonError::Gone)?);
                }
                if let Some(sender) = &sender {
                    // Fails when the thread has ended: then the input had, and the daemon knows.
                    let _ = sender.send(());
                }
            }
            Reply::Done { value } => return Ok(value),
            Reply::Failed { kind, message } => return Err(DaemonError::Failed { kind, message }),
        }
    }
}

/// Starts a thread that sends a piece of input each time it is asked to, so that output is heard
/// meanwhile. It ends with the input; one that waits for input ends with the process.
fn send_input(stream: &UnixStream, mut input: Input) -> io::Result<mpsc::Sender<()>> {
    let mut stream = stream.try_clone()?;
    let (wanted, wants) = mpsc::channel();
    std::thread::Builder::new()
        .name("ukernel-input".to_owned())
        .spawn(move || {
            let mut piece = vec![0; 4 + MAX_INPUT_BYTES];
            while wants.recv().is_ok() {
                // What cannot be read has ended.
                let count = input.read(&mut piece[4..]).unwrap_or(0);
                let length = u32::try_from(count).unwrap_or(0);
                piece[..4].copy_from_slice(&length.to_le_bytes());
                if stream.write_all(&piece[..4 + count]).is_err() || count == 0 {
                    return;
                }
            }
        })?;
    Ok(wanted)
}

fn receive(reader: &mut BufReader<&UnixStream>) -> io::Result<Answered> {
    let mut head = Vec::new();
    reader
        .take(MAX_ANSWER_HEAD_BYTES)
        .read_until(b'\n', &mut head)?;
    if head.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let answered: Answered = serde_json::from_slice(&head)?;
    if answered.body > MAX_BODY_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answered)
}

/// Waits for the daemon; when `cancel` becomes readable tells it and goes on waiting.
fn wait(
    stream: &UnixStream,
    reader: &BufReader<&UnixStream>,
    cancel: BorrowedFd<'_>,
) -> io::Result<()> {
    if !reader.buffer().is_empty() {
        return Ok(());
    }
    let mut is_told = false;
    loop {
        let mut files = vec![PollFd::new(stream, PollFlags::IN)];
        if !is_told {
            files.push(PollFd::from_borrowed_fd(cancel, PollFlags::IN));
        }
        match poll(&mut files, None) {
            Ok(_) if !files[0].revents().is_empty() => return Ok(()),
            Ok(_) => {
                stream.shutdown(Shutdown::Write)?;
                is_told = true;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
