//! Files of a session, from the command line.

use super::{output_failed, parse, print_line, say};
use super::{pack, unpack};
use crate::args::Json;
use crate::cancel::Cancel;
use crate::daemon::{ask, converse};
use crate::failure::{Failure, INTERRUPTED, WORKLOAD};
use crate::run::print_json;
use crate::target;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use ukernel_abi::message::{FileEntry, FileKind};
use ukernel_daemon::protocol::Request;
use ukernel_sandbox::session::Moved;

/// `ukernel session put`
pub fn put(session: &str, source: &Path, to: &str, output: Json) -> Result<u8, Failure> {
    let shown = source.display().to_string();
    let source = pack::open(source)
        .map_err(|error| Failure::usage(format!("{shown}: {error}"), "give a file or folder"))?;
    let (reader, writer) = io::pipe().map_err(no_handles)?;
    let cancel = Cancel::install()?;
    let packing = thread::spawn(move || pack::pack(source, writer));
    let request = Request::Put {
        session: session.to_owned(),
        path: to.to_owned(),
    };
    let input = Box::new(reader);
    let answered = converse(request, &[], input, Some(&cancel), &mut |_, _| Ok(()));
    let packed = finish(packing);
    let value = answered.map_err(|failure| interrupted(&cancel, failure))?;
    let left_out = packed.map_err(|error| Failure::workload(format!("{shown}: {error}"), None))?;
    let mut moved: Moved = parse(&value)?;
    moved.left_out += left_out.left_out;
    moved.left_out_names.extend(left_out.left_out_names);
    report(&moved, output, true)
}

/// `ukernel session get`
pub fn get(
    session: &str,
    source: &str,
    to: &Path,
    force: bool,
    output: Json,
) -> Result<u8, Failure> {
    let is_stdout = to == Path::new("-");
    if !is_stdout {
        target::check(to, force)?;
    }
    let (reader, mut writer) = io::pipe().map_err(no_handles)?;
    // Standard output may wait for its reader, and a signal is to end that too.
    let cancel = if is_stdout {
        None
    } else {
        Some(Cancel::install()?)
    };
    let place = to.to_owned();
    let unpacking = thread::spawn(move || unpack::unpack(reader, &place));
    let request = Request::Get {
        session: session.to_owned(),
        path: source.to_owned(),
    };
    let input = Box::new(io::empty());
    let answered = converse(request, &[], input, cancel.as_ref(), &mut |_, piece| {
        writer.write_all(piece)
    });
    drop(writer);
    let unpacked = finish(unpacking);
    let failed = |error| match is_stdout {
        true => output_failed(error),
        false => Failure::workload(format!("{}: {error}", to.display()), None),
    };
    let staged = match (answered, unpacked) {
        // An archive that breaks off is how the daemon's failure shows here.
        (Err(failure), unpacked) => {
            let failure = match unpacked {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => failed(error),
                _ => failure,
            };
            return Err(match &cancel {
                Some(cancel) => interrupted(cancel, failure),
                None => failure,
            });
        }
        (Ok(value), unpacked) => (parse::<Moved>(&value)?, unpacked.map_err(failed)?),
    };
    let (moved, staged) = staged;
    if let Some(staged) = staged {
        target::name(staged, to, force)?;
    }
    report(&moved, output, !is_stdout)
}

/// `ukernel session ls`
pub fn ls(session: &str, path: &str, output: Json) -> Result<u8, Failure> {
    let value = ask(Request::Ls {
        session: session.to_owned(),
        path: path.to_owned(),
    })?;
    if output.json {
        print_json(&value)?;
        return Ok(0);
    }
    for entry in parse::<Vec<FileEntry>>(&value)? {
        // Names are the guest's, and terminals obey control characters.
        let name = entry.name.replace(char::is_control, "\u{fffd}");
        let (bytes, mark) = match entry.status.kind {
            FileKind::File => (entry.status.bytes.to_string(), ""),
            FileKind::Folder => ("-".to_owned(), "/"),
            FileKind::Link => ("-".to_owned(), "@"),
        };
        print_line(&format!("{bytes:>12} {name}{mark}"))?;
    }
    Ok(0)
}

/// A change of files that is only done or not: `mkdir`, `mv`, `rm`.
pub fn change(request: Request, output: Json) -> Result<u8, Failure> {
    let value = ask(request)?;
    if output.json {
        print_json(&value)?;
    }
    Ok(0)
}

/// Says what was moved. What was left out is named, and then the command has not succeeded.
fn report(moved: &Moved, output: Json, is_said: bool) -> Result<u8, Failure> {
    if is_said {
        let value: Value = json!(moved);
        let text = match moved.folders {
            0 => format!("{} bytes", moved.bytes),
            _ => format!("{} files, {} bytes", moved.files, moved.bytes),
        };
        say(output, &value, &text)?;
    }
    if moved.left_out == 0 {
        return Ok(0);
    }
    eprintln!(
        "ukernel: not copied as they are: {}, among them {}",
        moved.left_out,
        moved.left_out_names.join(", ")
    );
    Ok(WORKLOAD)
}

/// What a thread came to.
fn finish<R>(thread: thread::JoinHandle<io::Result<R>>) -> io::Result<R> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A failure, unless it is what a signal led to.
fn interrupted(cancel: &Cancel, failure: Failure) -> Failure {
    if cancel.token().is_cancelled() {
        return Failure::with_code("interrupted", None, INTERRUPTED);
    }
    failure
}

fn no_handles(error: io::Error) -> Failure {
    Failure::host(error, "the host is out of file handles")
}
