//! Every reply of the corpus means what it says there.
//!
//! A line of `corpus/*.jsonl` is a reply, what it is about, and either the `commands` it comes to or the
//! words (`corrected`) that the correction has to have.

use serde_json::{Value, json};
use ukernel_reply::{Command, Parsed, parse};

fn shown(command: &Command) -> Value {
    match command {
        Command::Run(script) => json!({"bash": script.source}),
        Command::Code(program) => json!({"python": program.source}),
        Command::Final(answer) if answer.is_between_prose => {
            json!({"final_between_prose": answer.text})
        }
        Command::Final(answer) => json!({"final": answer.text}),
        Command::FinalVariable(name) => json!({"final_var": name}),
        Command::QueryLlm(query) => json!({"query_llm": query.prompt}),
        Command::Snapshot(name) => json!({"snapshot": name}),
        Command::Rollback(name) => json!({"rollback": name}),
    }
}

/// What is wrong with what a reply comes to.
fn difference(entry: &Value) -> Option<String> {
    let reply = entry["reply"].as_str().expect("a reply");
    let shown: Value = match parse(reply) {
        Parsed::Commands(commands) => commands.iter().map(shown).collect(),
        Parsed::Correction(message) => {
            let is_told = |word: &Value| message.contains(word.as_str().expect("a word"));
            match entry["corrected"].as_array() {
                Some(words) if words.iter().all(is_told) => return None,
                _ => Value::from(message),
            }
        }
    };
    (entry["commands"] != shown).then(|| format!("{entry}\n  but it came to {shown}"))
}

#[test]
fn every_reply_means_what_the_corpus_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    let mut count = 0;
    let mut differences = Vec::new();
    for file in std::fs::read_dir(folder).expect("the corpus") {
        let lines = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        for line in lines.lines() {
            count += 1;
            differences.extend(difference(&serde_json::from_str(line).expect("JSON")));
        }
    }
    assert!(count > 600, "the corpus has only {count} replies");
    assert!(
        differences.is_empty(),
        "{} of {count}:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
