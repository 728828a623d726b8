//! The host's own Python, as a reference.

use crate::failure::Failure;
use crate::home;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The interpreter `python3` stands for: version managers put scripts in its place, which
/// would be measured along.
pub fn interpreter() -> Option<PathBuf> {
    let python = home::on_path("python3")?;
    let output = Command::new(python)
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_file().then_some(path)
}

/// A native Python that executes what it is sent, as a reference for round trips.
pub struct PythonProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Reads lines of source, runs each, flushes.
const LOOP: &str = "import sys\nfor line in sys.stdin:\n    exec(compile(line, 'bench', 'exec'), {})\n    sys.stdout.flush()\n";

impl PythonProcess {
    /// Starts one, if there is a `python3`.
    pub fn start() -> Result<Option<Self>, Failure> {
        let Some(python) = interpreter() else {
            return Ok(None);
        };
        let failed =
            |error: std::io::Error| Failure::host(format!("python3: {error}"), "see the message");
        let mut child = Command::new(python)
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
            output: BufReader::new(output),
        }))
    }

    /// Sends one line and waits for one line.
    pub fn round_trip(&mut self, source: &str) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::host(format!("python3: {error}"), "see the message");
        writeln!(self.input, "{source}").map_err(failed)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(failed)?;
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
