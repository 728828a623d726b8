//! A program of its own: another process, whose variables nobody keeps.

use crate::execution::{Running, follow};
use crate::port::Port;
use crate::worker::Watched;
use crate::{launch, streams};
use std::fs;
use std::io::Result;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use ukernel_abi::message::{Exec, Outcome};

/// Where the sources of programs are while they run.
const PLACE: &str = "/run/ukernel/programs";

/// Runs a Python program to its end, as a user.
pub fn run(running: &Running, port: &Port, exec: &Exec, id: u32, user: u32) -> Result<()> {
    let folder = PathBuf::from(format!("{PLACE}/{id}"));
    fs::create_dir_all(&folder)?;
    let name = Path::new(&exec.name)
        .file_name()
        .unwrap_or("main.py".as_ref());
    let source = folder.join(name);
    fs::write(&source, &exec.source)?;
    let ran = run_file(running, port, exec, &source, user);
    // It may have gone already.
    let _ = fs::remove_dir_all(&folder);
    ran
}

fn run_file(running: &Running, port: &Port, exec: &Exec, source: &Path, user: u32) -> Result<()> {
    let (ours, theirs) = streams::make(exec.has_input)?;
    let [stdin, stdout, stderr] = theirs.0;
    let mut command = launch::command(user, "/usr/bin/python3");
    command
        .arg(source)
        .args(&exec.args)
        .envs(exec.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr));
    if let Some(folder) = &exec.folder {
        command.current_dir(folder);
    }
    let (process, pid) = Watched::start(command)?;
    running.begin(pid);
    let handle = process.handle.try_clone()?;
    follow(
        running,
        port,
        ours,
        exec.inline_output_bytes,
        &[handle.as_fd()],
        || {
            let code = process.code();
            Some(if code == 130 && running.is_interrupted() {
                Outcome::Interrupted
            } else {
                Outcome::Exited { code, value: None }
            })
        },
    );
    Ok(())
}
