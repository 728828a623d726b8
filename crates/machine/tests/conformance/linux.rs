//! What only a Linux does: processes, users, terminals, packages, commands that call the host.

use crate::Behaviour;
use crate::ground::{DONE, Ground, Guest, LONG, fork, linux, try_run};
use std::time::{Duration, Instant};
use ukernel_abi::message::{Exec, Mode, Outcome, Stream, TerminalSize};
use ukernel_machine::Limits;
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{Event, Events, Until, follow};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("linux_has_what_agents_expect", what_agents_expect_is_there),
    ("linux_processes_files_and_jobs_stay", processes_stay),
    (
        "linux_a_program_is_a_process_of_its_own",
        program_of_its_own,
    ),
    (
        "linux_twins_share_nothing_random",
        twins_share_nothing_random,
    ),
    ("linux_programs_call_the_host_by_commands", commands_call),
    (
        "linux_a_terminal_has_a_size_and_a_shell",
        a_terminal_has_a_size_and_a_shell,
    ),
];

pub struct Ran {
    pub outcome: Outcome,
    pub stdout: String,
    pub stderr: String,
}

pub fn done(code: i32) -> Outcome {
    Outcome::Exited { code, value: None }
}

pub fn exec(mode: Mode, source: &str) -> Exec {
    Exec {
        mode,
        ..Exec::program("test.py", source)
    }
}

pub fn run(guest: &mut Guest, mode: Mode, source: &str) -> Ran {
    let ran = try_run(guest, source, 2 * LONG, mode).expect("it ends");
    Ran {
        stdout: ran.text(Stream::Stdout),
        stderr: ran.text(Stream::Stderr),
        outcome: ran.outcome,
    }
}

/// Runs a program that is a process.
pub fn process(guest: &mut Guest, source: &str) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let until = Until {
        deadline: Some(Instant::now() + 2 * LONG),
        ..Until::default()
    };
    let exec = exec(Mode::Program, source);
    let ended = guest.exec(exec, &until, &out_of_reach(), &mut |event, _| {
        match event {
            Event::Output(Stream::Stdout, bytes) => stdout.extend(bytes),
            Event::Output(Stream::Stderr, bytes) => stderr.extend(bytes),
            _ => {}
        }
        Ok(())
    });
    Ran {
        outcome: ended.expect("it ends").outcome,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Runs a shell command that must succeed and gives what it printed.
pub fn bash(guest: &mut Guest, command: &str) -> String {
    let ran = run(guest, Mode::Shell, command);
    assert_eq!(ran.outcome, done(0), "{command}: {}", ran.stderr);
    ran.stdout
}

fn what_agents_expect_is_there(_: &Ground) {
    let (_machine, mut guest) = fork(linux());
    let modules = "numpy pandas requests matplotlib PIL openpyxl scipy sympy lxml bs4 yaml";
    let source = format!(
        "import importlib.util as u\n[m for m in '{modules}'.split() if u.find_spec(m) is None]"
    );
    let ran = run(&mut guest, Mode::Prompt, &source);
    let value = Some("[]".to_owned());
    assert_eq!(ran.outcome, Outcome::Exited { code: 0, value });
    bash(
        &mut guest,
        "for p in bash pip curl git jq node; do command -v $p >/dev/null || exit 1; done",
    );
}

fn processes_stay(_: &Ground) {
    let (_machine, mut guest) = fork(linux());
    assert!(bash(&mut guest, "ls /").contains("home\n"));
    assert_eq!(bash(&mut guest, "id -un; pwd"), "user\n/home/user\n");
    let begin = "cd /tmp; exec 3<>/tmp/f; echo hello >&3; (sleep 1; echo bg >late) &";
    bash(&mut guest, begin);
    assert_eq!(
        bash(&mut guest, "pwd; wait; cat f late"),
        "/tmp\nhello\nbg\n"
    );
    assert_eq!(run(&mut guest, Mode::Shell, "false").outcome, done(1));
}

fn program_of_its_own(_: &Ground) {
    let (_machine, mut guest) = fork(linux());
    run(&mut guest, Mode::Prompt, "x = 1");
    let ran = process(
        &mut guest,
        "import sys; print(sys.version_info[:2], 'x' in globals()); sys.exit(3)",
    );
    assert_eq!(
        (ran.outcome, ran.stdout.as_str()),
        (done(3), "(3, 11) False\n")
    );
}

fn twins_share_nothing_random(_: &Ground) {
    let draw = || {
        let (_machine, mut guest) = fork(linux());
        let source = "import random, secrets, uuid, numpy, ssl, os\n\
            print(random.random(), secrets.token_hex(), uuid.uuid4(), numpy.random.random(), ssl.RAND_bytes(8), os.urandom(8))";
        let python = run(&mut guest, Mode::Prompt, source).stdout;
        let shell = bash(
            &mut guest,
            "echo $RANDOM $RANDOM $RANDOM; cat /etc/machine-id; openssl rand -hex 8; hostname",
        );
        (python, shell)
    };
    let (one, other) = (draw(), draw());
    for (one, other) in [(one.0, other.0), (one.1, other.1)] {
        let shared: Vec<_> = one
            .split_whitespace()
            .zip(other.split_whitespace())
            .filter(|(a, b)| a == b)
            .collect();
        assert!(shared.is_empty() && !one.is_empty(), "{shared:?}");
    }
}

/// Commands of bash, side by side, and from a process of their own.
fn commands_call(_: &Ground) {
    let (_machine, mut guest) = fork(linux());
    let mut calls = |source: &str, mode: Mode, token: Option<[u8; 32]>| {
        let exec = Exec {
            token,
            ..exec(mode, source)
        };
        let until = Until {
            deadline: Some(Instant::now() + LONG),
            ..Until::default()
        };
        let mut printed = Vec::new();
        let mut waiting = Vec::new();
        let ended = guest.exec(exec, &until, &out_of_reach(), &mut |event, handles| {
            match event {
                Event::Call(call) => waiting.push(call),
                Event::Output(_, bytes) => printed.extend(bytes),
                _ => {}
            }
            // The three of the first command are there before one is answered.
            if waiting.len() == 3 || !source.contains('&') {
                for call in waiting.drain(..) {
                    let asked: serde_json::Value =
                        serde_json::from_slice(&call.payload).expect("JSON");
                    let result = |prompt: &serde_json::Value| {
                        serde_json::json!({"value": prompt.as_str().map(str::to_uppercase)})
                    };
                    let answer = match call.name.as_str() {
                        "query_llm" => asked["prompts"].as_array().map(|prompts| {
                            serde_json::json!({
                                "results": prompts.iter().map(result).collect::<Vec<_>>()
                            })
                        }),
                        "rlm_query" => {
                            let asked = &asked["queries"][0];
                            Some(serde_json::json!({
                                "results": [{"value": [asked["prompt"], asked["context"]]}]
                            }))
                        }
                        "final" => Some(serde_json::json!({})),
                        _ => None,
                    };
                    let answer = answer.map_or_else(
                        || Err("no such call".to_owned()),
                        |answer| Ok(answer.to_string().into_bytes()),
                    );
                    let answers = handles.answers.clone();
                    tokio::spawn(async move { answers.answer(call.number, answer).await });
                }
            }
            Ok(())
        });
        let outcome = ended.expect("it ends").outcome;
        (outcome, String::from_utf8_lossy(&printed).into_owned())
    };
    let token = Some([7; 32]);
    let together =
        "for n in a b c; do query_llm $n >/tmp/$n & done; wait; cat /tmp/a /tmp/b /tmp/c";
    let shell = Mode::Shell;
    assert_eq!(
        calls(together, shell, token),
        (DONE, "A\nB\nC\n".to_owned())
    );
    for (source, expected) in [
        ("echo text | query_llm what is", "WHAT IS\n\nTEXT\n\n"),
        ("query_llm a b <<<''", "A B\n\n\n\n"),
        (
            "printf 'a\\nb\\n' | llm_query_batched",
            "{\"value\":\"A\"}\n{\"value\":\"B\"}\n",
        ),
        ("echo data | rlm_query how", "[\"how\",\"data\\n\"]\n"),
        ("FINAL it is 42", ""),
    ] {
        assert_eq!(
            calls(source, shell, token),
            (DONE, expected.to_owned()),
            "{source}"
        );
    }
    let python = "import subprocess; print(subprocess.run(['query_llm', 'x'], capture_output=True, text=True).stdout)";
    for mode in [Mode::Program, Mode::Prompt] {
        assert_eq!(calls(python, mode, token).1, "X\n\n");
    }
    let (outcome, said) = calls("query_llm x", shell, None);
    assert_eq!(outcome, done(1));
    assert!(said.contains("nobody answers calls"), "{said}");
    let (outcome, said) = calls("query_llm", shell, token);
    assert_eq!(outcome, done(2));
    assert!(said.contains("usage: query_llm"), "{said}");
    let (outcome, said) = calls("UKERNEL_EXECUTION=999 query_llm x", shell, token);
    assert_eq!(outcome, done(1));
    assert!(said.contains("has ended"), "{said}");
    // What no program of ours says harms nobody.
    let garbage = "import socket\n\
        for said in (b'', b'\\xff' * 100, b'\\x02\\0\\0\\0\\0\\0\\0\\0{}', b'\\x02\\0\\0\\0'):\n\
        \x20   s = socket.socket(socket.AF_UNIX); s.connect('/run/ukernel/calls'); s.sendall(said); s.close()\n\
        open_ones = [socket.socket(socket.AF_UNIX) for _ in range(200)]\n\
        for s in open_ones: s.connect('/run/ukernel/calls')";
    calls(garbage, Mode::Program, token);
    assert_eq!(calls("query_llm x", shell, token), (DONE, "X\n".to_owned()));
}

fn a_terminal_has_a_size_and_a_shell(_: &Ground) {
    let mut machine = linux().fork(Limits::NONE).expect("a fork");
    let channel = machine.connect().expect("a channel");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let guest = ukernel_machine::guest::Guest::greet(channel)
            .await
            .expect("greeted");
        let size = |columns, rows| TerminalSize { columns, rows };
        let exec = Exec {
            has_input: true,
            terminal: Some(size(80, 24)),
            ..exec(Mode::Shell, "")
        };
        let execution = guest.exec(exec).await.expect("it begins");
        let input = execution.input();
        let signals = execution.signals();
        let typed = tokio::spawn(async move {
            let typing = input.write(b"stty size; tty; read -r x; stty size; exit 3\n");
            assert!(typing.await.expect("typed"));
            tokio::time::sleep(Duration::from_secs(3)).await;
            signals.resize(size(100, 30)).await.expect("resized");
            assert!(input.write(b"go on\n").await.expect("typed"));
            input
        });
        let mut said = Said(Vec::new());
        let until = Until {
            deadline: Some(Instant::now() + Duration::from_secs(60)),
            ..Until::default()
        };
        let ended = follow(execution, &until, &out_of_reach(), &mut said).await;
        let said = String::from_utf8_lossy(&said.0).into_owned();
        assert_eq!(ended.expect("it ends").outcome, done(3), "{said}");
        typed.await.expect("no panic");
        for line in ["24 80", "/dev/pts/", "30 100"] {
            assert!(said.contains(line), "{line}: {said}");
        }
        // A client that goes hangs up.
        let exec = Exec {
            terminal: Some(size(80, 24)),
            ..exec_of_shell("sleep 1000")
        };
        let execution = guest.exec(exec).await.expect("it begins");
        let until = Until {
            grace: Duration::from_secs(60),
            ..until
        };
        until.interrupt.cancel();
        let ended = follow(execution, &until, &out_of_reach(), &mut Said(Vec::new())).await;
        assert_eq!(ended.expect("it ends").outcome, Outcome::Interrupted);
    });
}

pub fn exec_of_shell(source: &str) -> Exec {
    exec(Mode::Shell, source)
}

/// What an execution prints.
pub struct Said(pub Vec<u8>);

impl Events for Said {
    async fn take(&mut self, event: Event) -> ukernel_machine::Result<()> {
        if let Event::Output(_, bytes) = event {
            self.0.extend(bytes);
        }
        Ok(())
    }
}
