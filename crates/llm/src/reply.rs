//! Replies, and what they used.

use crate::Cost;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done, or met a stop text.
    Stop,
    /// `max_tokens`, or the model's own limit, was reached.
    Length,
    /// The model refused, or a filter of the provider stepped in. The text is what there is of
    /// the reply, or else the words of the refusal; it may be empty.
    Filtered,
    /// Another reason, or none given.
    Other,
}

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt_tokens: u64,
    /// Tokens of the reply, those of its reasoning included.
    pub completion_tokens: u64,
    /// Whether any of the two is not the provider's count but an estimate.
    #[serde(default)]
    pub is_estimated: bool,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// What a model replied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The text, without reasoning.
    pub text: String,
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens used.
    pub usage: Usage,
    /// What it cost; `None` if neither the provider nor a configured price says.
    pub cost: Option<Cost>,
    /// The model that replied, as the provider calls it.
    pub model: String,
    /// From the first attempt to the last byte, waiting between attempts included.
    pub latency: Duration,
    /// Requests made, the last one included.
    pub attempts: u32,
}

/// What a client has used since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageTotals {
    /// Calls that have ended, with a reply or without.
    pub calls: u64,
    /// Those that have no reply.
    pub failed_calls: u64,
    /// Requests made.
    pub attempts: u64,
    /// Tokens of requests.
    pub prompt_tokens: u64,
    /// Tokens of replies.
    pub completion_tokens: u64,
    /// Calls whose tokens are estimated.
    pub estimated_calls: u64,
    /// What is known of the cost, in millionths of a US dollar.
    pub cost_micro_dollars: u64,
    /// Calls that used tokens and whose cost is not known.
    pub calls_without_cost: u64,
}

impl UsageTotals {
    /// Adds what another client has used.
    pub fn join(&mut self, other: &Self) {
        let sums = [
            (&mut self.calls, other.calls),
            (&mut self.failed_calls, other.failed_calls),
            (&mut self.attempts, other.attempts),
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.estimated_calls, other.estimated_calls),
            (&mut self.cost_micro_dollars, other.cost_micro_dollars),
            (&mut self.calls_without_cost, other.calls_without_cost),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }

    /// Counts a call. `usage` is `None` if nothing was processed.
    pub(crate) fn add(
        &mut self,
        is_reply: bool,
        attempts: u32,
        usage: Option<Usage>,
        cost: Option<Cost>,
    ) {
        self.calls += 1;
        self.failed_calls += u64::from(!is_reply);
        self.attempts += u64::from(attempts);
        let Some(usage) = usage else { return };
        self.prompt_tokens = self.prompt_tokens.saturating_add(usage.prompt_tokens);
        self.completion_tokens = self
            .completion_tokens
            .saturating_add(usage.completion_tokens);
        self.estimated_calls += u64::from(usage.is_estimated);
        match cost {
            Some(cost) => {
                self.cost_micro_dollars =
                    self.cost_micro_dollars.saturating_add(cost.micro_dollars);
            }
            None => self.calls_without_cost += 1,
        }
    }
}
