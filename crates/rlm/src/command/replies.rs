//! Whole replies as models write them.

use super::{BashCommand, Command, LlmQuery, Parsed, PythonCode, parse};

fn code(source: &str) -> Command {
    Command::Code(PythonCode {
        source: source.into(),
    })
}

fn run(source: &str) -> Command {
    Command::Run(BashCommand {
        source: source.into(),
    })
}

fn answer(text: &str) -> Command {
    Command::Final(text.into())
}

fn variable(name: &str) -> Command {
    Command::FinalVariable(name.into())
}

/// Asserts that a reply comes to these commands.
#[track_caller]
fn gives(reply: &str, commands: &[Command]) {
    assert_eq!(parse(reply), Parsed::Commands(commands.to_vec()), "{reply}");
}

/// Asserts that a reply is corrected with these words.
#[track_caller]
fn is_corrected(reply: &str, words: &[&str]) {
    match parse(reply) {
        Parsed::Commands(commands) => panic!("{reply}\n{commands:?}"),
        Parsed::Correction(message) => {
            for word in words {
                assert!(message.contains(word), "{word:?} is not in {message:?}");
            }
        }
    }
}

#[test]
fn a_large_model_explains_and_writes_a_block() {
    gives(
        "I'll start by looking at how the context is laid out.\n\n\
         ```repl\nprint(type(context), len(context))\nprint(context[:500])\n```\n\n\
         Once I see it I can decide how to split it. I will call FINAL(answer) when done.",
        &[code(
            "print(type(context), len(context))\nprint(context[:500])",
        )],
    );
}

#[test]
fn several_blocks_come_in_their_order() {
    gives(
        "First:\n```python\na = 1\n```\nthen the shell:\n~~~sh\nls\n~~~\nand\n```py\nb = 2\n```",
        &[code("a = 1"), run("ls"), code("b = 2")],
    );
}

#[test]
fn a_reasoning_model_thinks_before_it_writes() {
    gives(
        "<think>\nMaybe FINAL(41)? Let me try:\n```python\nprint(41)\n```\n</think>\n\n\
         ```python\nprint(42)\n```",
        &[code("print(42)")],
    );
    gives("so it must be 42.\n</think>\n\nFINAL(42)", &[answer("42")]);
    is_corrected("<think>\nLet me see. FINAL(4", &["thinking", "</think>"]);
    is_corrected("<think>x</think>\n", &["only reasoning"]);
}

#[test]
fn a_prompt_with_fences_in_a_string_stays_in_one_piece() {
    let program = "prompt = f\"\"\"Answer in JSON:\n```json\n{{\"a\": 1}}\n```\n\
                   FINAL(not this)\n{chunk}\"\"\"\nprint(llm_query(prompt))";
    gives(
        &format!("```python\n{program}\n```\nThen I go on."),
        &[code(program)],
    );
    gives(program, &[code(program)]);
}

#[test]
fn a_model_that_ran_out_of_words_leaves_the_block_open() {
    gives(
        "Sure.\n```python\nx = 1\nprint(x)",
        &[code("x = 1\nprint(x)")],
    );
    is_corrected("Sure.\n```python\n", &["code block is empty", "```python"]);
}

#[test]
fn windows_line_ends_change_nothing() {
    gives(
        "Hi\r\n```python\r\nx = 1\r\n\r\nprint(x)\r\n```\r\n",
        &[code("x = 1\n\nprint(x)")],
    );
    gives("\u{feff}FINAL(a\r\nb)\r\n", &[answer("a\nb")]);
}

#[test]
fn a_server_leaves_stop_tokens_at_the_end() {
    gives("FINAL(42)<|im_end|>", &[answer("42")]);
    gives("```python\nx = 1\n```</s>\n<|eot_id|>\n", &[code("x = 1")]);
    is_corrected("<|im_end|>", &["empty"]);
}

#[test]
fn a_block_in_a_list_is_dedented() {
    gives(
        "1. Look:\n\n    ```python\n    for x in y:\n        print(x)\n    ```\n\n2. Go on.",
        &[code("for x in y:\n    print(x)")],
    );
    gives("- ```bash\n  ls\n  ```", &[run("ls")]);
}

#[test]
fn sessions_are_copied_with_their_prompts() {
    gives(
        "```python\n>>> x = f(1)\n>>> x\n3\n```",
        &[code("x = f(1)\nx")],
    );
    gives(
        ">>> x = f(1)\n>>> print(x)\n3",
        &[code("x = f(1)\nprint(x)")],
    );
    gives("```console\n$ ls\na b\n$ pwd\n/\n```", &[run("ls\npwd")]);
}

#[test]
fn a_block_without_a_label_is_what_it_looks_like() {
    gives(
        "```\nimport re\nprint(re.findall('a', context))\n```",
        &[code("import re\nprint(re.findall('a', context))")],
    );
    gives("```\nFINAL(42)\n```", &[answer("42")]);
    gives(
        "```\n{\"tool\": \"bash\", \"command\": \"ls\"}\n```",
        &[run("ls")],
    );
    is_corrected(
        "```\nThe file has three parts.\n```",
        &["No command was found"],
    );
    is_corrected(
        "````\n```python\nprint(1)\n```\n````",
        &["No command was found"],
    );
}

#[test]
fn blocks_in_other_languages_are_quotations() {
    is_corrected(
        "```javascript\nconsole.log(1)\n```",
        &["javascript", "not run"],
    );
    is_corrected("```text\nFINAL(42)\n```", &["text"]);
    gives(
        "The output was\n```output\nFINAL(1)\n```\nFINAL(2)",
        &[answer("2")],
    );
    gives(
        "````markdown\n# How to\n```python\nprint(1)\n```\nFINAL(1)\n````\n```python\nprint(2)\n```",
        &[code("print(2)")],
    );
}

#[test]
fn a_small_model_forgets_the_fence() {
    gives("print(len(context))", &[code("print(len(context))")]);
    gives(
        "Here is the code:\n\nimport re\nfor m in re.findall(r'\\d+', context):\n    print(m)\n",
        &[code(
            "import re\nfor m in re.findall(r'\\d+', context):\n    print(m)",
        )],
    );
    gives(
        "Here:\n    x = f(1)\n    print(x)",
        &[code("x = f(1)\nprint(x)")],
    );
    gives(
        "x = len(context)\nFINAL(x)",
        &[code("x = len(context)\nFINAL(x)")],
    );
    gives(
        "print(1)\nFINAL(the count is one)",
        &[code("print(1)"), answer("the count is one")],
    );
    gives(
        "answer = {'content': x, 'ready': True}",
        &[code("answer = {'content': x, 'ready': True}")],
    );
}

#[test]
fn prose_stays_prose() {
    for reply in [
        "The answer is 42.",
        "x = 5",
        "I need to look at the context. Next I would print(context).",
        "- first\n- second",
        "> ```python\n> print(1)\n> ```",
        "> FINAL(42)",
        "Answer: 42",
    ] {
        is_corrected(reply, &["No command was found", "```python", "FINAL("]);
    }
    is_corrected("", &["empty", "```python"]);
    is_corrected("  \r\n ", &["empty"]);
}

#[test]
fn a_final_answer_is_written_in_many_ways() {
    for reply in [
        "FINAL(42)",
        "I am done.\n\nFINAL(42)\n",
        "**FINAL(42)**",
        "`FINAL(42)`",
        "### FINAL(42)",
        "- FINAL(42)",
        "Final answer: FINAL(42)",
        "**Final Answer:** `FINAL(42)`.",
        "FINAL(\"42\")",
        "FINAL('''42''')",
        "FINAL(\n42\n)",
        "FINAL(42",
        "FINAL(42)\nFINAL(42)",
        "FINAL(42) I hope this helps.",
    ] {
        gives(reply, &[answer("42")]);
    }
    gives("FINAL(f (x) (y))", &[answer("f (x) (y)")]);
    gives(
        "FINAL(Use:\n```python\nprint(1)\n```\nas it is)",
        &[answer("Use:\n```python\nprint(1)\n```\nas it is")],
    );
    gives(
        "FINAL(\"\"\"a)\n\n```json\n{}\n```\n(b\"\"\")",
        &[answer("a)\n\n```json\n{}\n```\n(b")],
    );
    gives("Done.\n\n**FINAL_VAR(\"result\")**", &[variable("result")]);
}

#[test]
fn code_may_be_followed_by_an_answer_but_not_the_other_way_round() {
    gives(
        "```python\nx = 1\n```\nFINAL_VAR(x)",
        &[code("x = 1"), variable("x")],
    );
    gives("```bash\nls\n```\n\nFINAL(a)", &[run("ls"), answer("a")]);
    is_corrected(
        "FINAL(1)\n```python\nprint(1)\n```",
        &["FINAL(1)", "and then code"],
    );
    is_corrected("FINAL(1\n```python\nprint(1)\n```", &["never closed"]);
    is_corrected("FINAL(the count is one)\nprint(1)", &["and then code"]);
    is_corrected(
        "FINAL(1)\n\nFINAL(2)",
        &["FINAL(1)", "FINAL(2)", "different"],
    );
}

#[test]
fn an_answer_that_says_nothing_is_corrected() {
    for reply in [
        "FINAL(your answer here)",
        "FINAL(...)",
        "FINAL(answer)",
        "FINAL(\"<answer>\")",
    ] {
        is_corrected(reply, &["placeholder"]);
    }
    is_corrected("FINAL()", &["empty"]);
    is_corrected("FINAL_VAR(my result)", &["my result", "FINAL_VAR(name)"]);
    is_corrected(
        "I will call FINAL(42) when done.",
        &["inside a sentence", "FINAL(42)"],
    );
}

#[test]
fn final_inside_code_is_the_codes_business() {
    let program = "# FINAL(1)\ns = 'FINAL(2)'\nFINAL(s)\nFINAL_VAR('s')";
    gives(&format!("```python\n{program}\n```"), &[code(program)]);
}

#[test]
fn a_fence_that_shares_its_line_is_corrected() {
    is_corrected(
        "Here: ```python\nprint(1)\n```\nFINAL(3)",
        &["line of its own", "```python"],
    );
    is_corrected("```python print(1)```", &["line of its own"]);
}

#[test]
fn an_answer_dictionary_is_final_when_it_is_ready() {
    for reply in [
        "{\"content\": \"Paris\", \"ready\": true}",
        "```json\n{\"content\": \"Paris\", \"ready\": true}\n```",
        "answer = {\"content\": \"Paris\", \"ready\": True}",
    ] {
        gives(reply, &[answer("Paris")]);
    }
    let program = "answer = {\"content\": \"Paris\", \"ready\": True}";
    gives(&format!("```python\n{program}\n```"), &[code(program)]);
    is_corrected(
        "{\"content\": \"P\", \"ready\": false}",
        &["\"ready\": true"],
    );
}

#[test]
fn tool_calls_come_in_many_wrappings() {
    let call = "{\"name\": \"python\", \"arguments\": {\"code\": \"print(1)\"}}";
    for reply in [
        call.to_owned(),
        format!("```json\n{call}\n```"),
        format!("```tool_call\n{call}\n```"),
        format!("Let me look.\n<tool_call>\n{call}\n</tool_call>"),
        format!("<think>x</think><tool_call>{call}"),
        format!("<tool_call>\n```json\n{call}\n```\n</tool_call>"),
        format!("{{\"tool_calls\": [{{\"function\": {call}}}]}}"),
    ] {
        gives(&reply, &[code("print(1)")]);
    }
    let question = "{\"name\": \"llm_query\", \"arguments\": \"{\\\"prompt\\\": \\\"why?\\\"}\"}";
    let query = Command::QueryLlm(LlmQuery {
        prompt: "why?".into(),
    });
    gives(
        &format!("<tool_call>{call}</tool_call>\n<tool_call>{question}</tool_call>"),
        &[code("print(1)"), query],
    );
    is_corrected(
        "{\"name\": \"search\", \"arguments\": {}}",
        &["\"search\"", "python(code)"],
    );
    is_corrected("<tool_call>\nprint(1)\n</tool_call>", &["not valid JSON"]);
    is_corrected("```json\n{\"a\": 1}\n```", &["json", "tool call"]);
}
