//! The Linux guest on QEMU: one boot, then forks of it.

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ukernel_abi::message::{Exec, Mode, Outcome, TerminalSize};
use ukernel_image::{Images, Progress};
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{BlockingGuest, Ended, Event, Events, Guest, Until, feed, follow};
use ukernel_machine::qemu::{Qemu, best_accelerator};
use ukernel_machine::saved::Body;
use ukernel_machine::{Backend, Limits, Machine, MachineError, MachineSpec, Template};

struct Steps;

impl Progress for Steps {
    fn step(&self, text: &str) {
        eprintln!("{text}");
    }
}

/// The template all tests fork, or why there is none here.
static TEMPLATE: LazyLock<Result<Box<dyn Template>, String>> = LazyLock::new(make);

/// One machine at a time: two emulated processors on two of the host's would make each other late.
fn template() -> Option<(MutexGuard<'static, ()>, &'static dyn Template)> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*TEMPLATE {
        Ok(template) => Some((turn, template.as_ref())),
        Err(reason) => {
            println!("SKIPPED: {reason}");
            None
        }
    }
}

fn make() -> Result<Box<dyn Template>, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = |name: &str| {
        let found = std::env::split_paths(&path).map(|folder| folder.join(name));
        found
            .into_iter()
            .find(|file| file.is_file())
            .ok_or(format!("{name} is not installed"))
    };
    let qemu = program("qemu-system-x86_64")?;
    for tool in ["mmdebstrap", "sqfstar", "dpkg-deb"] {
        program(tool)?;
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ukernel-home");
    // From here on nothing is an excuse.
    let image = Images::new(home, root).linux(&Steps).expect("the image");
    let spec = MachineSpec {
        kernel: image.kernel,
        image: image.root,
        initrd: Some(image.initrd),
        memory_mib: 1024,
        limits: Limits::NONE,
    };
    let backend = Qemu::new(qemu, best_accelerator()).expect("a backend");
    let began = Instant::now();
    let mut machine = backend.boot(&spec).expect("it boots");
    let channel = machine.connect().expect("a channel");
    let greeted = BlockingGuest::greet(channel);
    let mut guest = greeted.unwrap_or_else(|error| {
        let ending = machine.kill().expect("ended");
        panic!("{error}: {}", String::from_utf8_lossy(&ending.serial_tail))
    });
    println!("booted in {:?}", began.elapsed());
    let ran = run(
        &mut guest,
        Mode::Prompt,
        "import json, random, secrets, uuid",
    );
    assert_eq!(ran.outcome, done(0));
    drop(guest);
    Ok(machine.into_template().expect("a template"))
}

fn fork(template: &dyn Template) -> (Box<dyn Machine>, BlockingGuest) {
    let mut machine = template.fork(Limits::NONE).expect("a fork");
    let guest = greet(machine.as_mut());
    (machine, guest)
}

fn greet(machine: &mut dyn Machine) -> BlockingGuest {
    let channel = machine.connect().expect("a channel");
    BlockingGuest::greet(channel).unwrap_or_else(|error| {
        let ending = machine.kill().expect("ended");
        panic!("{error}: {}", String::from_utf8_lossy(&ending.serial_tail))
    })
}

struct Ran {
    outcome: Outcome,
    stdout: String,
    stderr: String,
    ended: Ended,
}

fn done(code: i32) -> Outcome {
    Outcome::Exited { code, value: None }
}

fn exec(mode: Mode, source: &str) -> Exec {
    Exec {
        mode,
        ..Exec::program("test.py", source)
    }
}

fn run(guest: &mut BlockingGuest, mode: Mode, source: &str) -> Ran {
    carry_out(guest, exec(mode, source), &Until::default())
}

fn carry_out(guest: &mut BlockingGuest, exec: Exec, until: &Until) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let until = Until {
        deadline: Some(Instant::now() + Duration::from_secs(120)),
        grace: Duration::from_secs(60),
        ..until.clone()
    };
    let ended = guest
        .exec(exec, &until, &out_of_reach(), &mut |event, _| {
            if let Event::Output(stream, bytes) = event {
                match stream {
                    ukernel_abi::message::Stream::Stdout => stdout.extend(bytes),
                    ukernel_abi::message::Stream::Stderr => stderr.extend(bytes),
                }
            }
            Ok(())
        })
        .expect("it ends");
    Ran {
        outcome: ended.outcome.clone(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        ended,
    }
}

/// Runs a shell command that must succeed and gives what it printed.
fn bash(guest: &mut BlockingGuest, command: &str) -> String {
    let ran = run(guest, Mode::Shell, command);
    assert_eq!(ran.outcome, done(0), "{command}: {}", ran.stderr);
    ran.stdout
}

#[test]
fn bash_and_python_keep_what_they_did() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let (_machine, mut guest) = fork(template);
    assert!(bash(&mut guest, "ls /").contains("home\n"));
    assert_eq!(bash(&mut guest, "id -un; pwd"), "user\n/home/user\n");
    bash(
        &mut guest,
        "cd /tmp; x=41; exec 3<>/tmp/f; echo hello >&3; (sleep 1; echo bg) &",
    );
    assert_eq!(
        bash(&mut guest, "pwd; echo $((x + 1)); cat f"),
        "/tmp\n42\nhello\n"
    );
    let ran = run(&mut guest, Mode::Shell, "false");
    assert_eq!(ran.outcome, done(1));
    let ran = run(&mut guest, Mode::Prompt, "x = 41\nx + 1");
    let value = Some("42".to_owned());
    assert_eq!(
        ran.outcome,
        Outcome::Exited { code: 0, value },
        "{}",
        ran.stderr
    );
    let ran = run(&mut guest, Mode::Prompt, "print(x); 1/0");
    assert_eq!(ran.stdout, "41\n");
    assert!(
        matches!(ran.outcome, Outcome::Exception { ref kind, .. } if kind == "ZeroDivisionError")
    );
    assert!(
        ran.stderr.contains("test.py") && !ran.stderr.contains("ukernel"),
        "{}",
        ran.stderr
    );
    let ran = run(
        &mut guest,
        Mode::Program,
        "import sys; print(sys.version_info[:2]); sys.exit(3)",
    );
    assert_eq!((ran.outcome, ran.stdout.as_str()), (done(3), "(3, 11)\n"));
}

#[test]
fn what_agents_expect_is_there() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let (_machine, mut guest) = fork(template);
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

#[test]
fn input_arrives_and_ends() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let mut machine = template.fork(Limits::NONE).expect("a fork");
    let channel = machine.connect().expect("a channel");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let guest = Guest::greet(channel).await.expect("greeted");
        for (mode, source) in [
            (Mode::Shell, "read a; read b; echo $((a + b)); cat | wc -c"),
            (
                Mode::Program,
                "import sys\nprint(int(input()) + int(input()))\nprint(len(sys.stdin.read()))",
            ),
            (
                Mode::Prompt,
                "import sys\nprint(int(input()) + int(input()))\nprint(len(sys.stdin.read()))",
            ),
        ] {
            let exec = Exec {
                has_input: true,
                ..exec(mode, source)
            };
            let execution = guest.exec(exec).await.expect("it begins");
            let input: Vec<u8> = [b"40\n2\n", vec![b'x'; 300_000].as_slice()].concat();
            let fed = tokio::spawn(feed(execution.input(), std::io::Cursor::new(input)));
            let mut said = Said(Vec::new());
            let until = Until {
                deadline: Some(Instant::now() + Duration::from_secs(60)),
                ..Until::default()
            };
            let ended = follow(execution, &until, &out_of_reach(), &mut said).await;
            assert_eq!(ended.expect("it ends").outcome, done(0));
            fed.await.expect("no panic").expect("fed");
            assert_eq!(String::from_utf8_lossy(&said.0), "42\n300000\n", "{mode:?}");
        }
    });
}

/// What an execution prints.
struct Said(Vec<u8>);

impl Events for Said {
    async fn take(&mut self, event: Event) -> ukernel_machine::Result<()> {
        if let Event::Output(_, bytes) = event {
            self.0.extend(bytes);
        }
        Ok(())
    }
}

#[test]
fn an_interrupt_keeps_state() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let (_machine, mut guest) = fork(template);
    run(&mut guest, Mode::Prompt, "x = 7");
    bash(&mut guest, "x=7");
    for (mode, endless) in [
        (Mode::Prompt, "while True: pass"),
        (Mode::Shell, "while true; do :; done"),
        (Mode::Shell, "sleep 1000; echo no"),
        (Mode::Program, "import time; time.sleep(1000)"),
    ] {
        let until = Until::default();
        let interrupt = until.interrupt.clone();
        let later = std::thread::spawn(move || {
            // A program has to come up before it can be asked in its own language.
            std::thread::sleep(Duration::from_secs(5));
            interrupt.cancel();
        });
        let ran = carry_out(&mut guest, exec(mode, endless), &until);
        later.join().expect("interrupted");
        assert_eq!(
            ran.outcome,
            Outcome::Interrupted,
            "{endless}: {} {}",
            ran.stdout,
            ran.stderr
        );
    }
    assert_eq!(run(&mut guest, Mode::Prompt, "print(x)").stdout, "7\n");
    assert_eq!(bash(&mut guest, "echo $x"), "7\n");
}

#[test]
fn twins_share_nothing_random() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let draw = || {
        let (_machine, mut guest) = fork(template);
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

#[test]
fn a_snapshot_has_everything_and_a_restored_machine_goes_on() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let (mut machine, mut guest) = fork(template);
    run(&mut guest, Mode::Prompt, "x = list(range(100_000))");
    bash(
        &mut guest,
        "cd /tmp; y=5; head -c 3000000 /dev/urandom >big; sha256sum big >sum",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let mut body = Body::create(folder.path()).expect("files");
    let began = Instant::now();
    machine.snapshot(&mut body).expect("a snapshot");
    println!(
        "snapshot in {:?}, {} bytes",
        began.elapsed(),
        body.pages.metadata().expect("stat").len()
    );
    // It goes on, with its channel.
    assert_eq!(bash(&mut guest, "rm big; y=6; echo $y"), "6\n");
    let began = Instant::now();
    let body = Body::open(folder.path()).expect("files");
    let mut restored = template.restore(body, Limits::NONE).expect("restored");
    let mut again = greet(restored.as_mut());
    assert_eq!(
        bash(&mut again, "pwd; echo $y; sha256sum --check sum"),
        "/tmp\n5\nbig: OK\n"
    );
    println!("restored in {:?}", began.elapsed());
    assert_eq!(
        run(&mut again, Mode::Prompt, "print(len(x))").stdout,
        "100000\n"
    );
    assert_eq!(bash(&mut guest, "echo $y"), "6\n");
}

#[test]
fn user_code_is_confined_in_the_guest() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let limits = Limits {
        tasks: 64,
        ..Limits::NONE
    };
    let mut machine = template.fork(limits).expect("a fork");
    let mut guest = greet(machine.as_mut());
    let ran = run(
        &mut guest,
        Mode::Shell,
        "kill -9 1; kill -9 $(pgrep -f 'agent agent'); cat /run/ukernel/private; echo x >/etc/passwd",
    );
    assert_ne!(ran.outcome, done(0));
    println!("it could do nothing: {}", ran.stderr);
    // A fork bomb, then a memory hog: the agent answers, and bash is there again.
    let bomb = "import os, time\ntry:\n    while True: os.fork()\nexcept OSError: time.sleep(3)";
    run(&mut guest, Mode::Program, bomb);
    println!("the bomb is over");
    guest.ping(Duration::from_secs(20)).expect("it answers");
    for mode in [Mode::Prompt, Mode::Program] {
        let ran = run(
            &mut guest,
            mode,
            "hog = [b'x' * (50 << 20) for _ in range(100)]",
        );
        assert_ne!(ran.outcome, done(0));
        println!("{mode:?}: {:?}", ran.outcome);
        guest.ping(Duration::from_secs(20)).expect("it answers");
    }
    assert_eq!(bash(&mut guest, "echo alive"), "alive\n");
}

#[test]
fn long_output_goes_to_a_file_whole() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let (_machine, mut guest) = fork(template);
    for mode in [Mode::Prompt, Mode::Shell] {
        let source = match mode {
            Mode::Shell => "seq 1 20000",
            _ => "for i in range(1, 20001): print(i)",
        };
        let exec = Exec {
            inline_output_bytes: 1000,
            ..exec(mode, source)
        };
        let ran = carry_out(&mut guest, exec, &Until::default());
        assert_eq!(ran.stdout.len(), 1000);
        let spilled = &ran.ended.spilled[0];
        let content = guest.read_file(&spilled.path, 1 << 20).expect("the file");
        assert_eq!(content.len() as u64, spilled.bytes);
        assert!(content.starts_with(ran.stdout.as_bytes()) && content.ends_with(b"\n20000\n"));
    }
}

#[test]
fn what_fills_up_is_bounded_and_the_guest_goes_on() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let limits = Limits {
        files_bytes: 100 << 20,
        max_files_bytes: 300 << 20,
        tasks: 64,
        memory_bytes: 400 << 20,
    };
    let mut machine = template.fork(limits).expect("a fork");
    let mut guest = greet(machine.as_mut());
    // Above what the overlay has at first, below what it may have.
    bash(
        &mut guest,
        "head -c 200000000 /dev/zero >/tmp/much; rm /tmp/much",
    );
    let full = run(&mut guest, Mode::Shell, "cat /dev/zero >/tmp/full");
    assert_ne!(full.outcome, done(0));
    assert!(
        full.stderr.contains("No space left on device"),
        "{}",
        full.stderr
    );
    bash(&mut guest, "rm /tmp/full; echo x >/tmp/fits");
    let inodes = "mkdir -p ~/i && cd ~/i && for i in $(seq 400); do seq -f \"$i-%g\" 500 | xargs touch || exit 1; done";
    let many = run(&mut guest, Mode::Shell, inodes);
    println!("200,000 files: {:?}", many.outcome);
    guest.ping(Duration::from_secs(20)).expect("it answers");
    let mut bytes = 0;
    let until = Until {
        deadline: Some(Instant::now() + Duration::from_secs(5)),
        ..Until::default()
    };
    let flood = exec(
        Mode::Program,
        "import os\nwhile True: os.write(1, b'x' * 65536)",
    );
    let ended = guest.exec(flood, &until, &out_of_reach(), &mut |event, _| {
        if let Event::Output(_, piece) = event {
            bytes += piece.len();
        }
        Ok(())
    });
    assert!(matches!(ended, Err(MachineError::TimedOut(_))), "{ended:?}");
    assert!(bytes > 1 << 20, "{bytes}");
}

#[test]
fn root_in_the_guest_ends_the_guest_and_nothing_else() {
    let Some((_turn, template)) = template() else {
        return;
    };
    for attack in [
        "import os, signal\nos.kill(os.getppid(), 9)\nimport time; time.sleep(60)",
        "open('/proc/sysrq-trigger', 'w').write('c')\nimport time; time.sleep(60)",
        "f = open('/dev/kmsg', 'w')\nfor i in range(20000): f.write('x' * 500 + chr(10)); f.flush()",
    ] {
        let (mut machine, mut guest) = fork(template);
        let exec = Exec {
            user: Some("root".to_owned()),
            ..exec(Mode::Program, attack)
        };
        let until = Until {
            deadline: Some(Instant::now() + Duration::from_secs(60)),
            ..Until::default()
        };
        let ended = guest.exec(exec, &until, &out_of_reach(), &mut |_, _| Ok(()));
        println!("{ended:?}");
        if ended.is_err() {
            // It is said, and the process is gone: a guest's end is QEMU's.
            let ending = machine.wait_ending(Duration::from_secs(20)).expect("asked");
            assert!(ending.is_some(), "{attack}: {ended:?}");
        } else {
            guest.ping(Duration::from_secs(20)).expect("it answers");
        }
    }
}

#[test]
fn a_terminal_has_a_size_and_a_shell() {
    let Some((_turn, template)) = template() else {
        return;
    };
    let mut machine = template.fork(Limits::NONE).expect("a fork");
    let channel = machine.connect().expect("a channel");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let guest = Guest::greet(channel).await.expect("greeted");
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

fn exec_of_shell(source: &str) -> Exec {
    exec(Mode::Shell, source)
}
