//! What a run without an end has used, from its records.

use crate::record::{Event, FailedCall, spent_of_call};
use ukernel_budget::Spent;

pub(super) fn count(event: &Event, spent: &mut Spent) {
    match event {
        Event::NodeStarted(node) if node.parent.is_some() => spent.sub_calls += 1,
        Event::ModelReplied { reply, .. } => {
            spent.add(&spent_of_call(Some(reply.usage), reply.cost));
            spent.steps += 1;
        }
        Event::ModelFailed { failed, .. } => add_failed(failed.as_ref(), spent),
        Event::QueryReplied { reply, .. } => {
            spent.add(&spent_of_call(Some(reply.usage), reply.cost));
            spent.sub_calls += 1;
        }
        Event::QueryFailed { failed, .. } => {
            add_failed(failed.as_ref(), spent);
            // Else it was never asked, or is a node that is counted already.
            spent.sub_calls += u64::from(failed.is_some());
        }
        Event::CommandEnded(ended) => {
            let bytes = ended.stdout_bytes.saturating_add(ended.stderr_bytes);
            spent.output_bytes = spent.output_bytes.saturating_add(bytes);
        }
        _ => {}
    }
}

/// A call without a reply. If nobody was asked, it was none.
fn add_failed(failed: Option<&FailedCall>, spent: &mut Spent) {
    if let Some(failed) = failed {
        spent.add(&spent_of_call(failed.usage, failed.cost));
    }
}
