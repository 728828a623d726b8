//! Following the commands of a reply.

use super::queries::flat;
use super::validation::validate;
use super::{Answer, Asker, Bridge, Node};
use crate::error::Problem;
use crate::{Result, RlmError};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;
use ukernel_budget::Spent;
use ukernel_reply::{Command, TextAnswer, is_identifier};
use ukernel_sandbox::{
    ExecutionContext, ExecutionEnvironment, ExecutionResult, ExecutionStatus, SandboxError,
};
use ukernel_trajectory::{CommandEnded, Event};

/// What came of a reply.
pub(super) enum Followed {
    /// The answer.
    Answer(Answer),
    /// What the model is told, and whether something failed.
    Told { text: String, failed: bool },
}

/// What came of one command.
struct Told {
    text: String,
    failed: bool,
}

impl Told {
    fn well(text: String) -> Self {
        Self {
            text,
            failed: false,
        }
    }

    fn badly(text: String) -> Self {
        Self { text, failed: true }
    }
}

/// Follows commands in their order, up to an answer or the first that fails.
pub(super) async fn follow(node: &Arc<Node>, commands: Vec<Command>) -> Result<Followed> {
    let count = commands.len();
    let mut text = String::new();
    let mut has_run = false;
    for (at, command) in commands.into_iter().enumerate() {
        let told = match command {
            // The model wrote this answer before it saw the output of its code.
            Command::Final(_) if has_run => Told::well(
                "Your FINAL was not taken, because it was written before the output above. If it \
                 still holds, give it again."
                    .to_owned(),
            ),
            Command::Final(answer) => match doubt(node, &answer).await {
                Some(why) => Told::badly(why),
                None => match node.offer(answer.text, None) {
                    Ok(()) => Told::well(String::new()),
                    Err(reason) => Told::badly(format!("FINAL was not taken: {reason}.")),
                },
            },
            Command::FinalVariable(name) => {
                run(node, "python", &format!("FINAL_VAR({name:?})")).await?
            }
            Command::Code(code) => run(node, "python", &code.source).await?,
            Command::Run(command) => run(node, "bash", &command.source).await?,
            Command::QueryLlm(query) => ask(node, query.prompt).await,
            Command::Snapshot(name) => snapshot(node, &name).await?,
            Command::Rollback(name) => rollback(node, &name).await?,
        };
        has_run = true;
        if let Some(answer) = node.take_answer() {
            return Ok(Followed::Answer(answer));
        }
        if let Some(reason) = node.hopeless() {
            return Err(RlmError::AnswerDoesNotFit { reason });
        }
        if count > 1 {
            let _ = writeln!(text, "[{} of {count}]", at + 1);
        }
        text.push_str(&told.text);
        text.push('\n');
        if told.failed {
            if at + 1 < count {
                let _ = writeln!(text, "[the {} behind it were not run]", count - at - 1);
            }
            return Ok(Followed::Told { text, failed: true });
        }
    }
    Ok(Followed::Told {
        text,
        failed: false,
    })
}

/// What the model is asked about an answer that it may not mean; once for each.
async fn doubt(node: &Arc<Node>, answer: &TextAnswer) -> Option<String> {
    let text = answer.text.as_str();
    let why = if answer.is_between_prose {
        "it stands between other lines, as if it were quoted".to_owned()
    } else if answer
        .call
        .as_ref()
        .is_some_and(|call| node.has_printed(call))
    {
        "word for word it is in what your code printed, which may be the context's and not yours"
            .to_owned()
    } else if is_variable(node, text).await {
        format!("{text} is a variable of the REPL: for its value write FINAL_VAR({text})")
    } else {
        return None;
    };
    node.doubt(text).then(|| {
        format!(
            "FINAL was not taken: {why}. If it is your final answer as it is, reply with it alone once more; \
             if not, go on."
        )
    })
}

/// Whether a text is the name of a variable in the REPL.
pub(super) async fn is_variable(node: &Arc<Node>, text: &str) -> bool {
    if !is_identifier(text) {
        return false;
    }
    let code = format!("import rlm; rlm.has_variable({text:?})");
    // A REPL that cannot say has no variables any more.
    let said = execute(node, false, &code).await;
    said.is_ok_and(|said| said.value.as_deref() == Some("True"))
}

/// Runs code or a shell command, if it speaks of what is known.
async fn run(node: &Arc<Node>, kind: &str, source: &str) -> Result<Told> {
    if let Some(advice) = validate(node, kind == "bash", source)? {
        return Ok(Told::badly(advice));
    }
    begin(node, kind, source);
    let trajectory = &node.run.trajectory;
    trajectory.check()?;
    let began = Instant::now();
    let executed = execute(node, kind == "bash", source).await;
    let total_ms = began.elapsed().as_secs_f64() * 1e3;
    let (ended, told) = describe(node, executed, total_ms)?;
    let bytes = ended.stdout_bytes + ended.stderr_bytes;
    node.run.count_output(bytes);
    node.ledger.note(&Spent {
        output_bytes: bytes,
        ..Spent::default()
    });
    trajectory.add(node.id, Event::CommandEnded(ended));
    Ok(told)
}

/// Writes down that a command begins.
fn begin(node: &Node, kind: &str, source: &str) {
    node.run.trajectory.add(
        node.id,
        Event::CommandStarted {
            step: node.step(),
            kind: kind.to_owned(),
            bytes: source.len() as u64,
            source: Some(source.to_owned()),
        },
    );
}

/// Executes a step's code in the node's session.
pub(super) async fn execute(
    node: &Arc<Node>,
    is_shell: bool,
    source: &str,
) -> Result<ExecutionResult, SandboxError> {
    let config = &node.run.config;
    let now = Instant::now();
    // Code that runs after the last call may use the time up to the run's deadline.
    let until = if now < node.run.last_call() {
        node.run.last_call()
    } else {
        node.run.deadline()
    };
    let left = until.saturating_duration_since(now);
    let limit = std::time::Duration::from_millis(config.sandbox.execution_timeout_ms);
    let context = ExecutionContext {
        timeout: Some(limit.min(left)),
        inline_output_bytes: Some(config.max_prompt_output_bytes),
        name: Some(format!("<step {}>", node.step())),
        ..ExecutionContext::default()
    };
    execute_with(node, Some(node), is_shell, source, context).await
}

/// Runs what a caller asks for, which belongs to no question.
pub(crate) async fn execute_directly(
    asker: &Asker,
    is_shell: bool,
    source: &str,
    context: ExecutionContext,
) -> Result<ExecutionResult, SandboxError> {
    execute_with(asker, None, is_shell, source, context).await
}

/// Executes with a bridge open meanwhile.
async fn execute_with(
    asker: &Asker,
    node: Option<&Arc<Node>>,
    is_shell: bool,
    source: &str,
    context: ExecutionContext,
) -> Result<ExecutionResult, SandboxError> {
    let bridge = Bridge::open(asker, node);
    let context = ExecutionContext {
        cancellation: Some(asker.cancel.clone()),
        calls: Some(bridge.calls()),
        ..context
    };
    if is_shell {
        asker.session.execute_command(source, &context).await
    } else {
        asker.session.execute_code(source, &context).await
    }
}

/// What came of an execution, for the trajectory and for the model.
fn describe(
    node: &Node,
    executed: Result<ExecutionResult, SandboxError>,
    total_ms: f64,
) -> Result<(CommandEnded, Told)> {
    let mut ended = CommandEnded::well(node.step(), total_ms);
    let (output, note) = match executed {
        Ok(result) => {
            node.ran(result.command);
            ended.run_ms = result.run_ms;
            ended.ok = result.is_success();
            ended.status = match &result.status {
                ExecutionStatus::Exited { code: 0 } => "ok".to_owned(),
                ExecutionStatus::Exited { code } => format!("exit {code}"),
                ExecutionStatus::Exception { exception, .. } => exception.clone(),
                ExecutionStatus::Interrupted => "interrupted".to_owned(),
            };
            ended.value = result
                .value
                .map(|value| clip(value, node.run.config.max_prompt_output_bytes));
            let mut note = String::new();
            for file in &result.files {
                let _ = writeln!(
                    note,
                    "[{} was {} bytes, of which the first are shown; all of it is in {}]",
                    file.stream, file.bytes, file.path
                );
                ended.files.push(file.path.clone());
            }
            if let Some(error) = result.checkpoint_error {
                let message = format!("the state before this command was not kept: {error}");
                node.run.trajectory.add(node.id, Event::Warned { message });
            }
            (result.output, note)
        }
        Err(SandboxError::TimeLimit {
            limit,
            output,
            standing,
        }) => {
            ended.fail("time limit".to_owned());
            (
                *output,
                format!(
                    "[It was ended after {limit:?}, the time limit; {}.]",
                    node.lost_since(standing.after)
                ),
            )
        }
        Err(SandboxError::VmLost {
            reason,
            output,
            standing,
        }) => {
            ended.fail("VM lost".to_owned());
            (
                *output,
                format!(
                    "[The REPL was lost: {reason}; {}.]",
                    node.lost_since(standing.after)
                ),
            )
        }
        Err(error) => return Err(RlmError::of_sandbox(error, node.session.id())),
    };
    let mut text = String::new();
    section(&mut text, "Output:", &output.stdout);
    section(&mut text, "Standard error:", &output.stderr);
    section(
        &mut text,
        "Value:",
        ended.value.as_deref().unwrap_or_default(),
    );
    text.push_str(&note);
    if text.is_empty() {
        text.push_str("(no output)");
    }
    if !ended.ok {
        let _ = write!(text, "\nIt failed: {}.", ended.status);
    }
    ended.stdout_bytes = output.stdout.len() as u64;
    ended.stderr_bytes = output.stderr.len() as u64;
    ended.stdout = Some(output.stdout);
    ended.stderr = Some(output.stderr);
    node.note_printed(&text);
    let failed = !ended.ok;
    Ok((ended, Told { text, failed }))
}

fn section(text: &mut String, title: &str, content: &str) {
    if !content.is_empty() {
        let _ = write!(text, "{title}\n{}\n", content.trim_end_matches('\n'));
    }
}

fn clip(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let length = text.len();
        text.truncate(end);
        let _ = write!(text, "... ({length} bytes)");
    }
    text
}

/// A flat query that the model asked for without code.
async fn ask(node: &Arc<Node>, prompt: String) -> Told {
    let call = node.run.next_call();
    match flat(node, call, 0, prompt, None).await {
        Ok(reply) => {
            let text = reply.value.text();
            let text = clip(text, node.run.config.max_prompt_output_bytes);
            let cut = reply.cut.map(|why| format!("\n[It was {why}.]"));
            Told::well(format!("Reply:\n{text}{}", cut.unwrap_or_default()))
        }
        Err(error) => Told::badly(format!("The query failed: {error}")),
    }
}

async fn snapshot(node: &Arc<Node>, name: &str) -> Result<Told> {
    noted(node, "snapshot", name, async {
        node.session.create_snapshot(name).await.map(|_| ())
    })
    .await
}

async fn rollback(node: &Arc<Node>, name: &str) -> Result<Told> {
    noted(node, "rollback", name, async {
        let id = node.session.find_snapshot(name).await?;
        node.session.restore_snapshot(&id).await?;
        node.forget_steps();
        Ok(())
    })
    .await
}

/// Does something with the session's state, and writes it down.
async fn noted(
    node: &Arc<Node>,
    kind: &str,
    name: &str,
    doing: impl Future<Output = Result<(), SandboxError>>,
) -> Result<Told> {
    begin(node, kind, name);
    let trajectory = &node.run.trajectory;
    let began = Instant::now();
    let done = doing.await;
    let total_ms = began.elapsed().as_secs_f64() * 1e3;
    let mut ended = CommandEnded::well(node.step(), total_ms);
    ended.run_ms = total_ms;
    let told = match done {
        Ok(()) => Told::well(format!("The {kind} is done.")),
        Err(error @ (SandboxError::SessionEnded(_) | SandboxError::Damaged { .. })) => {
            return Err(RlmError::internal(Problem::of(error)));
        }
        Err(error) => {
            ended.fail(error.to_string());
            Told::badly(format!("The {kind} failed: {error}."))
        }
    };
    trajectory.add(node.id, Event::CommandEnded(ended));
    Ok(told)
}
