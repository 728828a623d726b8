//! What tokens cost. Prices are configuration; this crate knows none.

use crate::Usage;
use serde::{Deserialize, Serialize};

/// The price of a model, in micro-dollars (millionths of a US dollar) per million tokens: a
/// model of $3 per million prompt tokens has 3000000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// For a million tokens of prompts.
    pub prompt_micro_dollars_per_million: u64,
    /// For a million tokens of replies.
    pub completion_micro_dollars_per_million: u64,
}

impl Price {
    /// What this usage costs, in micro-dollars, rounded up.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> u64 {
        let part = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let prompt = part(usage.prompt_tokens, self.prompt_micro_dollars_per_million);
        let completion = part(
            usage.completion_tokens,
            self.completion_micro_dollars_per_million,
        );
        let total = prompt.saturating_add(completion);
        u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Who says what a call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// The provider, with the reply.
    Provider,
    /// The configured price and the usage.
    Price,
}

/// What a call cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// In millionths of a US dollar.
    pub micro_dollars: u64,
    /// Who says so.
    pub source: CostSource,
}

impl Cost {
    /// The provider's word, in dollars; `None` if it is no amount.
    pub(crate) fn of_provider(dollars: f64) -> Option<Self> {
        let micro_dollars = (dollars * 1e6).ceil();
        // Beyond this a float is no longer exact; no call costs nine billion dollars.
        if !(0.0..9e15).contains(&micro_dollars) {
            return None;
        }
        Some(Self {
            micro_dollars: micro_dollars as u64,
            source: CostSource::Provider,
        })
    }

    /// The price's word.
    pub(crate) fn of_price(price: &Price, usage: &Usage) -> Self {
        Self {
            micro_dollars: price.of(usage),
            source: CostSource::Price,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usage(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            is_estimated: false,
        }
    }

    #[test]
    fn costs_are_rounded_up() {
        let price = Price {
            prompt_micro_dollars_per_million: 3_000_000,
            completion_micro_dollars_per_million: 15_000_000,
        };
        assert_eq!(price.of(&usage(1000, 100)), 4500);
        let cheap = Price {
            prompt_micro_dollars_per_million: 1,
            ..Price::default()
        };
        assert_eq!(cheap.of(&usage(1, 0)), 1);
        assert_eq!(cheap.of(&usage(0, 0)), 0);
    }

    #[test]
    fn what_is_no_amount_is_no_cost() {
        for dollars in [f64::NAN, f64::INFINITY, -0.1, 1e30] {
            assert_eq!(Cost::of_provider(dollars), None, "{dollars}");
        }
        assert_eq!(
            Cost::of_provider(0.25).map(|cost| cost.micro_dollars),
            Some(250_000)
        );
    }

    proptest! {
        #[test]
        fn no_usage_overflows(prompt: u64, completion: u64, first: u64, second: u64) {
            let price = Price {
                prompt_micro_dollars_per_million: first,
                completion_micro_dollars_per_million: second,
            };
            let _ = price.of(&usage(prompt, completion));
        }
    }
}
