//! `rlm_code` and `rlm_bash`.

use super::{Desk, Outcome};
use crate::approval::Asked;
use crate::replies::{Exception, Executed, Failure, Long, Reply, Status};
use crate::resources;
use crate::sessions::LongOutput;
use crate::tasks::Task;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ContentBlock, ResourceContents};
use std::sync::Arc;
use std::time::Duration;
use terraphim_rlm::{Execution, ExecutionResult, RlmError};
use ukernel_sandbox::ExecutionStatus;
use ukernel_sandbox::environment::Part;

/// Bytes of each output stream that come back; longer ones are resources.
const INLINE_BYTES: usize = 64 << 10;

/// What is run.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) source: String,
    pub(crate) is_shell: bool,
    pub(crate) session: Option<String>,
    pub(crate) timeout: Option<Duration>,
}

impl Desk {
    pub(crate) async fn execute(&self, run: Run, task: Arc<Task>) -> Outcome {
        match self.try_execute(run, &task).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::failed::<Executed>(failure, task.record().session),
        }
    }

    async fn try_execute(&self, run: Run, task: &Task) -> Result<Outcome, Failure> {
        task.progress(0, "waits for a session");
        // Done again after a decision, it goes on in the session it was in.
        let handle = task.record().session.or(run.session);
        let session = self.session_or_new(handle.as_deref()).await?;
        task.runs_in(&session.handle);
        task.progress(0, "runs");
        let rlm = self.rlm().await?;
        let execution = Execution {
            source: run.source,
            is_shell: run.is_shell,
            timeout: run.timeout,
            inline_output_bytes: Some(INLINE_BYTES),
            interrupt: task.cancel.child_token(),
        };
        let executed = rlm.execute(session.id, execution).await;
        match executed {
            Ok(mut executed) => {
                let parts = std::mem::take(&mut executed.parts);
                let mut reply = describe(&session.handle, executed);
                reply.told.shown = parts.iter().map(|part| part.media_type.clone()).collect();
                let outputs = reply.told.outputs.iter().filter_map(|long| {
                    Some(LongOutput {
                        path: resources::path_of(&long.uri)?,
                        bytes: long.bytes,
                    })
                });
                self.shared.sessions.note_outputs(&session.handle, outputs);
                Ok(Outcome::Result(
                    reply.result(parts.into_iter().map(content)),
                ))
            }
            Err(RlmError::KgEscalationRequired {
                unknown_terms,
                context,
                ..
            }) if self.can_ask => Ok(Outcome::Asks(Asked {
                session: session.handle,
                terms: unknown_terms,
                context,
            })),
            Err(error) => Err(Failure::of(&error)),
        }
    }
}

/// What was shown, as content: images are that, everything else is text of its media type.
fn content(part: Part) -> ContentBlock {
    if matches!(part.media_type.as_str(), "image/png" | "image/jpeg") {
        return ContentBlock::image(STANDARD.encode(part.bytes), part.media_type);
    }
    ContentBlock::resource(ResourceContents::TextResourceContents {
        uri: "ukernel://shown".to_owned(),
        mime_type: Some(part.media_type),
        text: String::from_utf8_lossy(&part.bytes).into_owned(),
        meta: None,
    })
}

fn describe(handle: &str, executed: ExecutionResult) -> Reply<Executed> {
    let mut told = Executed {
        value: executed.value,
        stdout: executed.output.stdout,
        stderr: executed.output.stderr,
        run_ms: Some(executed.run_ms),
        outputs: executed
            .files
            .into_iter()
            .map(|file| Long {
                stream: file.stream,
                bytes: file.bytes,
                uri: resources::file_uri(handle, &file.path),
            })
            .collect(),
        ..Executed::default()
    };
    let status = match executed.status {
        ExecutionStatus::Exited { code } => {
            told.exit_code = Some(code);
            if code == 0 {
                Status::Ok
            } else {
                Status::Failed
            }
        }
        ExecutionStatus::Exception { exception, message } => {
            told.exception = Some(Exception {
                r#type: exception,
                message,
            });
            Status::Failed
        }
        ExecutionStatus::Interrupted => Status::Interrupted,
    };
    Reply::new(status, Some(handle.to_owned()), told)
}
