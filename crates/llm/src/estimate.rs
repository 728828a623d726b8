//! Tokens, guessed from bytes, for where a provider does not count them.

use crate::{Request, Usage};

/// Bytes a token has on average. English text has 4 to 5, code and other languages fewer; for a
/// budget it is better to guess too many tokens than too few.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens that mark the beginning and the end of a message.
const TOKENS_PER_MESSAGE: u64 = 4;

/// A guess at the tokens of a text of this many bytes.
#[must_use]
pub fn estimate_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// A guess at what a call used; counts of the provider stand where there are any.
pub(crate) fn usage_or_estimate(
    request: &Request,
    reply_bytes: u64,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
) -> Usage {
    let guess_of_prompt = || -> u64 {
        let tokens = |text: &str| estimate_tokens(text.len() as u64) + TOKENS_PER_MESSAGE;
        let messages = request.messages.iter();
        messages.map(|message| tokens(&message.text)).sum()
    };
    Usage {
        prompt_tokens: prompt_tokens.unwrap_or_else(guess_of_prompt),
        completion_tokens: completion_tokens.unwrap_or_else(|| estimate_tokens(reply_bytes)),
        is_estimated: prompt_tokens.is_none() || completion_tokens.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    #[test]
    fn an_estimate_is_marked() {
        let model = "ollama/any".parse().expect("a name");
        let request = Request::new(model, vec![Message::user("12345678")]);
        let usage = usage_or_estimate(&request, 5, None, None);
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (6, 2));
        assert!(usage.is_estimated);
        assert!(usage_or_estimate(&request, 5, Some(3), None).is_estimated);
        let counted = usage_or_estimate(&request, 5, Some(3), Some(9));
        assert_eq!((counted.total_tokens(), counted.is_estimated), (12, false));
    }
}
