//! Sessions of the Linux guest.

use crate::desk::{Desk, eventually, is_alive, signal};
use crate::ground::{Behaviour, Ran, children_of, ukernel};
use crate::rlm::Talk;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("the_transcript_of_the_documents", transcript),
    ("input_signals_and_limits", stopped),
    ("a_shell_on_a_terminal", shell),
    ("a_question_is_answered_there", question),
    ("a_killed_vm_or_daemon_loses_no_session_silently", killed),
    ("figures_and_tables_are_shown", shown),
];

/// Why there is no Linux guest here.
pub fn lack() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let tools = ["qemu-system-x86_64", "mmdebstrap", "tar2sqfs", "dpkg-deb"];
    let missing = tools.iter().find(|name| !is_there(name));
    missing.map(|name| format!("{name} is not installed"))
}

fn transcript() {
    let desk = Desk::new();
    desk.says(&["create", "--guest", "linux", "--name", "full"]);
    let said = desk.says(&[
        "bash",
        "full",
        "ls / | head -n 3; python3 --version; exec 3<>/tmp/f; (sleep 1; echo bg) &",
    ]);
    assert_eq!(said, "bin\nboot\ndev\nPython 3.11.2\n");
    desk.says(&["exec", "full", "import numpy, pandas; x = 41"]);
    desk.says(&["bash", "full", "cd /tmp; y=5; echo kept >&3"]);
    assert_eq!(desk.says(&["exec", "full", "x + 1"]), "42\n");
    desk.says(&["snapshot", "full", "a"]);
    desk.says(&["exec", "full", "x = 0"]);
    desk.says(&["bash", "full", "rm f; y=6"]);
    desk.says(&["rollback", "full", "a"]);
    assert_eq!(desk.says(&["exec", "full", "x"]), "41\n");
    assert_eq!(
        desk.says(&["bash", "full", "pwd; echo $y; cat f"]),
        "/tmp\n5\nkept\n"
    );
    let forks = desk.says(&["fork", "full", "-n", "2"]);
    let drawn: Vec<String> = forks
        .lines()
        .map(|fork| {
            assert_eq!(desk.says(&["bash", fork, "echo $y"]), "5\n");
            desk.says(&["bash", fork, "echo $RANDOM$RANDOM$RANDOM"])
        })
        .collect();
    assert_ne!(drawn[0], drawn[1], "twins");
    let list = desk.list();
    let sessions = list["sessions"].as_array().expect("a list");
    assert!(sessions.iter().all(|session| session["guest"] == "linux"));
    // Files, both ways.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("in")).expect("made");
    std::fs::write(folder.path().join("in/a"), "content").expect("written");
    let path = |name: &str| folder.path().join(name).display().to_string();
    desk.says(&["put", "full", &path("in"), "/data/in"]);
    assert_eq!(
        desk.says(&["bash", "full", "cat /data/in/a; echo >>/data/in/a"]),
        "content"
    );
    desk.says(&["get", "full", "/data/in", &path("out")]);
    let content = std::fs::read_to_string(folder.path().join("out/a"));
    assert_eq!(content.expect("read"), "content\n");
}

fn question() {
    let talk = Talk::new(&[
        "```python\nimport numpy\nword = query_llm('Say a word', context[:3])\nboth = query_llm_batched(['a', 'b'])\nprint(word, sorted(both), len(context), numpy.arange(3).sum())\n```",
        "apple",
        "left",
        "right",
        "```bash\necho $BASH_VERSION | cut -c1; echo text | query_llm 'In a word?' >/tmp/n; cat /tmp/n\n```",
        "because",
        "```python\nmy_answer = f'{word} {both} ' + open('/tmp/n').read().strip()\nFINAL_VAR('my_answer')\n```",
    ]);
    let ran = talk.ask(&["--guest", "linux", "--json"]).expect(0);
    let document: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let answer = document["answer"].as_str().expect("an answer");
    assert!(
        answer.starts_with("apple [") && answer.ends_with("] because"),
        "{answer}"
    );
}

fn stopped() {
    let desk = Desk::new();
    desk.says(&["create", "--guest", "linux", "--name", "full"]);
    for (kind, code) in [
        ("exec", "print(int(input()) + 1)"),
        ("bash", "read a; echo $((a + 1))"),
    ] {
        let mut child = ukernel(desk.home.path(), &["session", kind, "full", code])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"41\n").expect("written");
        drop(input);
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.expect(0).text(), "42\n");
    }
    desk.says(&["bash", "full", "x=1"]);
    assert_eq!(desk.session(&["bash", "full", "exit 7"]).code, Some(7));
    assert_eq!(
        desk.says(&["bash", "full", "echo \"[$x]\""]),
        "[]\n",
        "a new shell"
    );
    desk.says(&["exec", "full", "x = 1"]);
    let ended = desk.session(&["exec", "full", "x = 2; import os; os._exit(0)"]);
    assert_ne!(ended.code, Some(0));
    assert_eq!(
        desk.says(&["exec", "full", "print(x)"]),
        "1\n",
        "the state before stands"
    );
    for (kind, code) in [
        ("exec", "while True: pass"),
        ("bash", "while :; do :; done"),
    ] {
        let child = desk.start(&[kind, "full", code]);
        desk.until_running("full");
        thread::sleep(Duration::from_millis(500));
        signal(child.id(), Signal::INT);
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        ran.expect(130);
    }
    assert_eq!(desk.says(&["exec", "full", "x"]), "1\n");
    // A program that blocks every signal ends at its limit, and its session is where it was before.
    let deaf = "import signal\nx = 2\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass";
    let late = desk
        .session(&["exec", "full", "--timeout", "2", deaf])
        .expect(124);
    assert!(
        late.stderr.contains("stands as it was before this command"),
        "{}",
        late.stderr
    );
    assert_eq!(desk.says(&["exec", "full", "x"]), "1\n");
}

fn shell() {
    let desk = Desk::new();
    desk.says(&["create", "--guest", "linux", "--name", "full"]);
    desk.says(&["create", "--name", "small"]);
    let refused = desk.session(&["shell", "full"]).expect(2);
    assert!(refused.stderr.contains("no terminal"), "{}", refused.stderr);
    let on_terminal = |name: &str, typed: &str| {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        grantpt(&master)
            .and_then(|()| unlockpt(&master))
            .expect("a terminal");
        let size = Winsize {
            ws_row: 33,
            ws_col: 99,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("a size");
        let terminal = || Stdio::from(ioctl_tiocgptpeer(&master, flags).expect("its other end"));
        let mut child = ukernel(desk.home.path(), &["session", "shell", name])
            .stdin(terminal())
            .stdout(terminal())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut master = std::fs::File::from(master);
        master.write_all(typed.as_bytes()).expect("typed");
        let code = child.wait().expect("it ends").code();
        let mut said = vec![0; 64 << 10];
        let count = master.read(&mut said).unwrap_or(0);
        (code, String::from_utf8_lossy(&said[..count]).into_owned())
    };
    // What is typed ahead of the shell is there when it reads.
    let (code, said) = on_terminal("full", "stty size; echo $((6 * 7)); exit 5\n");
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("33 99") && said.contains("42"), "{said}");
    let (code, _) = on_terminal("small", "");
    assert_eq!(
        code,
        Some(2),
        "a guest without terminals refuses, and its session goes on"
    );
    assert_eq!(desk.says(&["exec", "small", "1 + 1"]), "2\n");
}

fn killed() {
    let desk = Desk::new();
    desk.says(&["create", "--guest", "linux", "--name", "full"]);
    desk.says(&["bash", "full", "cd /tmp; echo kept >f"]);
    // The checkpoint is written behind a command; the next one waits for it.
    desk.says(&["bash", "full", "true"]);
    let list = desk.list();
    let process = list["sessions"][0]["process"].as_u64().expect("a process");
    signal(u32::try_from(process).expect("a process"), Signal::KILL);
    let ran = desk.session(&["bash", "full", "cat f"]);
    let again = if ran.code == Some(0) {
        ran
    } else {
        desk.session(&["bash", "full", "cat f"])
    };
    assert_eq!(again.expect(0).text(), "kept\n");
    let daemon = desk.daemon();
    let vms = children_of(daemon);
    assert!(!vms.is_empty());
    signal(daemon, Signal::KILL);
    eventually("its VMs end with it", || {
        !is_alive(daemon) && !vms.iter().any(|vm| is_alive(*vm))
    });
    assert_eq!(desk.says(&["bash", "full", "pwd; cat f"]), "/tmp\nkept\n");
}

fn shown() {
    let desk = Desk::new();
    desk.says(&["create", "--guest", "linux", "--name", "full"]);
    let parts = |code: &str| {
        let said = desk.says(&["exec", "full", code, "--json"]);
        let document: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(document["stderr"], "", "{document}");
        document["parts"].clone()
    };
    let table = parts("import pandas\npandas.DataFrame({'a': [1]})");
    assert_eq!(table[0]["media_type"], "text/html");
    let figure = parts("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()");
    assert_eq!(figure[0]["media_type"], "image/png");
    let begin = figure[0]["bytes"].as_str().expect("base64");
    assert!(begin.starts_with("iVBORw0KGgo"), "{begin:.20}");
    assert_eq!(parts("plt.get_fignums()"), Value::Null);
    let said = desk.session(&["exec", "full", "display('text')"]).expect(0);
    assert!(
        said.stderr.contains("showed text/plain, 4 bytes"),
        "{}",
        said.stderr
    );
}
