//! The persistent bash: folder, variables, functions and open files stay from one command to the next.
//!
//! It is an interactive one without a terminal, because only such a bash goes on after an interrupt. It reads lines of
//! ours; what it runs for a caller has streams of its own, named pipes that `source` redirects.

use crate::execution::{Running, follow};
use crate::launch;
use crate::port::{Port, is_readable};
use crate::streams::Ours;
use crate::worker::{CONTROL_FD, Worker};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{Read, Result, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ukernel_abi::message::{Exec, Outcome};

/// Where commands and their pipes are.
const PLACE: &str = "/run/ukernel/bash";
/// What a command of the shell reads if nothing else was given to it.
pub const INPUT: &str = "/run/ukernel/bash/in";
/// Where the shell has the input of a command open until it runs.
const INPUT_FD: i32 = 8;
/// How long that may take.
const OPEN: Duration = Duration::from_secs(10);
/// What a new bash is told: no prompts, no history, and its number for randomness.
const START: &str =
    "PS1= PS2= PROMPT_COMMAND=; set +o history; unset HISTFILE; shopt -u huponexit\n";

/// The shell; executions take turns.
#[derive(Default)]
pub struct Bash(Mutex<Option<Worker>>);

impl Bash {
    fn start() -> Result<Worker> {
        fs::create_dir_all(PLACE)?;
        let mut worker = Worker::start("/bin/bash", |command| {
            // It reads its lines from the control socket, and says there how commands ended.
            let script = format!("exec /bin/bash --noprofile --norc -i <&{CONTROL_FD}");
            command.args(["-c", &script]);
        })?;
        worker.control.write_all(START.as_bytes())?;
        worker.control.write_all(b"printf 0 >&9\n")?;
        worker.control.read_exact(&mut [0])?;
        Ok(worker)
    }

    /// Runs a command and says how it ended.
    pub fn run(&self, running: &Running, port: &Port, exec: &Exec) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match slot.as_mut() {
            Some(worker) if !worker.process.has_ended() => worker,
            _ => slot.insert(Self::start()?),
        };
        let command = format!("{PLACE}/command");
        fs::write(&command, command_of(exec))?;
        fs::set_permissions(&command, fs::Permissions::from_mode(0o644))?;
        let (ours, pipes) = pipes(exec.has_input)?;
        let mut stdin = "/dev/null".to_owned();
        if exec.has_input {
            // The pipe keeps nothing that is written before the shell has it open, so that is waited for.
            let open = format!("exec {INPUT_FD}<{}; printf 0 >&{CONTROL_FD}\n", pipes[0]);
            worker.control.write_all(open.as_bytes())?;
            worker.control.set_read_timeout(Some(OPEN))?;
            worker.control.read_exact(&mut [0])?;
            worker.control.set_read_timeout(None)?;
            stdin = format!("&{INPUT_FD} {INPUT_FD}<&-");
        }
        let mut line = String::new();
        for (name, value) in &exec.environment {
            if is_name(name) {
                line.push_str(&format!("{name}={} ", quoted(value)));
            }
        }
        line.push_str(&format!(
            "source {command} <{stdin} >{} 2>{}\n",
            pipes[1], pipes[2]
        ));
        // A line of its own: an interrupt ends the line it meets.
        line.push_str("printf '%s\\n' \"$?\" >&9\n");
        if exec.has_input {
            line.push_str(&format!("exec {INPUT_FD}<&-\n"));
        }
        worker.control.write_all(line.as_bytes())?;
        running.begin(worker.group);
        let (control, process) = (
            worker.control.try_clone()?,
            worker.process.handle.try_clone()?,
        );
        let mut is_lost = false;
        let mut said = String::new();
        follow(
            running,
            port,
            ours,
            exec.inline_output_bytes,
            &[control.as_fd(), process.as_fd()],
            || {
                let mut buffer = [0; 64];
                let count = if is_readable(&worker.control) {
                    worker.control.read(&mut buffer).unwrap_or(0)
                } else {
                    0
                };
                if count == 0 {
                    // It has called `exit`, or was killed.
                    is_lost = true;
                    return Some(Outcome::Exited {
                        code: worker.process.code(),
                        value: None,
                    });
                }
                said.push_str(&String::from_utf8_lossy(&buffer[..count]));
                let code: i32 = said.strip_suffix('\n')?.trim().parse().unwrap_or(1);
                Some(if running.is_interrupted() && code == 130 {
                    Outcome::Interrupted
                } else {
                    Outcome::Exited { code, value: None }
                })
            },
        );
        for pipe in pipes {
            let _ = fs::remove_file(pipe);
        }
        if is_lost {
            *slot = None;
        }
        Ok(())
    }

    /// Gives it new randomness: it is a twin of others.
    pub fn reseed(&self, seed: [u8; 32]) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(worker) = slot.as_mut() else { return };
        let [a, b, c, d, ..] = seed;
        let seed = u32::from_le_bytes([a, b, c, d]);
        if worker
            .control
            .write_all(format!("RANDOM={seed}\n").as_bytes())
            .is_err()
        {
            *slot = None;
        }
    }

    /// Starts it ahead of need.
    pub fn prepare(&self) -> Result<()> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Self::start()?);
        }
        Ok(())
    }
}

/// What `source` reads.
fn command_of(exec: &Exec) -> Vec<u8> {
    let mut command = Vec::new();
    if let Some(folder) = &exec.folder {
        command.extend_from_slice(format!("cd -- {} || return\n", quoted(folder)).as_bytes());
    }
    command.extend_from_slice(&exec.source);
    command.push(b'\n');
    command
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A word of a shell that stands for exactly this text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Named pipes, which a shell can open, and the agent's ends of them.
fn pipes(has_input: bool) -> Result<(Ours, [String; 3])> {
    let names = ["in", "out", "err"].map(|name| format!("{PLACE}/{name}"));
    let open = |path: &String, way: OFlags| -> Result<OwnedFd> {
        let _ = fs::remove_file(path);
        rustix::fs::mkfifoat(rustix::fs::CWD, path.as_str(), Mode::from(0o600))?;
        std::os::unix::fs::chown(path, Some(launch::USER), Some(launch::USER))?;
        let flags = way | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path.as_str(), flags, Mode::empty())?)
    };
    let [stdin, stdout, stderr] = &names;
    // Open for both, which does not wait for the shell.
    let input = if has_input {
        Some(open(stdin, OFlags::RDWR)?)
    } else {
        None
    };
    let outputs = [
        Some(open(stdout, OFlags::RDONLY)?),
        Some(open(stderr, OFlags::RDONLY)?),
    ];
    Ok((Ours { input, outputs }, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_word() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert!(is_name("_A1") && !is_name("1A") && !is_name("A B") && !is_name(""));
    }
}
