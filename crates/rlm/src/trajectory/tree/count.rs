//! What a run without an end has used, from its records.

use super::super::record::{Event, FailedCall, Spent};
use ukernel_llm::{Cost, Usage};

pub(super) fn count(event: &Event, spent: &mut Spent) {
    match event {
        Event::NodeStarted(node) if node.parent.is_some() => spent.sub_calls += 1,
        Event::ModelReplied { reply, .. } => {
            add(reply.usage, reply.cost, spent);
            spent.steps += 1;
        }
        Event::ModelFailed { failed, .. } => add_failed(failed.as_ref(), spent),
        Event::QueryReplied { reply, .. } => {
            add(reply.usage, reply.cost, spent);
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
    match failed {
        Some(failed) if failed.usage.is_none() => spent.model_calls += 1,
        Some(failed) => add(failed.usage.unwrap_or_default(), failed.cost, spent),
        None => {}
    }
}

fn add(usage: Usage, cost: Option<Cost>, spent: &mut Spent) {
    spent.model_calls += 1;
    spent.prompt_tokens = spent.prompt_tokens.saturating_add(usage.prompt_tokens);
    spent.completion_tokens = spent
        .completion_tokens
        .saturating_add(usage.completion_tokens);
    spent.estimated_calls += u64::from(usage.is_estimated);
    match cost {
        Some(cost) => {
            spent.micro_dollars = spent.micro_dollars.saturating_add(cost.micro_dollars);
        }
        None => spent.calls_without_cost += 1,
    }
}
