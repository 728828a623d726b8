//! Whole processes: `ukernel run` beside what else runs a Python file.

use super::figure::Figure;
use super::python::Python;
use super::{Setting, ms_since};
use crate::failure::Failure;
use crate::home;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A program that says hello.
const HELLO: &str = "print('hello')\n";

/// `ukernel run hello.py`, warm, beside `python3`, and bubblewrap where there is one.
pub fn run_hello(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let file = setting.engine.scratch("hello.py", HELLO)?;
    let this = std::env::current_exe()
        .map_err(|error| Failure::host(error, "this program's own file cannot be found"))?;
    let ours = || {
        let mut command = Command::new(&this);
        command
            .args(["run", "--backend", setting.engine.backend_name()])
            .arg(&file);
        command
    };
    // The first run stores the template.
    timed(&mut ours())?;
    let python = Python::fastest(HELLO);
    let bubblewrap = python.as_ref().and(home::on_path("bwrap"));
    let (mut samples, mut native, mut wrapped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting.runs(60) {
        samples.push(timed(&mut ours())?);
        if let Some(python) = &python {
            native.push(timed(python.command().arg(&file))?);
        }
        if let (Some(bubblewrap), Some(python)) = (&bubblewrap, &python) {
            let mut command = Command::new(bubblewrap);
            command
                .args(["--ro-bind", "/", "/", "--unshare-all", "--die-with-parent"])
                .args(python.words())
                .arg(&file);
            wrapped.push(timed(&mut command)?);
        }
    }
    let name = python.as_ref().map(Python::name).unwrap_or_default();
    Ok(vec![
        Figure::new(
            "run: ukernel run hello.py, warm, whole process",
            "ms",
            &samples,
        )
        .goals(40.0, 60.0)
        .against(&name, &native)
        .against(format!("bubblewrap with {name}"), &wrapped),
    ])
}

/// Milliseconds one whole process takes; it must say hello.
fn timed(command: &mut Command) -> Result<f64, Failure> {
    let began = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::host(format!("{command:?}: {error}"), "see the message"))?;
    let took = ms_since(began);
    if output.stdout != b"hello\n" || !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::workload(
            format!("{command:?} did not say hello: {said}"),
            None,
        ));
    }
    Ok(took)
}
