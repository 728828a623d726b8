//! Calls that run as tasks: what differs between their tools, and waiting for them.

use crate::approval::Asked;
use crate::args::{Args, BashArgs, CodeArgs, QueryArgs, Times};
use crate::calls::{Desk, Run, Work};
use crate::replies::{Answered, Executed, Failure, Progress, Reply, Status, Tells};
use crate::tasks::{Record, Standing, Task};
use rmcp::model::{CallToolResult, JsonObject, ProgressNotificationParam};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a client is told to ask for a task.
pub(crate) const POLL: Duration = Duration::from_secs(1);

/// What a step adds to the progress that a client is told, in percent.
const STEP: f64 = 0.01;

pub(crate) type MakeWork = Box<dyn Fn(Desk) -> Work + Send + Sync>;

/// What differs between the tools whose calls are tasks.
pub(crate) struct Parts {
    pub(crate) times: Times,
    /// Whether it takes long as a rule.
    pub(crate) is_long: bool,
    /// Arguments with which it can be done again from the start.
    pub(crate) again: Option<Value>,
    pub(crate) work: MakeWork,
    failed: fn(Failure) -> CallToolResult,
    /// The reply of one that goes on.
    pub(crate) working: fn(&Record) -> CallToolResult,
}

impl Parts {
    pub(crate) fn failed(&self, failure: Failure) -> CallToolResult {
        (self.failed)(failure)
    }
}

pub(crate) fn failed<T: Tells>(failure: Failure) -> CallToolResult {
    Reply::<T>::failed(failure).result(Vec::new())
}

fn working<T: Tells>(record: &Record, told: T) -> CallToolResult {
    Reply::new(Status::Working, record.session.clone(), told).result(Vec::new())
}

fn progress_of(record: &Record) -> Progress {
    Progress {
        task: record.id.clone(),
        progress_pct: record.percent,
        current_step: record.step.clone(),
        poll_after_ms: u64::try_from(POLL.as_millis()).unwrap_or(u64::MAX),
    }
}

impl From<CodeArgs> for Parts {
    fn from(args: CodeArgs) -> Self {
        let times = args.times();
        let run = Run {
            source: args.code,
            is_shell: false,
            session: args.session,
            timeout: times.timeout(),
        };
        execution_parts(run, times)
    }
}

impl From<BashArgs> for Parts {
    fn from(args: BashArgs) -> Self {
        let times = args.times();
        let run = Run {
            source: args.command,
            is_shell: true,
            session: args.session,
            timeout: times.timeout(),
        };
        execution_parts(run, times)
    }
}

fn execution_parts(run: Run, times: Times) -> Parts {
    Parts {
        times,
        is_long: false,
        again: None,
        work: Box::new(move |desk| {
            let run = run.clone();
            Arc::new(move |task| {
                let (desk, run) = (desk.clone(), run.clone());
                Box::pin(async move { desk.execute(run, task).await })
            })
        }),
        failed: failed::<Executed>,
        working: |record| {
            let told = Executed {
                progress: Some(progress_of(record)),
                ..Executed::default()
            };
            working(record, told)
        },
    }
}

pub(crate) fn query_work(args: QueryArgs) -> MakeWork {
    Box::new(move |desk| {
        let args = args.clone();
        Arc::new(move |task| {
            let (desk, args) = (desk.clone(), args.clone());
            Box::pin(async move { desk.query(args, task).await })
        })
    })
}

pub(crate) fn query_parts(args: QueryArgs, arguments: &JsonObject) -> Parts {
    Parts {
        times: args.times(),
        is_long: true,
        again: args
            .session
            .is_none()
            .then(|| Value::Object(arguments.clone())),
        work: query_work(args),
        failed: failed::<Answered>,
        working: |record| {
            let told = Answered {
                progress: Some(progress_of(record)),
                ..Answered::default()
            };
            working(record, told)
        },
    }
}

/// How waiting for a task ended.
pub(crate) enum Waited {
    Ended(Box<Record>),
    Asks(Asked),
    /// Patience was at its end first.
    Working,
    /// The client has cancelled the request, or is gone.
    Gone,
}

/// Waits for a task's end, and tells the client how far it is meanwhile, if it wants to hear.
pub(crate) async fn wait(
    task: &Task,
    patience: Duration,
    context: Option<&RequestContext<RoleServer>>,
) -> Waited {
    let until = Instant::now() + patience;
    let mut changes = task.watch();
    let token = context.and_then(|context| context.meta.get_progress_token());
    let mut progress = -STEP;
    loop {
        let record = changes.borrow_and_update().clone();
        match &record.standing {
            Standing::Ended(_) => return Waited::Ended(Box::new(record)),
            Standing::InputRequired(asked) => return Waited::Asks(asked.clone()),
            Standing::Working => {}
        }
        // Who does not want to wait does not, however fast things change.
        if Instant::now() >= until {
            return Waited::Working;
        }
        if let (Some(token), Some(context)) = (&token, context) {
            // It has to grow with every notification, also where only the step is another.
            progress = f64::from(record.percent).max(progress + STEP);
            let mut told = ProgressNotificationParam::new(token.clone(), progress);
            told.total = Some(100.0);
            told.message = Some(record.step);
            // A client that does not listen is no failure.
            let _ = context.peer.notify_progress(told).await;
        }
        let cancelled = async {
            match context {
                Some(context) => context.ct.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cancelled => return Waited::Gone,
            () = tokio::time::sleep_until(until) => return Waited::Working,
            changed = changes.changed() => if changed.is_err() {
                return Waited::Gone;
            },
        }
    }
}

pub(crate) fn undecided(terms: &[String]) -> Failure {
    Failure {
        data: Some(Box::new(json!({"unknown_terms": terms}))),
        ..Failure::new(
            terraphim_rlm::ErrorCode::KG_ESCALATION,
            "nobody decided on the unknown terms",
        )
    }
}

pub(crate) fn cancelled() -> Failure {
    Failure::new(terraphim_rlm::ErrorCode::CANCELLED, "cancelled")
}
