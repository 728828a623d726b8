//! What a run may use, and what it has used.

use serde::{Deserialize, Serialize};

/// What a run may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Tokens of prompts and replies together.
    pub tokens: u64,
    /// Millionths of a US dollar; `None` is no limit.
    pub micro_dollars: Option<u64>,
    /// Wall-clock time, in milliseconds.
    pub wall_clock_ms: u64,
    /// Queries of calls.
    pub sub_calls: u64,
    /// How deep nodes may be nested.
    pub depth: u32,
    /// Bytes of output that come back from commands.
    pub output_bytes: u64,
}

/// What a run, a part of it or a call has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of replies.
    pub completion_tokens: u64,
    /// Calls whose tokens are estimated.
    pub estimated_calls: u64,
    /// Millionths of a US dollar, as far as known.
    pub micro_dollars: u64,
    /// Model calls whose cost nobody knows.
    pub calls_without_cost: u64,
    /// Model calls.
    pub model_calls: u64,
    /// Queries of calls.
    pub sub_calls: u64,
    /// Steps.
    pub steps: u64,
    /// Bytes of output that came back from commands.
    pub output_bytes: u64,
    /// Time, in milliseconds.
    pub elapsed_ms: f64,
}

impl Spent {
    /// Tokens of both kinds.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.estimated_calls, other.estimated_calls),
            (&mut self.micro_dollars, other.micro_dollars),
            (&mut self.calls_without_cost, other.calls_without_cost),
            (&mut self.model_calls, other.model_calls),
            (&mut self.sub_calls, other.sub_calls),
            (&mut self.steps, other.steps),
            (&mut self.output_bytes, other.output_bytes),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}
