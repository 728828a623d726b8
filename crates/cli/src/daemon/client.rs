//! Reaching the daemon, starting it if nobody serves.

use super::place::Place;
use super::protocol::{Answered, Asked, MAX_HEAD_BYTES, Reply, Request};
use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::failure::Failure;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to serve: it brings sessions back first.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a daemon may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest body of an answer.
const MAX_BODY_BYTES: u64 = 512 << 20;

/// What came of a request.
pub struct Answer {
    /// What the daemon said.
    pub value: Value,
    /// What came with it.
    pub body: Vec<u8>,
}

/// Asks the daemon. `output` gets pieces of output; on Ctrl-C the execution is interrupted.
pub fn ask(
    request: Request,
    body: &[u8],
    cancel: Option<&Cancel>,
    output: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<Answer, Failure> {
    let stream = connect()?;
    converse(&stream, request, body, cancel, output)
}

fn converse(
    stream: &UnixStream,
    request: Request,
    body: &[u8],
    cancel: Option<&Cancel>,
    output: &mut dyn FnMut(&str, &[u8]) -> io::Result<()>,
) -> Result<Answer, Failure> {
    let broken = |error: io::Error| {
        Failure::workload(
            format!("the daemon went away: {error}"),
            Some("`ukernel session list` says what it left".to_owned()),
        )
    };
    let asked = Asked {
        request,
        body: body.len() as u64,
    };
    let mut head = serde_json::to_vec(&asked)
        .map_err(|error| Failure::workload(format!("the request: {error}"), None))?;
    if head.len() >= MAX_HEAD_BYTES {
        return Err(Failure::usage(
            "the request is too long",
            "use shorter names",
        ));
    }
    head.push(b'\n');
    let mut writer = stream;
    // A daemon that refuses a body says why before it has read all of it.
    let sent = writer
        .write_all(&head)
        .and_then(|()| writer.write_all(body));
    let mut reader = BufReader::new(stream);
    loop {
        if let Some(cancel) = cancel {
            wait(stream, &reader, cancel).map_err(broken)?;
        }
        let answered = match receive(&mut reader) {
            Ok(answered) => answered,
            Err(error) => return Err(broken(sent.err().unwrap_or(error))),
        };
        let mut body = vec![0; usize::try_from(answered.body).unwrap_or(usize::MAX)];
        reader.read_exact(&mut body).map_err(broken)?;
        match answered.reply {
            Reply::Output { stream: name } => {
                if output(&name, &body).is_err() {
                    // Nobody reads our output any more, as in `| head`.
                    stream.shutdown(Shutdown::Write).map_err(broken)?;
                }
            }
            Reply::Done { value } => return Ok(Answer { value, body }),
            Reply::Failed {
                message,
                hint,
                exit_code,
                kind,
            } => return Err(Failure::with_code(message, hint, exit_code).of_kind(kind)),
        }
    }
}

fn receive(reader: &mut BufReader<&UnixStream>) -> io::Result<Answered> {
    let mut head = Vec::new();
    // An answer's head carries results: at most all inline output, escaped.
    reader.take(64 << 20).read_until(b'\n', &mut head)?;
    if head.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let answered: Answered = serde_json::from_slice(&head)?;
    if answered.body > MAX_BODY_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answered)
}

/// Waits for the daemon; on Ctrl-C tells it and goes on waiting.
fn wait(stream: &UnixStream, reader: &BufReader<&UnixStream>, cancel: &Cancel) -> io::Result<()> {
    if !reader.buffer().is_empty() {
        return Ok(());
    }
    let mut is_told = false;
    loop {
        let mut files = vec![PollFd::new(stream, PollFlags::IN)];
        if !is_told {
            files.push(PollFd::from_borrowed_fd(cancel.file(), PollFlags::IN));
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

/// A connection to the daemon, started if nobody serves.
fn connect() -> Result<UnixStream, Failure> {
    let place = Place::of_this_user()?;
    if let Ok(stream) = UnixStream::connect(place.socket()) {
        return Ok(stream);
    }
    // What takes long, and what can fail, is better done where it is seen.
    let config = crate::settings::sandbox(None, None)?;
    let engine = Engine::prefer(config.backend_preference.clone())?;
    drop(engine.template(config.machine_mib())?);
    start(&place)
}

fn start(place: &Place) -> Result<UnixStream, Failure> {
    let failed = |error: io::Error| {
        Failure::host(
            format!("the daemon cannot be started: {error}"),
            "try `ukernel serve` in another terminal",
        )
    };
    place.make().map_err(failed)?;
    let log = place.begin_log().map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    let spawn = || -> io::Result<std::process::Child> {
        Command::new(&program)
            .args(["serve", "--on-demand"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?)
            .current_dir("/")
            .process_group(0)
            .spawn()
    };
    let mut daemon = spawn().map_err(failed)?;
    let began = Instant::now();
    while began.elapsed() < START_TIMEOUT {
        if let Ok(stream) = UnixStream::connect(place.socket()) {
            return Ok(stream);
        }
        match daemon.try_wait().map_err(failed)? {
            None => std::thread::sleep(Duration::from_millis(2)),
            // Another one has the place: it comes up, or it is just going.
            Some(status) if status.success() => {
                std::thread::sleep(Duration::from_millis(100));
                if UnixStream::connect(place.socket()).is_err() {
                    daemon = spawn().map_err(failed)?;
                }
            }
            Some(status) => {
                return Err(Failure::host(
                    format!("the daemon ended ({status}): {}", place.log_tail()),
                    "try `ukernel serve` in another terminal",
                ));
            }
        }
    }
    Err(Failure::host(
        format!("the daemon does not answer: {}", place.log_tail()),
        "try `ukernel serve` in another terminal",
    ))
}

/// `ukernel serve --status`
pub fn status(place: &Place, is_json: bool) -> Result<u8, Failure> {
    let Ok(stream) = UnixStream::connect(place.socket()) else {
        return Err(Failure::workload(
            "no daemon serves",
            Some("`ukernel session` commands start it".to_owned()),
        ));
    };
    let value = converse(&stream, Request::Status, &[], None, &mut |_, _| Ok(()))?.value;
    if is_json {
        crate::run::print_json(&value)?;
        return Ok(0);
    }
    let pool = value["pool"].as_object().into_iter().flatten();
    let lines = ["version", "process", "sessions", "lost"]
        .iter()
        .map(|name| (*name, &value[*name]))
        .chain(pool.map(|(name, number)| (name.as_str(), number)));
    for (name, number) in lines {
        let text = number.as_str().map_or(number.to_string(), str::to_owned);
        writeln!(io::stdout(), "{name:<20} {text}")
            .map_err(|error| Failure::workload(format!("writing output: {error}"), None))?;
    }
    Ok(0)
}

/// `ukernel serve --stop`
pub fn stop(place: &Place) -> Result<u8, Failure> {
    let Ok(mut stream) = UnixStream::connect(place.socket()) else {
        eprintln!("ukernel: no daemon serves");
        return Ok(0);
    };
    converse(&stream, Request::Stop, &[], None, &mut |_, _| Ok(()))?;
    let failed = |error: io::Error| Failure::workload(format!("stopping: {error}"), None);
    stream
        .set_read_timeout(Some(STOP_TIMEOUT))
        .map_err(failed)?;
    // It closes when the daemon is gone.
    match stream.read(&mut [0]) {
        Ok(0) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        Ok(_) => Err(failed(io::ErrorKind::InvalidData.into())),
        Err(error) => Err(failed(error)),
    }
}
