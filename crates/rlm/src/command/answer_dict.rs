//! The answer as a dictionary: `{"content": "...", "ready": true}`.

use serde_json::Value;

use super::correction::{Correction, excerpt};
use super::{Command, json};

/// Reads a whole reply as an answer dictionary, with or without `answer =`.
///
/// None if it is something else.
pub(super) fn whole_reply(reply: &str) -> Option<Result<Command, Correction>> {
    let literal = after_assignment(reply.trim())?;
    let values = json::values(literal).ok()?;
    match values.as_slice() {
        [value] => command(value),
        _ => None,
    }
}

/// Reads a JSON value as an answer dictionary; none if it is something else.
pub(super) fn command(value: &Value) -> Option<Result<Command, Correction>> {
    let content = value.get("content")?;
    let ready = value.get("ready")?;
    Some(match ready {
        Value::Bool(true) => answer(content),
        Value::Bool(false) => Err(Correction::new(format!(
            "Your answer dictionary (content \"{}\") says \"ready\": false, so nothing was done. \
             If the answer is final, write it again with \"ready\": true. If not, go on with a \
             ```python block.",
            excerpt(&json::as_text(content))
        ))),
        other => Err(Correction::new(format!(
            "Your answer dictionary has \"ready\": {}, which must be true or false. If the answer \
             is final, write {{\"content\": \"...\", \"ready\": true}}.",
            excerpt(&other.to_string())
        ))),
    })
}

fn answer(content: &Value) -> Result<Command, Correction> {
    let text = json::as_text(content);
    if text.trim().is_empty() {
        return Err(Correction::new(
            "Your answer dictionary has an empty \"content\". Write the answer itself there: \
             {\"content\": \"...\", \"ready\": true}.",
        ));
    }
    Ok(Command::Final(text))
}

/// The dictionary itself, without `answer =` before it.
fn after_assignment(reply: &str) -> Option<&str> {
    let literal = match reply.strip_prefix("answer") {
        Some(rest) => rest.trim_start().strip_prefix('=')?.trim_start(),
        None => reply,
    };
    literal.starts_with('{').then_some(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(reply: &str) -> String {
        whole_reply(reply)
            .expect("as the test wants")
            .expect_err("an error")
            .into_message()
    }

    #[test]
    fn a_ready_answer_is_final() {
        let cases = [
            ("{\"content\": \"Paris\", \"ready\": true}", "Paris"),
            ("\n{'content': 'Paris', 'ready': True}\n", "Paris"),
            (
                "answer = {\"content\": \"Paris\", \"ready\": True}",
                "Paris",
            ),
            ("answer={'content': '''a\nb''', 'ready': True,}", "a\nb"),
            ("{\"content\": [1, 2], \"ready\": true}", "[1,2]"),
            ("{\"ready\": true, \"content\": 42, \"note\": \"x\"}", "42"),
        ];
        for (reply, answer) in cases {
            let outcome = whole_reply(reply);
            assert_eq!(outcome, Some(Ok(Command::Final(answer.into()))), "{reply}");
        }
    }

    #[test]
    fn an_answer_that_is_not_ready_is_asked_about() {
        let message = message("answer = {\"content\": \"draft\", \"ready\": False}");
        assert!(message.contains("draft"), "{message}");
        assert!(message.contains("\"ready\": true"), "{message}");
    }

    #[test]
    fn an_answer_without_content_or_with_an_odd_ready_is_asked_about() {
        assert!(message("{\"content\": \" \", \"ready\": true}").contains("empty"));
        assert!(message("{\"content\": \"x\", \"ready\": \"yes\"}").contains("true or false"));
    }

    #[test]
    fn other_dictionaries_and_programs_are_no_answer() {
        let replies = [
            "{\"content\": \"x\"}",
            "{\"name\": \"python\"}",
            "answer = {\"content\": result, \"ready\": True}",
            "answer == {}",
            "answers = {\"content\": \"x\", \"ready\": True}",
            "The answer = {\"content\": \"x\", \"ready\": True}",
            "{\"content\": \"x\", \"ready\": true} is my answer",
            "[]",
            "",
        ];
        for reply in replies {
            assert_eq!(whole_reply(reply), None, "{reply}");
        }
    }
}
