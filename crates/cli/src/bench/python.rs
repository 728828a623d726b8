//! The host's own Python, as a reference: of those on `PATH`, the one that is fastest at the program in question.

use crate::failure::Failure;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each candidate, of which the fastest counts.
const TRIALS: usize = 3;

/// An interpreter of the host, run in isolated mode (`-I`): without the user's modules and environment variables.
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// The interpreter of this host whose whole process is fastest at `source`, if there is any.
    pub fn fastest(source: &str) -> Option<Self> {
        let timed = candidates().into_iter().filter_map(|program| {
            let python = Self { program };
            let times = (0..TRIALS).map(|_| python.time(source));
            let best = times.collect::<Option<Vec<_>>>()?.into_iter().min()?;
            Some((best, python))
        });
        timed
            .min_by_key(|(best, _)| *best)
            .map(|(_, python)| python)
    }

    /// What it is called in figures.
    pub fn name(&self) -> String {
        format!("{} -I", self.program.display())
    }

    /// Program and arguments before those of a script.
    pub fn words(&self) -> [&Path; 2] {
        [&self.program, Path::new("-I")]
    }

    /// It, to be told what to run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-I");
        command
    }

    /// How long it takes to run `source`, if it can.
    fn time(&self, source: &str) -> Option<Duration> {
        let began = Instant::now();
        let mut command = self.command();
        let output = command.args(["-c", source]).output().ok()?;
        output.status.success().then(|| began.elapsed())
    }
}

/// The interpreters behind every `python3` and `python3.N` on `PATH`. Version managers put scripts in their place, which
/// would be measured along, so each is asked for its own file.
fn candidates() -> BTreeSet<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(Iterator::flatten)
        .filter(|entry| entry.file_name().to_str().is_some_and(is_python))
        .filter_map(|entry| {
            let asked = "import os, sys; print(os.path.realpath(sys.executable))";
            let mut command = Command::new(entry.path());
            let output = command.args(["-I", "-c", asked]).output().ok()?;
            let program = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
            program.is_file().then_some(program)
        })
        .collect()
}

/// Whether a program of this name is an interpreter of Python 3.
fn is_python(name: &str) -> bool {
    match name.strip_prefix("python3") {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('.')
            .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit())),
        None => false,
    }
}

/// A native Python that executes what it is sent, as a reference for a warm VM.
pub struct PythonProcess {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    name: String,
}

/// Reads lines of source, runs each, flushes.
const LOOP: &str = "import sys\nfor line in sys.stdin:\n    exec(compile(line, 'bench', 'exec'), {})\n    sys.stdout.flush()\n";

impl PythonProcess {
    /// Starts the one that is fastest at `source`, if there is a Python.
    pub fn start(source: &str) -> Result<Option<Self>, Failure> {
        let Some(python) = Python::fastest(source) else {
            return Ok(None);
        };
        let mut child = python
            .command()
            .args(["-c", LOOP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            child,
            input,
            output,
            name: format!("{} on pipes", python.name()),
        }))
    }

    /// What it is called in figures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends one line of source, and reads the `bytes` bytes that it prints.
    pub fn round_trip(&mut self, source: &str, bytes: usize) -> Result<(), Failure> {
        writeln!(self.input, "{source}").map_err(failed)?;
        let mut piece = vec![0; bytes.min(64 << 10)];
        let mut left = bytes;
        while left > 0 {
            let most = left.min(piece.len());
            match self.output.read(&mut piece[..most]).map_err(failed)? {
                0 => return Err(Failure::host("python3 ended", "see what it printed")),
                read => left -= read,
            }
        }
        Ok(())
    }
}

impl Drop for PythonProcess {
    fn drop(&mut self) {
        // Gone already is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failed(error: std::io::Error) -> Failure {
    Failure::host(format!("python3: {error}"), "see the message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_by_name() {
        for name in ["python3", "python3.11", "python3.9"] {
            assert!(is_python(name), "{name}");
        }
        for name in [
            "python",
            "python2.7",
            "python3-config",
            "python3.11-config",
            "python3.",
        ] {
            assert!(!is_python(name), "{name}");
        }
    }
}
