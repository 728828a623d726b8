//! A persistent interpreter: a process that carries out one execution after the other and keeps its state.

use crate::port::is_readable;
use crate::{launch, message};
use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{Error, IoSlice, Result, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// The interpreter's end of the control socket.
pub const CONTROL_FD: i32 = 9;

/// A running interpreter.
pub struct Worker {
    /// Requests go there, and replies come back.
    pub control: UnixStream,
    /// It, as a process.
    pub process: Watched,
    /// It and what it started.
    pub group: Pid,
    /// Its last execution was.
    pub was_interrupted: bool,
}

impl Worker {
    /// Starts a program as user code with the control socket open.
    pub fn start(program: &str, prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let mut command = launch::command(launch::USER, program);
        prepare(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mapping = FdMapping {
            parent_fd: theirs.into(),
            child_fd: CONTROL_FD,
        };
        command.fd_mappings(vec![mapping]).map_err(Error::other)?;
        let (process, group) = Watched::start(command)?;
        Ok(Self {
            control,
            process,
            group,
            was_interrupted: false,
        })
    }

    /// Sends a message: a header, bytes, and files beside it.
    pub fn send(&mut self, header: &[u8], payload: &[u8], files: &[OwnedFd]) -> Result<()> {
        let lengths = message::lengths(header, payload)?;
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(Error::other("too many files"));
        }
        let parts = [IoSlice::new(&lengths)];
        let sent = sendmsg(&self.control, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        if sent != lengths.len() {
            return Err(Error::other("a message was cut"));
        }
        self.control.write_all(header)?;
        self.control.write_all(payload)
    }

    /// Reads a message: its header and its bytes.
    pub fn receive(&mut self) -> Result<(Vec<u8>, Vec<u8>)> {
        let (header, length) = message::read_header(&self.control)?;
        let payload = message::read(&self.control, length)?;
        Ok((header, payload))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // What it started in the background goes on, as after a shell.
        let _ = rustix::process::kill_process(self.group, rustix::process::Signal::KILL);
    }
}

/// A child process whose end is seen by `poll`.
pub struct Watched {
    /// Readable when it has ended.
    pub handle: OwnedFd,
    status: Receiver<ExitStatus>,
}

impl Watched {
    /// Starts a program, and has it waited for on a thread, so that it is reaped whatever becomes of this. Nothing of the
    /// command is left: it holds the program's ends of pipes.
    pub fn start(mut command: Command) -> Result<(Self, Pid)> {
        let mut child = command.spawn()?;
        drop(command);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::other("a process without id"))?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        let (told, status) = channel();
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || {
                if let Ok(status) = child.wait() {
                    let _ = told.send(status);
                }
            })?;
        Ok((Self { handle, status }, pid))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        is_readable(&self.handle)
    }

    /// The code it ended with, as a shell says it. Waits for the end.
    pub fn code(&self) -> i32 {
        let status = self.status.recv().ok();
        status.map_or(1, |status| {
            let of_signal = status.signal().map(|signal| 128 + signal);
            status.code().or(of_signal).unwrap_or(1)
        })
    }
}
