//! What a hostile Linux tries, and what is killed or full at the wrong moment.

use crate::Behaviour;
use crate::ground::{Ground, LONG, fork, greet, is_gone, linux};
use crate::linux::{Said, bash, done, exec, exec_of_shell, process, run};
use std::time::{Duration, Instant};
use ukernel_abi::message::{Exec, Mode, Outcome, TerminalSize};
use ukernel_machine::guest::follow::out_of_reach;
use ukernel_machine::guest::{Event, Until, follow};
use ukernel_machine::saved::Body;
use ukernel_machine::{Limits, MachineError};

pub const BEHAVIOURS: &[Behaviour] = &[
    (
        "linux_user_code_is_confined",
        user_code_is_confined_in_the_guest,
    ),
    (
        "linux_what_fills_up_is_bounded",
        what_fills_up_is_bounded_and_the_guest_goes_on,
    ),
    ("linux_signals_blocked_is_no_way_out", signals_blocked),
    ("linux_a_terminal_flood_is_bounded", terminal_flood),
    (
        "linux_root_ends_the_guest_and_nothing_else",
        root_in_the_guest_ends_the_guest_and_nothing_else,
    ),
    (
        "linux_garbage_from_the_guest_ends_its_channel",
        garbage_from_the_guest,
    ),
    (
        "linux_a_machine_killed_in_its_snapshot_is_said",
        killed_in_its_snapshot,
    ),
];

fn user_code_is_confined_in_the_guest(_: &Ground) {
    let limits = Limits {
        tasks: 64,
        ..Limits::NONE
    };
    let mut machine = linux().fork(limits).expect("a fork");
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
    process(&mut guest, bomb);
    println!("the bomb is over");
    guest.ping(Duration::from_secs(20)).expect("it answers");
    for mode in [Mode::Prompt, Mode::Program] {
        let hog = "hog = [b'x' * (50 << 20) for _ in range(100)]";
        let ran = match mode {
            Mode::Program => process(&mut guest, hog),
            _ => run(&mut guest, mode, hog),
        };
        assert_ne!(ran.outcome, done(0));
        println!("{mode:?}: {:?}", ran.outcome);
        guest.ping(Duration::from_secs(20)).expect("it answers");
    }
    assert_eq!(bash(&mut guest, "echo alive"), "alive\n");
}

fn what_fills_up_is_bounded_and_the_guest_goes_on(_: &Ground) {
    let limits = Limits {
        files_bytes: 100 << 20,
        max_files_bytes: 300 << 20,
        tasks: 64,
        memory_bytes: 400 << 20,
    };
    let mut machine = linux().fork(limits).expect("a fork");
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

/// A program that ignores every signal it can ends at its limit with its machine; another goes on.
fn signals_blocked(_: &Ground) {
    let (mut machine, mut guest) = fork(linux());
    let deaf = "import signal\n\
        for s in range(1, 65):\n\
        \x20   try: signal.signal(s, signal.SIG_IGN)\n\
        \x20   except (OSError, ValueError): pass\n\
        print('deaf', flush=True)\n\
        while True: pass";
    let until = Until {
        deadline: Some(Instant::now() + Duration::from_secs(15)),
        grace: Duration::from_secs(1),
        ..Until::default()
    };
    let mut printed = String::new();
    let deaf = exec(Mode::Program, deaf);
    let ended = guest.exec(deaf, &until, &out_of_reach(), &mut |event, _| {
        if let Event::Output(_, bytes) = event {
            printed.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(())
    });
    assert!(matches!(ended, Err(MachineError::TimedOut(_))), "{ended:?}");
    assert_eq!(printed, "deaf\n");
    machine.kill().expect("killed");
    let (_machine, mut guest) = fork(linux());
    assert_eq!(bash(&mut guest, "echo alive"), "alive\n");
}

/// What nobody reads waits inside; the guest answers meanwhile.
fn terminal_flood(_: &Ground) {
    let mut machine = linux().fork(Limits::NONE).expect("a fork");
    let channel = machine.connect().expect("a channel");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let greeted = ukernel_machine::guest::Guest::greet(channel).await;
        let guest = greeted.expect("greeted");
        let flood = Exec {
            terminal: Some(TerminalSize {
                columns: 80,
                rows: 24,
            }),
            ..exec_of_shell("yes flood")
        };
        // Nobody takes its events.
        let unread = guest.exec(flood.clone()).await.expect("it begins");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let until = Until {
            deadline: Some(Instant::now() + LONG),
            ..Until::default()
        };
        let mut said = Said(Vec::new());
        let other = guest.exec(exec_of_shell("echo beside")).await;
        let other = other.expect("it begins");
        let ended = follow(other, &until, &out_of_reach(), &mut said).await;
        assert_eq!(ended.expect("it ends").outcome, done(0));
        assert_eq!(String::from_utf8_lossy(&said.0), "beside\n");
        drop(unread);
        // One that is read is read until it is hung up.
        let read = guest.exec(flood).await.expect("it begins");
        let until = Until {
            grace: LONG,
            ..Until::default()
        };
        let interrupt = until.interrupt.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            interrupt.cancel();
        });
        let mut said = Said(Vec::new());
        let ended = follow(read, &until, &out_of_reach(), &mut said).await;
        assert_eq!(ended.expect("it ends").outcome, Outcome::Interrupted);
        assert!(said.0.len() > 1 << 16, "{}", said.0.len());
    });
    let peak = machine.stats().expect("stats").pss_bytes;
    println!("host memory after the flood: {peak:?}");
}

fn root_in_the_guest_ends_the_guest_and_nothing_else(_: &Ground) {
    for attack in [
        "import os, signal\nos.kill(os.getppid(), 9)\nimport time; time.sleep(60)",
        "open('/proc/sysrq-trigger', 'w').write('c')\nimport time; time.sleep(60)",
        "f = open('/dev/kmsg', 'w')\nfor i in range(20000): f.write('x' * 500 + chr(10)); f.flush()",
    ] {
        let (mut machine, mut guest) = fork(linux());
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

/// Root writes to the agent's port what no agent says.
fn garbage_from_the_guest(_: &Ground) {
    for garbage in [
        "b'\\xff' * 100000",
        "b'\\0' * 100000",
        "b'\\x03\\0\\0\\0\\xff\\xff\\xff' * 1000",
        "__import__('os').urandom(1 << 20)",
    ] {
        let (mut machine, mut guest) = fork(linux());
        // A port can be opened once, so that root takes the agent's.
        let attack = format!(
            "import os\n\
            agent = os.getppid()\n\
            pid = agent\n\
            for fd in os.listdir(f'/proc/{{pid}}/fd'):\n\
            \x20   if 'vport' in os.readlink(f'/proc/{{pid}}/fd/{{fd}}'): break\n\
            import ctypes\n\
            libc = ctypes.CDLL(None, use_errno=True)\n\
            handle = libc.syscall(434, pid, 0)\n\
            port = libc.syscall(438, handle, int(fd), 0)\n\
            assert port >= 0, ctypes.get_errno()\n\
            os.write(port, {garbage})\n\
            import time; time.sleep(60)"
        );
        let exec = Exec {
            user: Some("root".to_owned()),
            ..exec(Mode::Program, &attack)
        };
        let until = Until {
            deadline: Some(Instant::now() + LONG / 2),
            ..Until::default()
        };
        let mut said = String::new();
        let ended = guest.exec(exec, &until, &out_of_reach(), &mut |event, _| {
            if let Event::Output(_, bytes) = event {
                said.push_str(&String::from_utf8_lossy(&bytes));
            }
            Ok(())
        });
        let error = ended.expect_err("the channel is of no use any more");
        assert!(
            matches!(
                error,
                MachineError::Frame(_) | MachineError::Unexpected(_) | MachineError::Closed
            ),
            "{garbage}: {error:?} {said}"
        );
        let process = machine.process_id();
        machine.kill().expect("killed");
        assert!(is_gone(process));
    }
}

/// At any moment of a snapshot: it fails or is whole, and the template forks on.
fn killed_in_its_snapshot(_: &Ground) {
    for micros in [0, 2_000, 10_000, 30_000, 100_000] {
        let (mut machine, mut guest) = fork(linux());
        bash(&mut guest, "head -c 20000000 /dev/urandom >/tmp/big");
        let folder = tempfile::tempdir().expect("a folder");
        let mut body = Body::create(folder.path()).expect("files");
        let process = machine.process_id().to_string();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(micros));
            let killed = std::process::Command::new("kill")
                .args(["-9", &process])
                .status();
            assert!(killed.expect("kill runs").success());
        });
        let taken = machine.snapshot(&mut body);
        killer.join().expect("no panic");
        println!("killed after {micros} us: {taken:?}");
        if taken.is_ok() {
            let body = Body::open(folder.path()).expect("files");
            let restored = linux().restore(body, Limits::NONE);
            let mut restored = restored.expect("whole");
            let mut again = greet(restored.as_mut());
            assert_eq!(bash(&mut again, "stat -c %s /tmp/big"), "20000000\n");
        }
        let ending = machine.wait_ending(LONG).expect("asked");
        assert!(ending.is_some(), "it is said");
        assert!(machine.snapshot(&mut body).is_err());
    }
    let (_machine, mut guest) = fork(linux());
    assert_eq!(bash(&mut guest, "echo alive"), "alive\n");
}
