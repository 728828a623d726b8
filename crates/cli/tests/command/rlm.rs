//! Questions and trajectories, as a user meets them.

use crate::desk::{eventually, is_alive};
use crate::ground::{Behaviour, Ran, children_of, home, run, ukernel};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Those that need no VM.
pub const WITHOUT_VMS: &[Behaviour] = &[
    ("contexts_that_cannot_be_are_named", bad_contexts),
    ("settings_that_cannot_be_are_named", bad_settings),
    ("a_replay_that_is_not_there_is_wrong_usage", no_replay),
    ("trajectories_that_are_none_are_named", bad_trajectories),
];

pub const BEHAVIOURS: &[Behaviour] = &[
    ("the_readme_s_example_works", example),
    ("json_is_one_document_also_when_it_fails", json),
    ("standard_input_can_be_the_context", standard_input),
    ("no_model_is_an_error_that_says_how_to_get_one", no_model),
    ("an_answer_can_have_to_follow_a_schema", schema),
    (
        "ctrl_c_ends_everything_and_the_trajectory_is_whole",
        interrupted,
    ),
    (
        "a_trajectory_is_shown_as_text_and_as_a_page_and_played_again",
        shown,
    ),
    ("runs_are_kept_without_their_texts", kept),
    (
        "a_partial_answer_says_so_and_has_a_code_of_its_own",
        partial,
    ),
    ("a_key_that_is_refused_has_one_hint", refused_key),
    ("what_a_time_limit_cuts_off_stays_in_the_tree", cut_off),
];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A replay in which every request is answered by the next line.
pub struct Talk(tempfile::TempDir);

impl Talk {
    pub fn new(replies: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lines: Vec<String> = replies
            .iter()
            .map(|reply| {
                let line = serde_json::json!({"version": 1, "when": {}, "reply": {"text": reply}});
                line.to_string()
            })
            .collect();
        std::fs::write(folder.path().join("talk.jsonl"), lines.join("\n")).expect("written");
        std::fs::write(folder.path().join("context.txt"), "one\ntwo\nthree\n").expect("written");
        Self(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    pub fn model(&self) -> String {
        format!("replay:{}", self.path("talk.jsonl"))
    }

    pub fn ask(&self, words: &[&str]) -> Ran {
        let (model, context) = (self.model(), self.path("context.txt"));
        let mut all = vec![
            "rlm",
            "What is it?",
            "--model",
            &model,
            "--context",
            &context,
        ];
        all.extend(words);
        run(&all)
    }
}

fn example() {
    let words = [
        "rlm",
        "Which of these documents name times in milliseconds, how many, and which is the smallest?",
        "--context",
        "README.md",
        "ARCHITECTURE.md",
        "docs",
        "--model",
        "replay:examples/promises.jsonl",
    ];
    let output = ukernel(&home(), &words)
        .current_dir(project())
        .output()
        .expect("the command starts");
    let ran = Ran::from(output).expect(0);
    let text = ran.text();
    assert!(
        text.contains(" times in docs/performance.md (measured times"),
        "{text}"
    );
    assert!(text.contains("The smallest is "), "{text}");
    assert!(!text.contains("query failed"), "{text}");
    assert!(ran.stderr.contains("no model is asked"), "{}", ran.stderr);
    assert!(ran.stderr.contains("query_llm ×"), "{}", ran.stderr);
    assert!(
        !ran.stderr.contains('\u{1b}'),
        "no colours without a terminal"
    );
}

fn json() {
    let talk = Talk::new(&["```python\nFINAL({'lines': context.count('\\n')})\n```"]);
    let ran = talk.ask(&["--json", "--quiet"]).expect(0);
    let document: Value = serde_json::from_str(&ran.text()).expect("one document");
    assert_eq!(document["answer"], "{\"lines\": 3}");
    assert_eq!(document["value"]["lines"], 3);
    assert_eq!(document["partial"], Value::Null);
    assert!(document["spent"]["prompt_tokens"].as_u64() > Some(0));
    assert_eq!(ran.stderr, "", "quiet");
    let talk = Talk::new(&["```python\nFINAL({'n': 10 ** 40 + 1})\n```"]);
    let ran = talk.ask(&["--json", "--quiet"]).expect(0);
    let exact = format!("\"value\":{{\"n\": 1{}1}}", "0".repeat(39));
    assert!(ran.text().contains(&exact), "{}", ran.text());
    let talk = Talk::new(&["```python\n1 / 0\n```"]);
    let ran = talk.ask(&["--json", "--quiet"]).expect(1);
    let document: Value = serde_json::from_str(&ran.text()).expect("one document");
    assert_eq!(document["error"]["kind"], "model");
    assert!(document["spent"]["steps"].as_u64() > Some(0), "{document}");
    let path = document["trajectory"].as_str().expect("a trajectory");
    assert!(
        path.contains(document["run"].as_str().expect("a run")),
        "{path}"
    );
    assert!(Path::new(path).exists(), "{path}");
    assert!(
        ran.stderr.starts_with("error: the replay"),
        "{}",
        ran.stderr
    );
}

fn standard_input() {
    let talk = Talk::new(&["```python\nFINAL(context.upper())\n```"]);
    let model = talk.model();
    let mut child = ukernel(
        &home(),
        &["rlm", "What?", "--context", "-", "--model", &model],
    )
    .stdin(Stdio::piped())
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the command starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"from a pipe").expect("written");
    drop(input);
    let ran = Ran::from(child.wait_with_output().expect("it ends")).expect(0);
    assert_eq!(ran.text(), "FROM A PIPE\n");
}

fn no_model() {
    // Port 9 of loopback: nobody listens there.
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("c.toml");
    let text = "[providers.ollama]\nbase_url = \"http://127.0.0.1:9/\"\n";
    std::fs::write(&config, text).expect("written");
    let config = config.to_string_lossy();
    let ran = run(&["rlm", "What?", "--config", &config]).expect(3);
    assert!(
        ran.stderr.contains("hint: name a model with --model"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.text(), "");
    let output = ukernel(&home(), &["rlm", "What?", "--model", "openai/any"])
        .env_remove("OPENAI_API_KEY")
        .output()
        .expect("the command starts");
    let ran = Ran::from(output).expect(3);
    assert!(ran.stderr.contains("set OPENAI_API_KEY"), "{}", ran.stderr);
}

fn schema() {
    let talk = Talk::new(&["FINAL(three)", "FINAL({\"n\": 3})"]);
    let file = talk.path("schema.json");
    std::fs::write(&file, "{\"type\": \"object\", \"required\": [\"n\"]}").expect("written");
    let ran = talk.ask(&["--schema", &file]).expect(0);
    assert_eq!(ran.text(), "{\"n\": 3}\n");
    let talk = Talk::new(&["FINAL(three)", "FINAL(3)"]);
    let ran = talk.ask(&["--schema", &file]).expect(1);
    assert!(
        ran.stderr.contains("does not fit the schema"),
        "{}",
        ran.stderr
    );
}

fn interrupted() {
    let talk = Talk::new(&[]);
    let line = "{\"version\":1,\"when\":{},\"delay_ms\":600000,\"reply\":{\"text\":\"late\"}}\n";
    let code = "```python\nquery_llm_batched(['a'] * 4)\n```";
    let first = serde_json::json!({"version": 1, "when": {}, "reply": {"text": code}});
    let lines = format!("{first}\n{}", line.repeat(4));
    std::fs::write(talk.path("talk.jsonl"), lines).expect("written");
    let (model, trace) = (talk.model(), talk.path("trace.jsonl"));
    let child = ukernel(
        &home(),
        &["rlm", "What?", "--model", &model, "--trace", &trace],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the command starts");
    let asks = || std::fs::read_to_string(&trace).is_ok_and(|text| text.contains("call_started"));
    let began = Instant::now();
    while !asks() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let vms = children_of(child.id());
    assert!(!vms.is_empty(), "VMs run");
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a pid");
    let told = Instant::now();
    kill_process(pid, Signal::INT).expect("it is there");
    let ran = Ran::from(child.wait_with_output().expect("it ends")).expect(130);
    eprintln!("ended {:?} after the signal", told.elapsed());
    assert!(ran.stderr.contains("error: cancelled"), "{}", ran.stderr);
    // They end with their parent, and a busy host takes a moment for that.
    eventually("no VM is left", || !vms.iter().any(|vm| is_alive(*vm)));
    let text = std::fs::read_to_string(&trace).expect("a trajectory");
    let last = text.lines().last().expect("lines");
    assert!(
        last.contains("\"run_ended\"") && text.contains("\"node_ended\""),
        "{last}"
    );
}

fn shown() {
    let talk = Talk::new(&[
        "```python\nprint('\\x1b[31m<script>')\nr = query_llm('why?')\n```",
        "because",
        "FINAL_VAR(r)",
    ]);
    let trace = talk.path("trace.jsonl");
    let ran = talk.ask(&["--trace", &trace]).expect(0);
    assert_eq!(ran.text(), "because\n");
    let ran = run(&["trace", "show", &trace]).expect(0);
    let text = ran.text();
    assert!(
        text.contains("What is it?") && text.contains("query_llm"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
    let page = talk.path("page.html");
    run(&["trace", "html", &trace, "-o", &page]).expect(0);
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    let model = format!("replay:{trace}");
    let context = talk.path("context.txt");
    let words = [
        "rlm",
        "What is it?",
        "--model",
        &model,
        "--context",
        &context,
    ];
    assert_eq!(run(&words).expect(0).text(), "because\n");
}

fn kept() {
    let talk = Talk::new(&["FINAL(a secret answer)"]);
    let ran = talk.ask(&["--json", "--quiet"]).expect(0);
    let document: Value = serde_json::from_str(&ran.text()).expect("one document");
    let path = document["trajectory"].as_str().expect("a path");
    let text = std::fs::read_to_string(path).expect("a trajectory");
    assert!(
        text.contains("run_ended") && !text.contains("secret"),
        "{text}"
    );
    let run_name = document["run"].as_str().expect("a name");
    let ran = run(&["trace", "show", &run_name[..8]]).expect(0);
    assert!(
        ran.text().contains("Texts were not recorded"),
        "{}",
        ran.text()
    );
}

fn partial() {
    let talk = Talk::new(&["```python\nprint(1)\n```", "FINAL(so far)"]);
    let config = talk.path("c.toml");
    std::fs::write(&config, "max_iterations = 2\n").expect("written");
    let ran = talk.ask(&["--quiet", "--config", &config]).expect(4);
    assert_eq!(ran.text(), "so far\n");
    assert_eq!(
        ran.stderr,
        "partial answer: 1 step was taken, and the last is for the answer\n"
    );
    let ran = talk.ask(&["--config", &config]).expect(4);
    assert_eq!(
        ran.stderr.matches("partial answer").count(),
        1,
        "{}",
        ran.stderr
    );
    assert_eq!(
        ran.stderr.matches("the model is asked").count(),
        2,
        "{}",
        ran.stderr
    );
}

fn refused_key() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let _ = std::io::Read::read(&mut stream, &mut [0; 65536]);
        let body = "{\"error\": {\"message\": \"no such key\"}}";
        let head =
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close";
        write!(
            stream,
            "{head}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("answered");
    });
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("c.toml");
    let text = format!(
        "llm_provider = \"mine\"\nllm_model = \"any\"\n[providers.mine]\n\
         base_url = \"http://127.0.0.1:{port}/v1/\"\nkey_variable = \"MINE_KEY\"\n"
    );
    std::fs::write(&config, text).expect("written");
    let config = config.to_string_lossy();
    let output = ukernel(&home(), &["rlm", "What?", "--config", &config])
        .env("MINE_KEY", "wrong")
        .output()
        .expect("the command starts");
    let ran = Ran::from(output).expect(3);
    server.join().expect("asked");
    assert_eq!(ran.stderr.matches("hint:").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: check the key"), "{}", ran.stderr);
}

fn cut_off() {
    let talk = Talk::new(&[]);
    let line = |reply: &str, delay: u64| {
        let line = serde_json::json!({
            "version": 1, "when": {}, "delay_ms": delay, "reply": {"text": reply}});
        format!("{line}\n")
    };
    let code = "```python\nquery_llm_batched(['a', 'b'])\n```";
    let lines = line(code, 0) + &line("soon", 0) + &line("late", 600_000) + &line("FINAL(ok)", 0);
    std::fs::write(talk.path("talk.jsonl"), lines).expect("written");
    let config = talk.path("c.toml");
    std::fs::write(&config, "execution_timeout_ms = 2000\n").expect("written");
    let trace = talk.path("trace.jsonl");
    let ran = talk
        .ask(&["--config", &config, "--trace", &trace])
        .expect(0);
    assert!(ran.stderr.contains("query_llm ×2"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cut off"), "{}", ran.stderr);
    let shown = run(&["trace", "show", &trace, "--full"]).expect(0).text();
    assert!(
        shown.contains("soon") && shown.contains("cut off"),
        "{shown}"
    );
}

fn no_replay() {
    let ran = run(&["rlm", "What?", "--model", "replay:/nowhere/talk.jsonl"]).expect(2);
    assert!(ran.stderr.contains("/nowhere/talk.jsonl"), "{}", ran.stderr);
}

fn bad_contexts() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("empty"), "").expect("written");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for (path, words) in [
        (at("none"), "No such file"),
        (at("*.txt"), "the pattern matches no file"),
        (at("empty"), "the context is empty"),
        ("/dev/null".to_owned(), "no regular file"),
    ] {
        let ran = run(&["rlm", "What?", "--context", &path, "--model", "replay:x"]).expect(2);
        assert!(ran.stderr.contains(words), "{path}: {}", ran.stderr);
    }
}

fn bad_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("c.toml");
    std::fs::write(&config, "max_total_tokenz = 1\n").expect("written");
    let config = config.to_string_lossy();
    for (words, said) in [
        (&["--config", &config] as &[&str], "max_total_tokenz"),
        (&["--model", "gpt"], "names no model"),
        (&["--budget-tokens", "0"], "budget-tokens"),
        (&["--budget-usd", "0"], "dollars"),
        (&["--schema", "/nowhere"], "/nowhere"),
    ] {
        let mut all = vec!["rlm", "What?"];
        all.extend(words);
        let ran = run(&all).expect(2);
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
    }
    let mut without = ukernel(&home(), &["rlm", "What?", "--guest", "linux"]);
    let ran = Ran::from(without.env("PATH", "/nowhere").output().expect("it starts"));
    let ran = ran.expect(3);
    assert!(ran.stderr.contains("qemu-system-x86"), "{}", ran.stderr);
}

fn bad_trajectories() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.jsonl");
    let path = file.to_string_lossy().into_owned();
    for content in ["", "{}\n", "not json\n", "\0\0\0"] {
        std::fs::write(&file, content).expect("written");
        run(&["trace", "show", &path]).expect(2);
        run(&["trace", "html", &path, "-o", "-"]).expect(2);
    }
    let ran = run(&["trace", "show", "nothing-of-that-name"]).expect(2);
    assert!(ran.stderr.contains("there is no file"), "{}", ran.stderr);
}
