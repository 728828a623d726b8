//! A program on a terminal of its own: an interactive shell, or one command.

use crate::execution::{Running, follow};
use crate::launch;
use crate::port::Port;
use crate::streams::Ours;
use crate::worker::Watched;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io::Result;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Stdio;
use ukernel_abi::message::{Exec, Outcome, TerminalSize};

/// Runs `bash` on a new terminal; with a source, that command.
pub fn run(
    running: &Running,
    port: &Port,
    exec: &Exec,
    size: TerminalSize,
    user: u32,
) -> Result<()> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    resize(master.as_fd(), size)?;
    let terminal = ioctl_tiocgptpeer(&master, flags)?;
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
    let mut command = launch::command(user, "/bin/bash");
    command
        .arg("-l")
        .env("TERM", "xterm")
        .envs(exec.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(terminal.try_clone()?))
        .stdout(Stdio::from(terminal.try_clone()?))
        .stderr(Stdio::from(terminal));
    if !exec.source.is_empty() {
        let source = String::from_utf8_lossy(&exec.source);
        command.args(["-c", &source]);
    }
    if let Some(folder) = &exec.folder {
        command.current_dir(folder);
    }
    let (process, pid) = Watched::start(command)?;
    running.begin_on(pid, master.try_clone()?);
    let ours = Ours {
        input: exec.has_input.then(|| master.try_clone()).transpose()?,
        outputs: [Some(master), None],
    };
    let handle = process.handle.try_clone()?;
    let endings = [handle.as_fd()];
    follow(running, port, ours, u64::MAX, &endings, || {
        let code = process.code();
        Some(if running.is_interrupted() {
            Outcome::Interrupted
        } else {
            Outcome::Exited { code, value: None }
        })
    });
    Ok(())
}

/// Says how large the terminal is, which tells the program in front.
pub fn resize(terminal: BorrowedFd<'_>, size: TerminalSize) -> Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}
