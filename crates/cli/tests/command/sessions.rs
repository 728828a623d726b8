//! Sessions: code, files, snapshots, forks, interrupts.

use crate::desk::{Desk, eventually, is_alive, signal};
use crate::ground::{Behaviour, Ran, children_of, ukernel};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::thread;
use std::time::Duration;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("the_transcript_of_the_documents", transcript),
    ("commands_share_files_with_python", commands),
    ("ends_have_their_codes", codes),
    ("what_makes_no_sense_is_refused", refused),
    ("json_is_one_document_even_of_failures", json),
    ("ctrl_c_interrupts_and_keeps_the_state", interrupt),
    ("who_waits_in_a_queue_interrupts_only_itself", queued),
    ("a_time_limit_goes_back_one_command", time_limit),
    ("what_code_shows_comes_with_its_result", shown),
    (
        "a_receipt_says_what_was_done_and_cannot_be_changed",
        receipt,
    ),
];

fn transcript() {
    let desk = Desk::new();
    assert_eq!(desk.says(&["create", "--name", "lab"]), "lab\n");
    assert_eq!(desk.says(&["exec", "lab", "x = 41"]), "");
    assert_eq!(desk.says(&["exec", "lab", "print(x+1)"]), "42\n");
    desk.says(&["snapshot", "lab", "before"]);
    desk.says(&[
        "exec",
        "lab",
        "import os; x = 0; open('f','w').write('gone')",
    ]);
    desk.says(&["rollback", "lab", "before"]);
    assert_eq!(
        desk.says(&["exec", "lab", "import os; x, os.path.exists('f')"]),
        "(41, False)\n"
    );
    let forks = desk.says(&["fork", "lab", "-n", "8"]);
    let forks: Vec<&str> = forks.lines().collect();
    assert_eq!(forks.len(), 8);
    for (number, fork) in forks.iter().enumerate() {
        desk.says(&["exec", fork, &format!("x += {number}")]);
    }
    for (number, fork) in forks.iter().enumerate() {
        assert_eq!(
            desk.says(&["exec", fork, "x"]),
            format!("{}\n", 41 + number)
        );
    }
    assert_eq!(
        desk.says(&["exec", "lab", "x"]),
        "41\n",
        "apart from its forks"
    );
    assert!(desk.says(&["snapshots", "lab"]).contains("before"));
    desk.says(&["extend", "lab"]);
    desk.says(&["destroy", "lab"]);
    desk.session(&["exec", "lab", "x"]).expect(2);
    let vms = children_of(desk.daemon());
    assert!(vms.len() >= 8, "{vms:?}");
    desk.stop();
    eventually("no process is left", || {
        desk.daemons().is_empty() && !vms.iter().any(|vm| is_alive(*vm))
    });
}

fn commands() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let file = desk.home.path().join("words");
    fs::write(&file, "b 2\na 1\n").expect("written");
    let host = file.to_str().expect("UTF-8");
    desk.says(&["put", "lab", host, "/words"]);
    assert_eq!(
        desk.says(&[
            "bash",
            "lab",
            "sort /words | awk '{print $1}' > /first; cat /first"
        ]),
        "a\nb\n"
    );
    assert_eq!(
        desk.says(&["exec", "lab", "open('/first').read()"]),
        "'a\\nb\\n'\n"
    );
    assert_eq!(desk.says(&["get", "lab", "/first", "-"]), "a\nb\n");
    let kept = desk.session(&["get", "lab", "/first", host]).expect(2);
    assert!(kept.stderr.contains("--force"), "{}", kept.stderr);
    assert_eq!(fs::read_to_string(&file).expect("read"), "b 2\na 1\n");
    desk.says(&["get", "lab", "/first", host, "--force"]);
    assert_eq!(fs::read_to_string(&file).expect("read"), "a\nb\n");
    desk.session(&["bash", "lab", "exit 7"]).expect(7);
    let absent = desk.session(&["bash", "lab", "curl x"]).expect(127);
    assert!(absent.stderr.contains("no network"), "{}", absent.stderr);
    desk.session(&["get", "lab", "/nosuch", "-"]).expect(1);
}

fn codes() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.session(&["exec", "lab", "import sys; sys.exit(9)"])
        .expect(9);
    let raised = desk.session(&["exec", "lab", "1/0"]).expect(1);
    assert!(
        raised.stderr.contains("ZeroDivisionError"),
        "{}",
        raised.stderr
    );
    let wrong = desk.session(&["exec", "lab", "print("]).expect(1);
    assert!(wrong.stderr.contains("SyntaxError"), "{}", wrong.stderr);
    assert_eq!(desk.says(&["exec", "lab", ""]), "");
}

fn refused() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let long = "x".repeat(10_000);
    for name in ["", "../lab", "a/b", " ", "-x y", &long, "é"] {
        let name = format!("--name={name}");
        let refused = desk.session(&["create", &name]).expect(2);
        assert!(refused.stderr.starts_with("error: "), "{}", refused.stderr);
        assert!(refused.stderr.len() < 500, "{}", refused.stderr);
    }
    for name in ["", "../before", "a/b", &long] {
        desk.session(&["snapshot", "lab", name]).expect(2);
    }
    desk.says(&["snapshot", "lab", "before"]);
    let twice = desk.session(&["snapshot", "lab", "before"]).expect(2);
    assert!(twice.stderr.contains("already"), "{}", twice.stderr);
    let twice = desk.session(&["create", "--name", "lab"]).expect(2);
    assert!(twice.stderr.contains("already"), "{}", twice.stderr);
    desk.session(&["rollback", "lab", "nosuch"]).expect(2);
    for unknown in ["nosuch", "", "../lab", &long] {
        let refused = desk.session(&["exec", unknown, "1"]).expect(2);
        assert!(refused.stderr.contains("session"), "{}", refused.stderr);
    }
    let create = ["session", "create", "--guest", "linux"];
    let mut without = ukernel(desk.home.path(), &create);
    let linux = Ran::from(without.env("PATH", "/nowhere").output().expect("it starts"));
    let linux = linux.expect(3);
    assert!(linux.stderr.contains("qemu-system-x86"), "{}", linux.stderr);
}

fn json() {
    let desk = Desk::new();
    let document = |ran: Ran| -> Value {
        serde_json::from_slice(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.text()))
    };
    let made = document(
        desk.session(&["create", "--name", "lab", "--json"])
            .expect(0),
    );
    assert_eq!(made["name"], "lab");
    let ran = desk.session(&["exec", "lab", "--json", "print('out'); 6 * 7"]);
    let done = document(ran.expect(0));
    assert_eq!(done["stdout"], "out\n");
    assert_eq!(done["value"], "42");
    let ran = desk.session(&[
        "exec",
        "lab",
        "--json",
        "--timeout",
        "0.5",
        "print('first')\nwhile True: pass",
    ]);
    let failed = document(ran.expect(124));
    assert_eq!(failed["error"]["kind"], "time_limit");
    assert_eq!(failed["stdout"], "first\n");
}

fn interrupt() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "x = 1"]);
    let code = "x = 2\nprint('go', flush=True)\nwhile True: pass";
    let mut running = desk.start(&["exec", "lab", code]);
    // Before its first line an interrupt ends it without a traceback, and without that line.
    let mut go = [0; 3];
    let mut stdout = running.stdout.take().expect("a pipe");
    stdout.read_exact(&mut go).expect("it runs");
    signal(running.id(), Signal::INT);
    let ran: Ran = running.wait_with_output().expect("it ends").into();
    let ran = ran.expect(130);
    assert!(ran.stderr.contains("KeyboardInterrupt"), "{}", ran.stderr);
    assert_eq!(desk.says(&["exec", "lab", "x"]), "2\n");
    let running = desk.start(&["exec", "lab", "while True: pass"]);
    desk.until_running("lab");
    assert_eq!(desk.says(&["interrupt", "lab"]), "interrupted\n");
    let ran: Ran = running.wait_with_output().expect("it ends").into();
    ran.expect(130);
}

fn queued() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let long = "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass\n\
                print('whole')";
    let running = desk.start(&["exec", "lab", long]);
    desk.until_running("lab");
    for how in [Signal::KILL, Signal::INT] {
        let waiting = desk.start(&["exec", "lab", "x = 1"]);
        thread::sleep(Duration::from_millis(300));
        signal(waiting.id(), how);
        let ran: Ran = waiting.wait_with_output().expect("it ends").into();
        if how == Signal::INT {
            let ran = ran.expect(130);
            assert!(ran.stderr.contains("before it began"), "{}", ran.stderr);
        }
    }
    let ran: Ran = running.wait_with_output().expect("it ends").into();
    assert_eq!(ran.expect(0).text(), "whole\n");
    assert_eq!(desk.says(&["exec", "lab", "'x' in globals()"]), "False\n");
}

fn time_limit() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "x = 1"]);
    let late = desk.session(&[
        "exec",
        "lab",
        "--timeout",
        "0.5",
        "x = 2; print('begun')\nwhile True: pass",
    ]);
    let late = late.expect(124);
    assert_eq!(late.text(), "begun\n");
    assert!(
        late.stderr.contains("stands as it was before this command"),
        "{}",
        late.stderr
    );
    assert_eq!(desk.says(&["exec", "lab", "x"]), "1\n");
}

fn shown() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    let code =
        "display({'a': [1]}, 'text')\nclass Page:\n    def _repr_html_(self): return '<b>'\nPage()";
    let said = desk.says(&["exec", "lab", code, "--json"]);
    let document: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        document["parts"],
        serde_json::json!([
            {"media_type": "application/json", "bytes": "eyJhIjogWzFdfQ=="},
            {"media_type": "text/plain", "bytes": "dGV4dA=="},
            {"media_type": "text/html", "bytes": "PGI+"},
        ])
    );
    let many = "for n in range(17): display(n)";
    let ran = desk.session(&["exec", "lab", many]).expect(1);
    assert!(ran.stderr.contains("at most 16 parts"), "{}", ran.stderr);
    // Nobody can show things for another execution, nor later.
    assert_eq!(desk.says(&["exec", "lab", "1"]), "1\n");
}

fn receipt() {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    desk.says(&["exec", "lab", "x = 1"]);
    desk.says(&["snapshot", "lab", "one"]);
    let file = desk.home.path().join("file");
    std::fs::write(&file, "content").expect("written");
    let file = file.display().to_string();
    desk.says(&["put", "lab", &file, "/f"]);
    desk.says(&["get", "lab", "/f", &format!("{file}.back")]);
    desk.says(&["fork", "lab"]);
    desk.says(&["rollback", "lab", "one"]);
    let said = desk.says(&["destroy", "lab", "--json"]);
    let document: Value = serde_json::from_str(&said).expect("JSON");
    let receipt = document["receipt"].as_str().expect("a path");
    let verify = |code: i32| -> Ran {
        let asked = ukernel(desk.home.path(), &["audit", "verify", receipt, "--json"]).output();
        Ran::from(asked.expect("it starts")).expect(code)
    };
    let verified: Value = serde_json::from_slice(&verify(0).stdout).expect("JSON");
    assert_eq!(verified["is_sealed"], true, "{verified}");
    assert_eq!(
        verified["events"],
        serde_json::json!({"create": 1, "start": 3, "end": 3, "get": 1, "snapshot": 1, "fork": 1, "sealed": 1})
    );
    let text = std::fs::read_to_string(receipt).expect("read");
    assert!(
        text.contains("x = 1") && text.contains("rollback"),
        "{text}"
    );
    std::fs::write(receipt, text.replace("x = 1", "x = 2")).expect("written");
    let refused = verify(1);
    assert!(
        refused.stderr.contains("line 2: it was changed"),
        "{}",
        refused.stderr
    );
}
