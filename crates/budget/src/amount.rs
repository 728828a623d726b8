//! Amounts of what a budget has, and what it lacks.

/// Bytes of a prompt for each token that is reserved. English has four and more, code three, the
/// densest scripts and random data about two.
const PESSIMISTIC_BYTES_PER_TOKEN: u64 = 2;

/// Tokens around the messages of a prompt.
const TOKENS_OF_A_CALL: u64 = 32;

/// An upper bound of the tokens of a prompt of this many bytes.
#[must_use]
pub fn prompt_bound(bytes: u64) -> u64 {
    bytes.div_ceil(PESSIMISTIC_BYTES_PER_TOKEN) + TOKENS_OF_A_CALL
}

/// Something that can be reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Tokens of prompts and replies.
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub micro_dollars: u64,
    /// Queries of calls.
    pub sub_calls: u64,
}

impl Amount {
    pub(crate) fn fits(self, into: Self) -> bool {
        self.tokens <= into.tokens
            && self.micro_dollars <= into.micro_dollars
            && self.sub_calls <= into.sub_calls
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_dollars: self.micro_dollars.saturating_add(other.micro_dollars),
            sub_calls: self.sub_calls.saturating_add(other.sub_calls),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            micro_dollars: self.micro_dollars.saturating_sub(other.micro_dollars),
            sub_calls: self.sub_calls.saturating_sub(other.sub_calls),
        }
    }

    /// One of so many equal shares.
    pub(crate) fn share(self, of: u64) -> Self {
        let of = of.max(1);
        Self {
            tokens: self.tokens / of,
            micro_dollars: self.micro_dollars / of,
            sub_calls: self.sub_calls / of,
        }
    }
}

/// Which budget does not suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Tokens.
    #[error(
        "the token budget does not suffice: {used} of {limit} are used or reserved, and {wanted} are needed next"
    )]
    Tokens {
        /// Those used or reserved.
        used: u64,
        /// Those there are.
        limit: u64,
        /// The most that what comes next can use.
        wanted: u64,
    },
    /// Money.
    #[error(
        "the budget of {limit} micro-dollars does not suffice: {used} are used or reserved, and {wanted} are needed next"
    )]
    Money {
        /// Millionths of a US dollar used or reserved.
        used: u64,
        /// Those there are.
        limit: u64,
        /// The most that what comes next can use.
        wanted: u64,
    },
    /// Queries.
    #[error("the budget of {limit} sub-calls is used up")]
    SubCalls {
        /// Those there are.
        limit: u64,
    },
}
