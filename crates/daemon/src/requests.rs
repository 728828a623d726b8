//! What the daemon does for a client.

use crate::connection::{Ears, Mouth};
use crate::protocol::{FailureKind, Reply, Request};
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use ukernel_sandbox::environment::Stream;
use ukernel_sandbox::session::{Create, Session, SessionManager};
use ukernel_sandbox::{
    ExecutionContext, ExecutionEnvironment, ExecutionResult, SandboxError, SessionName,
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
        } => {
            let ran = match find(&session) {
                Ok(session) => {
                    let context = ExecutionContext {
                        timeout: timeout_ms.map(Duration::from_millis),
                        args,
                        ..ExecutionContext::default()
                    };
                    run(&session, is_command, body, context, ears, mouth).await?
                }
                Err(error) => Err(error),
            };
            ran.map(to_value)
        }
        Request::Get { session, path } => {
            let content = match find(&session) {
                Ok(session) => session.get_file(&path).await,
                Err(error) => Err(error),
            };
            match content {
                Ok(content) => {
                    let value = json!({ "bytes": content.len() });
                    return mouth.say(Reply::Done { value }, &content).await;
                }
                Err(error) => Err(error),
            }
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
        Request::Create { name } => {
            let name = name.map(|name| name.parse()).transpose()?;
            let session = sessions.create(Create { name, owner }).await?;
            to_value(session.info())
        }
        Request::List => json!({ "sessions": sessions.list(owner), "lost": sessions.lost(owner) }),
        Request::Interrupt { session } => json!({ "interrupted": find(&session)?.interrupt() }),
        Request::Validate { session } => {
            let code = String::from_utf8_lossy(&body).into_owned();
            to_value(find(&session)?.validate(&code).await?)
        }
        Request::Put { session, path } => {
            let bytes = body.len();
            find(&session)?.put_file(&path, body).await?;
            json!({ "bytes": bytes })
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
                json!({ "destroyed": session.label() })
            }
            Err(error) => {
                if !sessions.forget_lost(owner, &session)? {
                    return Err(error);
                }
                json!({ "destroyed": session })
            }
        },
        // `answer` and the server have taken these.
        Request::Exec { .. } | Request::Get { .. } | Request::Status | Request::Stop => Value::Null,
    })
}

/// Runs code and hands its output on. A client that goes away interrupts it.
async fn run(
    session: &Session,
    is_command: bool,
    source: Vec<u8>,
    mut context: ExecutionContext,
    ears: &mut Ears,
    mouth: &mut Mouth,
) -> io::Result<Result<ExecutionResult, SandboxError>> {
    let Ok(source) = String::from_utf8(source) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "code must be UTF-8",
        ));
    };
    let (said, mut output) = mpsc::channel::<(Stream, Vec<u8>)>(OUTPUT_QUEUE);
    context.output = Some(Arc::new(move |stream, bytes: &[u8]| {
        // Nobody listens any more: the interrupt is on its way.
        let _ = said.blocking_send((stream, bytes.to_vec()));
    }));
    let runner = session.clone();
    let mut ran = tokio::spawn(async move {
        if is_command {
            runner.execute_command(&source, &context).await
        } else {
            runner.execute_code(&source, &context).await
        }
    });
    let mut is_there = true;
    loop {
        tokio::select! {
            biased;
            Some((stream, bytes)) = output.recv() => {
                let stream = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr => "stderr",
                };
                let reply = Reply::Output { stream: stream.to_owned() };
                if mouth.say(reply, &bytes).await.is_err() {
                    session.interrupt();
                }
            }
            ended = &mut ran => {
                // The sender went with the execution: what is left is all there is.
                return match ended {
                    Ok(result) => Ok(result),
                    Err(error) => Err(io::Error::other(error)),
                };
            }
            () = ears.gone(), if is_there => {
                is_there = false;
                session.interrupt();
            }
        }
    }
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
