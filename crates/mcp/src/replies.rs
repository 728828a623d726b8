//! What the tools give: structured content, and the same for a model to read. Every tool replies with
//! how it ended, the session, and either what it has to tell or a failure.

use rmcp::model::{CallToolResult, ContentBlock};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use terraphim_rlm::{ErrorCode, RlmError};

/// How a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It is done.
    Ok,
    /// The code ended with an exception or an exit code, or the task failed.
    Failed,
    /// The code was interrupted; the session keeps its state.
    Interrupted,
    /// It goes on as a task.
    Working,
    /// Of a task: a person has to decide.
    InputRequired,
    /// Of a task: it has its result.
    Completed,
    /// Of a task: it was cancelled.
    Cancelled,
    /// Of a task: the server ended while it ran.
    Lost,
    /// There is no result: see `error`.
    Error,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Failure {
    /// Number of the kind of failure; docs/mcp.md lists them.
    pub(crate) code: i32,
    /// The same in a word.
    pub(crate) name: &'static str,
    /// What happened, and a hint where there is one.
    pub(crate) message: String,
    /// Figures and names of this kind of failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Box<Value>>,
}

impl Failure {
    pub(crate) fn of(error: &RlmError) -> Self {
        let message = match error.hint() {
            Some(hint) => format!("{error}. hint: {hint}"),
            None => error.to_string(),
        };
        Self {
            data: error.data().map(Box::new),
            ..Self::new(error.code(), message)
        }
    }

    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.number,
            name: code.name,
            message: message.into(),
            data: None,
        }
    }

    /// Arguments that cannot be followed. The model is to read this and say it better.
    pub(crate) fn arguments(message: impl Into<String>) -> Self {
        Self {
            code: rmcp::model::ErrorCode::INVALID_PARAMS.0,
            name: "invalid_arguments",
            message: message.into(),
            data: None,
        }
    }

    /// A session that is not there, or not this caller's: the two look the same.
    pub(crate) fn no_session(handle: &str) -> Self {
        let shown: String = handle.escape_debug().take(80).collect();
        Self::new(
            ErrorCode::NO_SESSION,
            format!(
                "there is no session `{shown}` of yours. hint: leave `session` out to make one"
            ),
        )
    }
}

/// An uncaught exception.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Exception {
    /// Its type.
    pub(crate) r#type: String,
    /// Its message.
    pub(crate) message: String,
}

/// A stream that was too long to come back whole.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Long {
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// Its whole length, in bytes.
    pub(crate) bytes: u64,
    /// Resource that holds all of it; add `?offset=N&length=N` for a piece.
    pub(crate) uri: String,
}

/// What a tool gives.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Reply<T> {
    /// How it ended, or stands.
    pub(crate) status: Status,
    /// Handle of the session; pass it to go on there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    #[serde(flatten)]
    pub(crate) told: T,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
}

/// What one tool tells.
pub(crate) trait Tells: Default + Serialize {
    /// Appends what a model reads.
    fn text(&self, text: &mut String);
}

impl<T: Tells> Reply<T> {
    pub(crate) fn new(status: Status, session: Option<String>, told: T) -> Self {
        Self {
            status,
            session,
            told,
            error: None,
        }
    }

    /// Nothing but a failure.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            error: Some(failure),
            ..Self::new(Status::Error, None, T::default())
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.told.text(&mut text);
        if self.status == Status::Interrupted {
            text.push_str("Interrupted. The session keeps its state.\n");
        }
        if let Some(failure) = &self.error {
            let Failure {
                code,
                name,
                message,
                ..
            } = failure;
            section(&mut text, "", &format!("Error {code} ({name}): {message}"));
        }
        if text.is_empty() {
            text.push_str("(no output)\n");
        }
        if let Some(session) = &self.session {
            let _ = writeln!(text, "[session {session}]");
        }
        text
    }

    /// A tool's result: the text, what was shown, the structured content.
    pub(crate) fn result(&self, shown: impl IntoIterator<Item = ContentBlock>) -> CallToolResult {
        let mut content = vec![ContentBlock::text(self.text())];
        content.extend(shown);
        let is_error = matches!(
            self.status,
            Status::Failed | Status::Interrupted | Status::Error
        );
        let mut result = if is_error {
            CallToolResult::error(content)
        } else {
            CallToolResult::success(content)
        };
        // Replies are plain structures, which always become JSON.
        result.structured_content = serde_json::to_value(self).ok();
        result
    }
}

fn section(text: &mut String, title: &str, body: &str) {
    if body.is_empty() {
        return;
    }
    if !title.is_empty() {
        let _ = writeln!(text, "{title}:");
    }
    text.push_str(body);
    if !body.ends_with('\n') {
        text.push('\n');
    }
}

/// How a call stands that goes on as a task.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Progress {
    /// Id for rlm_status and tasks/get.
    pub(crate) task: String,
    /// How far it is, of 100: the largest part of a budget that is used.
    pub(crate) progress_pct: u8,
    /// What it does now.
    pub(crate) current_step: String,
    /// When to ask again, in milliseconds.
    pub(crate) poll_after_ms: u64,
}

impl Progress {
    fn text(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "It goes on as task {} ({} %, {}). Ask rlm_status with this task for the result.",
            self.task, self.progress_pct, self.current_step
        );
    }
}

/// What `rlm_code` and `rlm_bash` tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Executed {
    /// Printed form of the last expression, if it has a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// Standard output, at most 64 KiB.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stdout: String,
    /// Standard error, at most 64 KiB.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) stderr: String,
    /// Exit code of a command, or of code that called exit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    /// The exception that nobody caught.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exception: Option<Exception>,
    /// Streams of which only the beginning is above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<Long>,
    /// Media types of what the code showed, which is in the content.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) shown: Vec<String>,
    /// How long it ran, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_ms: Option<f64>,
    /// Present while it goes on as a task.
    #[serde(flatten)]
    pub(crate) progress: Option<Progress>,
}

impl Tells for Executed {
    fn text(&self, text: &mut String) {
        section(text, "", &self.stdout);
        section(text, "Standard error", &self.stderr);
        section(text, "Value", self.value.as_deref().unwrap_or_default());
        for long in &self.outputs {
            let _ = writeln!(
                text,
                "[{} has {} bytes, of which the first are shown; all of it is in {}]",
                long.stream, long.bytes, long.uri
            );
        }
        if let Some(code) = self.exit_code.filter(|code| *code != 0) {
            let _ = writeln!(text, "Exit code {code}.");
        }
        if let Some(progress) = &self.progress {
            progress.text(text);
        }
    }
}

/// What `rlm_query` tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Answered {
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<String>,
    /// Its value, where a schema asks for one or the model gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
    /// Why the answer is only the best there was when a limit came near; absent if it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partial: Option<String>,
    /// Tokens, calls, money and time that were used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spent: Option<Value>,
    /// Names the run in `ukernel trace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    /// Present while it goes on as a task.
    #[serde(flatten)]
    pub(crate) progress: Option<Progress>,
}

impl Tells for Answered {
    fn text(&self, text: &mut String) {
        section(text, "", self.answer.as_deref().unwrap_or_default());
        if let Some(reason) = &self.partial {
            let _ = writeln!(text, "[This answer is partial: {reason}.]");
        }
        if let Some(progress) = &self.progress {
            progress.text(text);
        }
    }
}

/// What `rlm_context` tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Variables {
    /// For `get`: whether there is such a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<bool>,
    /// For `get`: its text, or the asked piece of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// For `get`: its whole length, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) characters: Option<u64>,
    /// For `list`: types and sizes, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variables: Option<Value>,
}

impl Tells for Variables {
    fn text(&self, text: &mut String) {
        if let Some(variables) = &self.variables {
            section(text, "", &variables.to_string());
        }
        match (self.found, &self.value) {
            (Some(false), _) => text.push_str("There is no such variable.\n"),
            (_, Some(value)) => section(text, "", value),
            (_, None) => {}
        }
    }
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Snapshot {
    /// Its name.
    pub(crate) name: String,
    /// When it was made, milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// Its length on disk, in bytes.
    pub(crate) bytes: u64,
    /// Whether the session's state comes from it.
    pub(crate) is_current: bool,
}

/// What `rlm_snapshot` tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Snapshots {
    /// The session's snapshots, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshots: Option<Vec<Snapshot>>,
}

impl Tells for Snapshots {
    fn text(&self, text: &mut String) {
        match self.snapshots.as_deref() {
            Some([]) => text.push_str("There are no snapshots.\n"),
            Some(snapshots) => {
                for snapshot in snapshots {
                    let mark = if snapshot.is_current {
                        " (current)"
                    } else {
                        ""
                    };
                    let _ = writeln!(text, "{}{mark}", snapshot.name);
                }
            }
            None => {}
        }
    }
}

/// One session.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct SessionState {
    /// Its handle.
    pub(crate) session: String,
    /// Whether something runs in it now.
    pub(crate) is_running: bool,
    /// Commands it has run.
    pub(crate) commands: u64,
    /// Snapshots it has.
    pub(crate) snapshots: usize,
    /// Seconds until it ends by itself.
    pub(crate) remaining_s: u64,
}

/// One task, in a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct TaskState {
    /// Its id.
    pub(crate) task: String,
    /// Which tool it is a call of.
    pub(crate) tool: String,
    /// How it stands.
    pub(crate) status: Status,
    /// How far it is, of 100.
    pub(crate) progress_pct: u8,
    /// What it does now, or why it failed.
    pub(crate) current_step: String,
}

/// A server whose tools code may call.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct ServerState {
    /// Its name in code: `tools.NAME`.
    pub(crate) name: String,
    /// Calls that code has made since this server started.
    pub(crate) calls: u64,
    /// Those that failed.
    pub(crate) failed: u64,
}

/// What `rlm_status` tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Stands {
    /// How far the task is, of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress_pct: Option<u8>,
    /// What the task does now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current_step: Option<String>,
    /// What the task's call gave: the structured content of that tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
    /// Whether a lost task can be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) can_resume: Option<bool>,
    /// Your sessions, or the one asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<Vec<SessionState>>,
    /// Your tasks that are still known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<Vec<TaskState>>,
    /// Servers whose tools code may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) servers: Option<Vec<ServerState>>,
}

impl Tells for Stands {
    fn text(&self, text: &mut String) {
        // Plain structures always become JSON.
        let shown = serde_json::to_string_pretty(self).unwrap_or_default();
        section(text, "", &shown);
    }
}
