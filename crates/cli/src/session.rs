//! `ukernel session`: stateful sandboxes, kept by the daemon.

mod files;
mod pack;
mod shell;
mod unpack;

use crate::args::{Execution, GuestArg, Json, Session};
use crate::cancel::Cancel;
use crate::daemon::{ask, converse, prepare_linux};
use crate::failure::{Failure, INTERRUPTED, WORKLOAD};
use crate::run::print_json;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use ukernel_daemon::protocol::Request;
use ukernel_image::ImageName;
use ukernel_sandbox::session::{LostSession, MAX_FILE_BYTES, SessionInfo, SnapshotInfo};
use ukernel_sandbox::{ExecutionResult, ExecutionStatus, Guest};

/// `ukernel session ...`
pub fn session(command: &Session) -> Result<u8, Failure> {
    match command {
        Session::Create {
            name,
            guest,
            image,
            output,
        } => create(name.as_deref(), *guest, image.as_ref(), *output),
        Session::List { output } => list(*output),
        Session::Exec { session, execution } => execute(session, execution, false),
        Session::Bash { session, execution } => execute(session, execution, true),
        Session::Shell { session } => shell::shell(session),
        Session::Interrupt { session, output } => {
            let session = session.clone();
            let value = ask(Request::Interrupt { session })?;
            let text = match value["interrupted"].as_bool() {
                Some(true) => "interrupted",
                _ => "nothing runs",
            };
            say(*output, &value, text)
        }
        Session::Put {
            session,
            source,
            target,
            output,
        } => files::put(session, source, target, *output),
        Session::Get {
            session,
            source,
            target,
            force,
            output,
        } => files::get(session, source, target, *force, *output),
        Session::Ls {
            session,
            path,
            output,
        } => files::ls(session, path, *output),
        Session::Mkdir {
            session,
            path,
            output,
        } => {
            let (session, path) = (session.clone(), path.clone());
            files::change(Request::Mkdir { session, path }, *output)
        }
        Session::Mv {
            session,
            from,
            to,
            output,
        } => {
            let (session, from, to) = (session.clone(), from.clone(), to.clone());
            files::change(Request::Mv { session, from, to }, *output)
        }
        Session::Rm {
            session,
            path,
            recursive,
            output,
        } => {
            let request = Request::Rm {
                session: session.clone(),
                path: path.clone(),
                recursive: *recursive,
            };
            files::change(request, *output)
        }
        Session::Snapshot {
            session,
            name,
            delete,
            output,
        } => {
            let (session, name) = (session.clone(), name.clone());
            let request = if *delete {
                Request::DeleteSnapshot {
                    session,
                    snapshot: name,
                }
            } else {
                Request::Snapshot { session, name }
            };
            let value = ask(request)?;
            say(*output, &value, text_of(&value["id"]))
        }
        Session::Snapshots { session, output } => snapshots(session, *output),
        Session::Rollback {
            session,
            snapshot,
            output,
        } => {
            let value = ask(Request::Rollback {
                session: session.clone(),
                snapshot: snapshot.clone(),
            })?;
            say(
                *output,
                &value,
                &format!("{session} is as it was at {snapshot}"),
            )
        }
        Session::Fork {
            session,
            count,
            from,
            names,
            output,
        } => {
            let value = ask(Request::Fork {
                session: session.clone(),
                from: from.clone(),
                count: *count,
                names: names.clone(),
            })?;
            let copies: Vec<SessionInfo> = parse(&value)?;
            let labels: Vec<String> = copies.iter().map(label).collect();
            say(*output, &value, &labels.join("\n"))
        }
        Session::Extend { session, output } => {
            let session = session.clone();
            let value = ask(Request::Extend { session })?;
            let left = value["remaining_s"].as_u64().unwrap_or(0);
            say(*output, &value, &format!("{left} s left"))
        }
        Session::Destroy { session, output } => {
            let session = session.clone();
            let value = ask(Request::Destroy { session })?;
            let receipt = value["receipt"].as_str();
            let text = receipt.map_or("destroyed".to_owned(), |receipt| {
                format!("destroyed; its receipt is {receipt}")
            });
            say(*output, &value, &text)
        }
    }
}

/// The document, or its text.
fn say(output: Json, value: &Value, text: &str) -> Result<u8, Failure> {
    if output.json {
        print_json(value)?;
    } else {
        print_line(text)?;
    }
    Ok(0)
}

fn print_line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(output_failed)
}

fn output_failed(error: io::Error) -> Failure {
    Failure::workload(format!("writing output: {error}"), None)
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn parse<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| {
        Failure::host(
            format!("the daemon answers in a way this program does not know: {error}"),
            "`ukernel serve --stop` ends the old one",
        )
    })
}

fn label(info: &SessionInfo) -> String {
    info.name
        .as_ref()
        .map_or_else(|| info.id.to_string(), ToString::to_string)
}

fn create(
    name: Option<&str>,
    guest: GuestArg,
    image: Option<&ImageName>,
    output: Json,
) -> Result<u8, Failure> {
    let (name, guest) = (name.map(ToOwned::to_owned), guest.into());
    if guest == Guest::Linux {
        prepare_linux(image)?;
    }
    let image = image.cloned();
    let value = ask(Request::Create { name, guest, image })?;
    let info: SessionInfo = parse(&value)?;
    say(output, &value, &label(&info))
}

fn list(output: Json) -> Result<u8, Failure> {
    let value = ask(Request::List)?;
    if output.json {
        print_json(&value)?;
        return Ok(0);
    }
    let sessions: Vec<SessionInfo> = parse(&value["sessions"])?;
    let lost: Vec<LostSession> = parse(&value["lost"])?;
    if sessions.is_empty() && lost.is_empty() {
        eprintln!("no sessions; `ukernel session create --name lab` makes one");
    }
    for info in sessions {
        let state = if info.is_running { "running" } else { "idle" };
        print_line(&format!(
            "{:<34} {state:<8} {:>4} commands {:>3} snapshots {:>5} min left  {}",
            label(&info),
            info.commands,
            info.snapshots,
            info.remaining_s / 60,
            info.recovered.unwrap_or_default(),
        ))?;
    }
    for lost in lost {
        let name = lost.name.map_or(lost.id, |name| name.to_string());
        print_line(&format!("{name:<34} lost     {}", lost.reason))?;
    }
    Ok(0)
}

fn snapshots(session: &str, output: Json) -> Result<u8, Failure> {
    let session = session.to_owned();
    let value = ask(Request::Snapshots { session })?;
    if output.json {
        print_json(&value)?;
        return Ok(0);
    }
    let snapshots: Vec<SnapshotInfo> = parse(&value)?;
    for snapshot in &snapshots {
        let parent = snapshots
            .iter()
            .find(|other| Some(other.id) == snapshot.parent)
            .map_or(String::new(), |parent| format!("from {}", parent.name));
        print_line(&format!(
            "{} {:<24} {:>8} KiB  {parent}",
            if snapshot.is_current { '*' } else { ' ' },
            snapshot.name.to_string(),
            snapshot.bytes / 1024,
        ))?;
    }
    Ok(0)
}

fn execute(session: &str, execution: &Execution, is_command: bool) -> Result<u8, Failure> {
    let code = match execution.code.as_str() {
        "-" => read_input()?,
        code => code.as_bytes().to_vec(),
    };
    let cancel = Cancel::install()?;
    let is_json = execution.output.json;
    let request = Request::Exec {
        session: session.to_owned(),
        is_command,
        timeout_ms: execution
            .timeout
            .map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        args: execution.args.clone(),
        environment: execution.environment.clone(),
        folder: execution.folder.clone(),
        has_input: execution.code != "-",
        terminal: None,
    };
    // Told in the document of a failure; a result brings its own.
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let answered = converse(
        request,
        &code,
        Box::new(io::stdin()),
        Some(&cancel),
        &mut |stream, bytes| match stream {
            "stdout" if is_json => stdout.write_all(bytes),
            _ if is_json => stderr.write_all(bytes),
            "stdout" => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            _ => io::stderr().write_all(bytes),
        },
    );
    let answer = match answered {
        Err(failure) if is_json => {
            print_json(&json!({
                "error": {
                    "kind": failure.kind(),
                    "message": failure.what(),
                    "hint": failure.hint(),
                },
                "stdout": String::from_utf8_lossy(&stdout),
                "stderr": String::from_utf8_lossy(&stderr),
            }))?;
            return Err(failure);
        }
        answered => answered?,
    };
    let result: ExecutionResult = parse(&answer)?;
    if is_json {
        print_json(&answer)?;
    } else {
        if let Some(value) = &result.value {
            print_line(value)?;
        }
        for part in &result.parts {
            eprintln!(
                "ukernel: the code showed {}, {} bytes; --json has it",
                part.media_type,
                part.bytes.len()
            );
        }
        for file in &result.files {
            eprintln!(
                "ukernel: {} was {} bytes; {} of them are in {} of the session",
                file.stream, file.bytes, file.kept_bytes, file.path
            );
        }
        if let Some(error) = &result.checkpoint_error {
            eprintln!("ukernel: the state before this command was not kept: {error}");
        }
    }
    Ok(match result.status {
        // The low eight bits, as every shell sees them.
        ExecutionStatus::Exited { code } => code.to_le_bytes()[0],
        ExecutionStatus::Exception { .. } => WORKLOAD,
        ExecutionStatus::Interrupted => INTERRUPTED,
    })
}

/// All of standard input, of at most what moves at once.
fn read_input() -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    io::stdin()
        .take(limit)
        .read_to_end(&mut content)
        .map_err(|error| Failure::usage(format!("-: {error}"), "give readable input"))?;
    if content.len() > MAX_FILE_BYTES {
        return Err(Failure::usage(
            "the code is longer than 256 MiB",
            "split it",
        ));
    }
    Ok(content)
}
