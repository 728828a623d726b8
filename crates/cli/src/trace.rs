//! `ukernel trace`: a trajectory as a tree, in the terminal or as a page.

use crate::args::{Trace, TraceFile};
use crate::failure::Failure;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use ukernel_trajectory::read::read;
use ukernel_trajectory::{html, text, tree::Run};

/// Shows a trajectory.
pub fn trace(trace: &Trace) -> Result<u8, Failure> {
    match trace {
        Trace::Show { file, full } => show(file, *full),
        Trace::Html { file, output } => page(file, output),
    }
}

fn load(file: &TraceFile) -> Result<Run, Failure> {
    let path = find(&file.file)?;
    let trajectory = read(&path).map_err(|error| Failure::usage(&error, error.hint()))?;
    Ok(Run::of(trajectory))
}

/// A file, or a run that was kept, by the beginning of its name.
fn find(name: &Path) -> Result<PathBuf, Failure> {
    if name.exists() {
        return Ok(name.to_owned());
    }
    let folder = crate::home::state()?.join("trajectories");
    let wanted = name.to_string_lossy().into_owned();
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy());
            wanted.len() >= 4 && stem.is_some_and(|stem| stem.starts_with(&wanted))
        })
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(path), true) => Ok(path),
        (Some(_), false) => Err(Failure::usage(
            format!("several runs begin with {wanted}"),
            "name more of it",
        )),
        (None, _) => Err(Failure::usage(
            format!("there is no file {}", name.display()),
            format!(
                "name one that --trace wrote, or a run in {}",
                folder.display()
            ),
        )),
    }
}

fn show(file: &TraceFile, full: bool) -> Result<u8, Failure> {
    let run = load(file)?;
    let out = std::io::stdout();
    let style = text::Style {
        colour: out.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        width: columns(),
        full,
    };
    let shown = text::show(&run, style);
    match out.lock().write_all(shown.as_bytes()) {
        // `| head` has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::host(error, "standard output is closed"))
        }
        _ => Ok(0),
    }
}

/// Columns of the terminal; wide where there is none.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(120, |size| usize::from(size.ws_col).clamp(40, 400))
}

fn page(file: &TraceFile, output: &Path) -> Result<u8, Failure> {
    let page = html::page(&load(file)?);
    if output == Path::new("-") {
        return std::io::stdout()
            .write_all(page.as_bytes())
            .map(|()| 0)
            .map_err(|error| Failure::host(error, "standard output is closed"));
    }
    std::fs::write(output, page).map(|()| 0).map_err(|error| {
        Failure::host(
            format!("{}: {error}", output.display()),
            "name a file that can be written",
        )
    })
}
