//! Properties that hold for any reply.

use proptest::prelude::*;

use ukernel_reply::{Command, Parsed, PythonCode, TextAnswer, parse};

const ONE_MEGABYTE: usize = 1_000_000;
const TEN_MEGABYTES: usize = 10 * ONE_MEGABYTE;

/// Pieces from which replies with all forms in odd places are put together.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("```".to_owned()),
        Just("```python\n".to_owned()),
        Just("~~~~bash\n".to_owned()),
        Just("````markdown\n".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("'''".to_owned()),
        Just("FINAL(".to_owned()),
        Just("`FINAL (".to_owned()),
        Just("FINAL_VAR(".to_owned()),
        Just(")".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("    ".to_owned()),
        Just("<think>".to_owned()),
        Just("</think>".to_owned()),
        Just("<tool_call>".to_owned()),
        Just("</tool_call>".to_owned()),
        Just("{\"name\": \"python\", \"arguments\": ".to_owned()),
        Just("{\"code\": \"x\"}".to_owned()),
        Just("answer = {'content': 'x', 'ready': True}".to_owned()),
        Just(">>> x\n".to_owned()),
        Just("print(x)\n".to_owned()),
        Just("x = [1,\n".to_owned()),
        Just("]}".to_owned()),
        Just("é’\u{a0}".to_owned()),
        ".{0,6}",
    ]
}

fn assert_decided(reply: &str) {
    match parse(reply) {
        Parsed::Commands(commands) => assert!(!commands.is_empty(), "{reply}"),
        Parsed::Correction(message) => {
            assert!(!message.is_empty(), "{reply}");
            assert!(message.chars().count() <= 600, "{message}");
        }
    }
}

fn is_answer(command: &Command) -> bool {
    matches!(command, Command::Final(_) | Command::FinalVariable(_))
}

fn finals(reply: &str) -> usize {
    match parse(reply) {
        Parsed::Commands(commands) => commands.iter().filter(|c| is_answer(c)).count(),
        Parsed::Correction(_) => 0,
    }
}

/// Lines of a program without fences and open triple-quoted strings.
fn code_lines() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        "[a-z]{1,6} = [0-9]{1,4}",
        "    print\\([a-z]{1,5}\\)  ",
        "# [ -~&&[^`\"']]{0,30}",
        "",
        "[ -~&&[^`~\"'>]]{0,40}",
        Just("FINAL(x)".to_owned()),
        Just("x = \"FINAL(no)\"".to_owned()),
        Just("s = '''a".to_owned() + "\nFINAL(no)\n```\n'''"),
    ];
    prop::collection::vec(line, 1..12)
}

/// Prose that is neither code nor a command.
fn prose() -> impl Strategy<Value = String> {
    "([A-Z][a-z]{1,8} (the|of|to) [a-z]{1,8}\\.\n){0,4}"
}

proptest! {
    #[test]
    fn any_text_is_decided(reply in "\\PC*") {
        assert_decided(&reply);
    }

    #[test]
    fn any_bytes_as_text_are_decided(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        assert_decided(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_mixture_of_forms_is_decided(pieces in prop::collection::vec(piece(), 0..30)) {
        assert_decided(&pieces.concat());
    }

    #[test]
    fn a_fenced_program_comes_out_unchanged(
        lines in code_lines(),
        before in prose(),
        after in prose(),
        label in prop::sample::select(vec!["python", "py", "repl", "Python", "python title=x"]),
        fence in prop::sample::select(vec!["```", "````", "~~~"]),
    ) {
        let source = lines.join("\n");
        prop_assume!(!source.trim().is_empty());
        let reply = format!("{before}{fence}{label}\n{source}\n{fence}\n{after}");
        let expected = Parsed::Commands(vec![Command::Code(PythonCode { source })]);
        prop_assert_eq!(parse(&reply), expected);
    }

    #[test]
    fn an_answer_comes_out_unchanged(answer in "[a-zA-Z0-9 ,.é]{1,40}[0-9]", before in prose()) {
        let answer = answer.trim().to_owned();
        let reply = format!("{before}FINAL({answer})\n");
        let call = Some(format!("FINAL({answer})"));
        let answer = TextAnswer { text: answer, call, is_between_prose: false };
        prop_assert_eq!(parse(&reply), Parsed::Commands(vec![Command::Final(answer)]));
    }

    #[test]
    fn final_in_quoted_text_is_no_answer(text in "[a-z0-9 ]{0,20}", shape in 0..7_usize) {
        let call = format!("FINAL({text})");
        let reply = match shape {
            0 => format!("```python\nx = \"{call}\"\n```"),
            1 => format!("```python\n# {call}\n{call}\n```"),
            2 => format!("```python\nx = '''\n{call}\n```\n{call}\n'''\n```"),
            3 => format!("> {call}\n> {call}"),
            4 => format!("````markdown\n{call}\n```python\n{call}\n```\n````"),
            5 => format!("```text\n{call}\n```"),
            _ => format!("I shall call {call} in the end."),
        };
        prop_assert_eq!(finals(&reply), 0);
    }
}

/// Repeats a text up to a length.
fn repeated(text: &str, length: usize) -> String {
    text.repeat(length / text.len())
}

// The tests below do not look at a clock: were the work quadratic, they would
// not end.

#[test]
fn a_reply_of_ten_megabytes_is_decided() {
    for text in ["```", "FINAL(", "\"\"\"", "<think>", "{"] {
        assert_decided(&repeated(text, TEN_MEGABYTES));
    }
    let mixture = "```FINAL(\"\"\"<think>{\n```\nFINAL(\n\"\"\"\n{\n";
    let reply = repeated(mixture, TEN_MEGABYTES);
    assert_decided(&reply);
    assert_decided(&format!("```python\n{reply}"));
}

#[test]
fn a_long_reply_that_repeats_a_half_form_is_decided() {
    let texts = [
        "```\n",
        "```python\n",
        "```python\nx = \"\"\"\n```\n",
        "```python\nx = \\\"\"\"\n```\ny\n",
        "```markdown\n```x\n```\n",
        "~~~~\n~~~py\n",
        "FINAL(\n",
        "FINAL(\")\n",
        "FINAL('a) is b\n",
        "FINAL(a) FINAL(a) ",
        "FINAL (a) b ",
        "FINAL_VAR(",
        "`FINAL(` ",
        "'''\n",
        "<think></think>",
        "</think",
        "</think> x\n",
        "<tool_call>",
        "a <tool_call> ",
        "<tool_call>{\"tool\":\"python\",\"code\":\"x\"}</tool_call>",
        "[1,",
        "{}",
        "{\"name\":",
        "x = (\n",
        "x.",
        "print(1)\n",
        ">>> x\n",
        ")",
        "\\",
        " ",
        "\r\n",
    ];
    for text in texts {
        let reply = repeated(text, ONE_MEGABYTE);
        assert_decided(&reply);
        assert_decided(&format!("FINAL(\"\"\"{reply}"));
        assert_decided(&format!("```python\n'''{reply}"));
    }
}
