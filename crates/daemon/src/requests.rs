//! What the daemon does for a client.

use crate::connection::{Ears, Mouth};
use crate::protocol::{FailureKind, Reply, Request};
use crate::transfer;
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::environment::{InputSource, Stream};
use ukernel_sandbox::session::{Create, Session, SessionManager};
use ukernel_sandbox::{
    Environment, ExecutionContext, ExecutionEnvironment, ExecutionResult, SandboxError, SessionName,
};

/// Pieces of output that may wait for a client; then the guest waits.
const OUTPUT_QUEUE: usize = 64;

/// Answers one request of user `owner`.
pub async fn answer(
    sessions: &SessionManager,
    owner: u32,
    request: Request,
    body: Vec<u8>,
    ears: &mut Ears,
    mouth: &mut Mouth,
) -> io::Result<()> {
    let find = |key: &str| sessions.find(owner, key);
    let done = match request {
        Request::Exec {
            session,
            is_command,
            timeout_ms,
            args,
            environment,
            folder,
            has_input,
            terminal,
        } => {
            let ran = match find(&session) {
                Ok(session) => {
                    let context = ExecutionContext {
                        timeout: timeout_ms.map(Duration::from_millis),
                        args,
                        environment,
                        folder,
                        terminal,
                        ..ExecutionContext::default()
                    };
                    let code = Code { is_command, body };
                    run(&session, code, context, has_input, ears, mouth).await?
                }
                Err(error) => Err(error),
            };
            ran.map(to_value)
        }
        Request::Put { session, path } => {
            let moved = match find(&session) {
                Ok(session) => transfer::put(&session, &path, ears, mouth).await?,
                Err(error) => Err(error),
            };
            moved.map(to_value)
        }
        Request::Get { session, path } => {
            let moved = match find(&session) {
                Ok(session) => transfer::get(&session, &path, ears, mouth).await?,
                Err(error) => Err(error),
            };
            moved.map(to_value)
        }
        other => simple(sessions, owner, other, body).await,
    };
    let reply = match done {
        Ok(value) => Reply::Done { value },
        Err(error) => failed(&error),
    };
    mouth.say(reply, &[]).await
}

/// How the daemon is.
pub fn status(sessions: &SessionManager, owner: u32) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "pool": sessions.pool_metrics(),
        "sessions": sessions.list(owner).len(),
        "lost": sessions.lost(owner).len(),
    })
}

/// Requests with one answer.
async fn simple(
    sessions: &SessionManager,
    owner: u32,
    request: Request,
    body: Vec<u8>,
) -> Result<Value, SandboxError> {
    let find = |key: &str| sessions.find(owner, key);
    Ok(match request {
        Request::Create { name, guest, image } => {
            let name = name.map(|name| name.parse()).transpose()?;
            let create = Create {
                name,
                owner,
                guest,
                image,
            };
            let session = sessions.create(create).await?;
            to_value(session.info())
        }
        Request::List => json!({ "sessions": sessions.list(owner), "lost": sessions.lost(owner) }),
        Request::Resize { session, size } => json!({ "resized": find(&session)?.resize(size) }),
        Request::Interrupt { session } => json!({ "interrupted": find(&session)?.interrupt() }),
        Request::Validate { session } => {
            let code = String::from_utf8_lossy(&body).into_owned();
            to_value(find(&session)?.validate(&code).await?)
        }
        Request::Ls { session, path } => to_value(find(&session)?.list_folder(&path).await?),
        Request::Mkdir { session, path } => {
            find(&session)?.make_folder(&path).await?;
            json!({ "path": path })
        }
        Request::Mv { session, from, to } => {
            find(&session)?.rename(&from, &to).await?;
            json!({ "path": to })
        }
        Request::Rm {
            session,
            path,
            recursive,
        } => {
            find(&session)?.remove(&path, recursive).await?;
            json!({ "path": path })
        }
        Request::Snapshot { session, name } => {
            let id = find(&session)?.create_snapshot(&name).await?;
            json!({ "id": id, "name": name })
        }
        Request::Snapshots { session } => to_value(find(&session)?.list_snapshots().await?),
        Request::DeleteSnapshot { session, snapshot } => {
            let session = find(&session)?;
            let id = session.find_snapshot(&snapshot).await?;
            session.delete_snapshot(id).await?;
            json!({ "id": id })
        }
        Request::Rollback { session, snapshot } => {
            let session = find(&session)?;
            let id = session.find_snapshot(&snapshot).await?;
            session.rollback(id).await?;
            json!({ "id": id })
        }
        Request::Fork {
            session,
            from,
            count,
            names,
        } => {
            let session = find(&session)?;
            let names: Vec<SessionName> = names
                .iter()
                .map(|name| name.parse())
                .collect::<Result<_, _>>()?;
            let from = match from {
                Some(key) => Some(session.find_snapshot(&key).await?),
                None => None,
            };
            let copies = sessions.fork(&session, from, names, count, None).await?;
            to_value(copies.iter().map(Session::info).collect::<Vec<_>>())
        }
        Request::Extend { session } => {
            let remaining = find(&session)?.extend().await?;
            json!({ "remaining_s": remaining.as_secs() })
        }
        Request::Destroy { session } => match find(&session) {
            Ok(session) => {
                sessions.destroy(&session).await?;
                let receipt = sessions.receipt_of(&session);
                json!({ "destroyed": session.label(), "receipt": receipt.display().to_string() })
            }
            Err(error) => {
                if !sessions.forget_lost(owner, &session)? {
                    return Err(error);
                }
                json!({ "destroyed": session })
            }
        },
        // `answer` and the server have taken these.
        Request::Exec { .. }
        | Request::Put { .. }
        | Request::Get { .. }
        | Request::Status
        | Request::Stop => Value::Null,
    })
}

/// What is to be run.
struct Code {
    is_command: bool,
    body: Vec<u8>,
}

/// Runs code, hands its output on and its input in. A client that goes away interrupts what it
/// asked for, and nothing else.
async fn run(
    session: &Session,
    code: Code,
    mut context: ExecutionContext,
    has_input: bool,
    ears: &mut Ears,
    mouth: &mut Mouth,
) -> io::Result<Result<ExecutionResult, SandboxError>> {
    let Ok(source) = String::from_utf8(code.body) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "code must be UTF-8",
        ));
    };
    let (said, mut output) = mpsc::channel(OUTPUT_QUEUE);
    context.output = Some(said);
    let interrupt = CancellationToken::new();
    context.interrupt = Some(interrupt.clone());
    let (pieces, input) = mpsc::channel(1);
    let (wanted, mut wants) = mpsc::channel(1);
    if has_input {
        context.input = Some(input_of(wanted, input));
    }
    let runner = session.clone();
    let mut ran = tokio::spawn(async move {
        if code.is_command {
            runner.execute_command(&source, &context).await
        } else {
            runner.execute_code(&source, &context).await
        }
    });
    let mut listening = pin!(ears.listen(&pieces));
    let mut is_there = true;
    loop {
        let reply = tokio::select! {
            biased;
            Some((stream, bytes)) = output.recv() => {
                let stream = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                (Reply::Output { stream: stream.to_owned() }, bytes)
            }
            ended = &mut ran => {
                // The sender went with the execution: what is left is all there is.
                return ended.map_err(io::Error::other);
            }
            Some(()) = wants.recv() => (Reply::Input, Vec::new()),
            () = &mut listening, if is_there => {
                is_there = false;
                interrupt.cancel();
                continue;
            }
        };
        if mouth.say(reply.0, &reply.1).await.is_err() {
            interrupt.cancel();
        }
    }
}

/// Standard input that comes piece by piece, each asked for by `wanted`.
fn input_of(wanted: mpsc::Sender<()>, pieces: mpsc::Receiver<Vec<u8>>) -> InputSource {
    let stream = futures_util::stream::unfold((wanted, pieces), async |(wanted, mut pieces)| {
        wanted.send(()).await.ok()?;
        let piece = pieces.recv().await.filter(|piece| !piece.is_empty())?;
        Some((io::Result::Ok(io::Cursor::new(piece)), (wanted, pieces)))
    });
    InputSource::new(StreamReader::new(Box::pin(stream)))
}

fn to_value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

/// A failure, for programs and for people.
fn failed(error: &SandboxError) -> Reply {
    Reply::Failed {
        kind: FailureKind::from(error),
        message: error.to_string(),
    }
}
