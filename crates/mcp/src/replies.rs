//! What the tools give: structured content, and the same for a model to read.

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
    /// The code ended with an exception or an exit code.
    Failed,
    /// The code was interrupted; the session keeps its state.
    Interrupted,
    /// It goes on as a task.
    Working,
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
        Self {
            data: error.data().map(Box::new),
            ..Self::new(error.code(), error.to_string())
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

/// How something that takes longer stands.
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

/// What `rlm_code` and `rlm_bash` give.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Executed {
    /// How it ended.
    pub(crate) status: Status,
    /// Handle of the session; pass it to go on there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
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
    /// How many images are in the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) images: Option<usize>,
    /// How long it ran, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_ms: Option<f64>,
    /// Present while it goes on as a task.
    #[serde(flatten)]
    pub(crate) progress: Option<Progress>,
    /// Why there is no result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
}

/// What `rlm_query` gives.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Answered {
    /// How it ended.
    pub(crate) status: Status,
    /// Handle of the session it was answered in, if that lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
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
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
}

/// What `rlm_context` gives.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Variables {
    /// How it ended.
    pub(crate) status: Status,
    /// Handle of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
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
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
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

/// What `rlm_snapshot` gives.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Snapshots {
    /// How it ended.
    pub(crate) status: Status,
    /// Handle of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    /// The session's snapshots, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshots: Option<Vec<Snapshot>>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
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
    /// How it stands: `working`, `input_required`, `completed`, `failed`, `cancelled` or `lost`.
    pub(crate) status: String,
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

/// What `rlm_status` gives.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Stands {
    /// How the task stands, as in the list of tasks; `ok` if no task was asked about.
    pub(crate) status: String,
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
    /// Why there is nothing to tell, or why the task failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
}

/// A reply that is a failure, for each tool.
pub(crate) trait Reply: Serialize {
    /// The reply with nothing but a failure.
    fn failed(failure: Failure) -> Self;

    /// What a model reads.
    fn text(&self) -> String;

    /// Whether the call failed.
    fn is_error(&self) -> bool;
}

/// A tool's result: the text, the images, the structured content.
pub(crate) fn result<R: Reply>(reply: &R, images: Vec<ContentBlock>) -> CallToolResult {
    let mut content = vec![ContentBlock::text(reply.text())];
    content.extend(images);
    let mut result = if reply.is_error() {
        CallToolResult::error(content)
    } else {
        CallToolResult::success(content)
    };
    // Replies are plain structures, which always become JSON.
    result.structured_content = serde_json::to_value(reply).ok();
    result
}

fn error_text(failure: &Failure) -> String {
    format!(
        "Error {} ({}): {}",
        failure.code, failure.name, failure.message
    )
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

fn progress_text(text: &mut String, progress: &Progress) {
    let _ = writeln!(
        text,
        "It goes on as task {} ({} %, {}). Ask rlm_status with this task for the result.",
        progress.task, progress.progress_pct, progress.current_step
    );
}

impl Default for Executed {
    fn default() -> Self {
        Self {
            status: Status::Ok,
            session: None,
            value: None,
            stdout: String::new(),
            stderr: String::new(),
            exit_code: None,
            exception: None,
            outputs: Vec::new(),
            images: None,
            run_ms: None,
            progress: None,
            error: None,
        }
    }
}

impl Reply for Executed {
    fn failed(failure: Failure) -> Self {
        Self {
            status: Status::Error,
            error: Some(failure),
            ..Self::default()
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        section(&mut text, "", &self.stdout);
        section(&mut text, "Standard error", &self.stderr);
        section(
            &mut text,
            "Value",
            self.value.as_deref().unwrap_or_default(),
        );
        for long in &self.outputs {
            let _ = writeln!(
                text,
                "[{} has {} bytes, of which the first are shown; all of it is in {}]",
                long.stream, long.bytes, long.uri
            );
        }
        match self.exit_code {
            None | Some(0) => {}
            Some(code) => {
                let _ = writeln!(text, "Exit code {code}.");
            }
        }
        if self.status == Status::Interrupted {
            text.push_str("Interrupted. The session keeps its state.\n");
        }
        if let Some(failure) = &self.error {
            section(&mut text, "", &error_text(failure));
        }
        if let Some(progress) = &self.progress {
            progress_text(&mut text, progress);
        }
        if text.is_empty() {
            text.push_str("(no output)\n");
        }
        if let Some(session) = &self.session {
            let _ = writeln!(text, "[session {session}]");
        }
        text
    }

    fn is_error(&self) -> bool {
        matches!(
            self.status,
            Status::Failed | Status::Interrupted | Status::Error
        )
    }
}

impl Default for Answered {
    fn default() -> Self {
        Self {
            status: Status::Ok,
            session: None,
            answer: None,
            value: None,
            partial: None,
            spent: None,
            run: None,
            progress: None,
            error: None,
        }
    }
}

impl Reply for Answered {
    fn failed(failure: Failure) -> Self {
        Self {
            status: Status::Error,
            error: Some(failure),
            ..Self::default()
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        section(&mut text, "", self.answer.as_deref().unwrap_or_default());
        if let Some(reason) = &self.partial {
            let _ = writeln!(text, "[This answer is partial: {reason}.]");
        }
        if let Some(failure) = &self.error {
            section(&mut text, "", &error_text(failure));
        }
        if let Some(progress) = &self.progress {
            progress_text(&mut text, progress);
        }
        text
    }

    fn is_error(&self) -> bool {
        self.status == Status::Error
    }
}

impl Variables {
    pub(crate) fn of(session: Option<String>) -> Self {
        Self {
            status: Status::Ok,
            session,
            found: None,
            value: None,
            characters: None,
            variables: None,
            error: None,
        }
    }
}

impl Reply for Variables {
    fn failed(failure: Failure) -> Self {
        Self {
            status: Status::Error,
            error: Some(failure),
            ..Self::of(None)
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(failure) = &self.error {
            section(&mut text, "", &error_text(failure));
        } else if let Some(variables) = &self.variables {
            section(&mut text, "", &variables.to_string());
        } else if self.found == Some(false) {
            text.push_str("There is no such variable.\n");
        } else if let Some(value) = &self.value {
            section(&mut text, "", value);
        } else {
            text.push_str("Set.\n");
        }
        if let Some(session) = &self.session {
            let _ = writeln!(text, "[session {session}]");
        }
        text
    }

    fn is_error(&self) -> bool {
        self.status == Status::Error
    }
}

impl Reply for Snapshots {
    fn failed(failure: Failure) -> Self {
        Self {
            status: Status::Error,
            session: None,
            snapshots: None,
            error: Some(failure),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(failure) = &self.error {
            section(&mut text, "", &error_text(failure));
        }
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
        text
    }

    fn is_error(&self) -> bool {
        self.status == Status::Error
    }
}

impl Stands {
    pub(crate) fn of(status: impl Into<String>) -> Self {
        Self {
            status: status.into(),
            progress_pct: None,
            current_step: None,
            result: None,
            can_resume: None,
            sessions: None,
            tasks: None,
            servers: None,
            error: None,
        }
    }
}

impl Reply for Stands {
    fn failed(failure: Failure) -> Self {
        Self {
            error: Some(failure),
            ..Self::of("error")
        }
    }

    fn text(&self) -> String {
        // Plain structures always become JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn is_error(&self) -> bool {
        self.status == "error"
    }
}
