//! Whether a reply's commands say clearly what to do.

use super::Command;
use super::correction::{Correction, excerpt};

/// The commands without repeated answers, if they say clearly what to do.
pub(super) fn settled(mut commands: Vec<Command>) -> Result<Vec<Command>, Correction> {
    let Some(first) = commands.iter().position(Command::is_answer) else {
        return Ok(commands);
    };
    let answer = commands[first].clone();
    if let Some(other) = commands.iter().find(|c| c.is_answer() && **c != answer) {
        return Err(Correction::new(format!(
            "Your reply gives two different answers: {} and {}. Write only the one you mean, \
             alone on a line.",
            shown(&answer),
            shown(other)
        )));
    }
    if commands[first..].iter().any(|c| !c.is_answer()) {
        return Err(Correction::new(format!(
            "Your reply gives the answer {} and then code, so it is not clear whether you are \
             done. If you are, write only the answer. If not, write only the code and wait for \
             its output.",
            shown(&answer)
        )));
    }
    commands.truncate(first + 1);
    Ok(commands)
}

/// An answer as the model would write it, cut short.
fn shown(answer: &Command) -> String {
    match answer {
        Command::FinalVariable(name) => format!("FINAL_VAR({})", excerpt(name)),
        Command::Final(text) => format!("FINAL({})", excerpt(text)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::PythonCode;
    use super::*;

    fn answer(text: &str) -> Command {
        Command::Final(text.into())
    }

    fn variable(name: &str) -> Command {
        Command::FinalVariable(name.into())
    }

    fn code() -> Command {
        Command::Code(PythonCode { source: "x".into() })
    }

    #[test]
    fn code_and_then_one_answer_is_clear() {
        let cases = [
            (vec![code(), code()], vec![code(), code()]),
            (vec![code(), answer("a")], vec![code(), answer("a")]),
            (vec![answer("a"), answer("a")], vec![answer("a")]),
            (vec![variable("v")], vec![variable("v")]),
            (vec![], vec![]),
        ];
        for (commands, expected) in cases {
            assert_eq!(settled(commands), Ok(expected));
        }
    }

    #[test]
    fn two_answers_or_code_after_an_answer_are_not_clear() {
        let cases = [
            (vec![answer("a"), answer("b")], "two different answers"),
            (vec![answer("v"), variable("v")], "FINAL_VAR(v)"),
            (vec![answer("a"), code()], "and then code"),
            (
                vec![code(), answer("a"), code(), answer("a")],
                "and then code",
            ),
        ];
        for (commands, expected) in cases {
            let message = settled(commands).expect_err("an error").into_message();
            assert!(message.contains(expected), "{message}");
        }
    }
}
