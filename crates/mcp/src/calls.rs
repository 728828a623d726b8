//! What each tool does.

mod execute;
mod query;
mod session;
mod state;
mod status;

pub(crate) use execute::Run;
pub(crate) use session::{ConnectionSession, Desk, Shared};
pub(crate) use state::shown;

use crate::approval::Asked;
use crate::replies::{Failure, Reply, Tells};
use crate::tasks::{Ended, Standing, Task};
use rmcp::model::CallToolResult;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What came of the work of a call.
pub(crate) enum Outcome {
    /// The tool's result.
    Result(CallToolResult),
    /// A person has to decide before it can go on.
    Asks(Asked),
}

impl Outcome {
    /// A failure in a session, if it came that far.
    fn failed<T: Tells>(failure: Failure, session: Option<String>) -> Self {
        let mut reply = Reply::<T>::failed(failure);
        reply.session = session;
        Self::Result(reply.result(Vec::new()))
    }
}

/// The work of a call. It is done again from its start when a person has decided.
pub(crate) type Work =
    Arc<dyn Fn(Arc<Task>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// Does the work of a task to its end, whether or not somebody waits.
pub(crate) async fn carry_out(task: Arc<Task>, work: Work) {
    loop {
        let outcome = work(Arc::clone(&task)).await;
        if task.cancel.is_cancelled() {
            return task.end(Ended::Cancelled);
        }
        match outcome {
            Outcome::Result(result) => {
                // Results are plain structures, which always become JSON.
                let result = serde_json::to_value(result).unwrap_or_default();
                return task.end(Ended::Completed(result));
            }
            Outcome::Asks(asked) => {
                let mut standing = task.watch();
                task.ask(asked);
                let decided = standing.wait_for(|record| record.standing == Standing::Working);
                let is_decided = tokio::select! {
                    decided = decided => decided.is_ok(),
                    () = task.cancel.cancelled() => false,
                };
                if !is_decided {
                    return task.end(Ended::Cancelled);
                }
            }
        }
    }
}
