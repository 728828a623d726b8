//! Sessions remember, and know nothing of each other.

use crate::Behaviour;
use crate::ground::{Ground, OWNER, config, create, exited, run, start_endless, try_run, value};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::environment::{InputSource, Stream};
use ukernel_sandbox::session::Create;
use ukernel_sandbox::{
    Capability, ExecutionContext, ExecutionEnvironment, ExecutionStatus, SandboxError,
};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("sessions::state_stays", state_stays),
    ("sessions::failures_of_code_are_results", failures),
    ("sessions::are_isolated", isolated),
    ("sessions::names_and_owners", names),
    ("sessions::files_go_in_and_out", files),
    ("sessions::output_streams", streams),
    ("sessions::interrupt_keeps_state", interrupt),
    (
        "sessions::an_interrupt_ends_its_own_execution_only",
        own_interrupt,
    ),
    (
        "sessions::standard_input_is_read_as_the_program_reads",
        standard_input,
    ),
    ("sessions::six_hundred_at_once_starve_nobody", six_hundred),
    ("sessions::code_is_validated", validated),
    ("sessions::copies_are_individuals", individuals),
    ("sessions::randomness_survives_a_checkpoint", seeded),
];

fn state_stays(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 41").await;
        let result = run(&lab, "print(x + 1)").await;
        assert_eq!(result.output.stdout, "42\n");
        assert_eq!(result.command, 2);
        assert_eq!(value(&lab, "x").await, "41");
        assert!(lab.capabilities().contains(&Capability::Snapshots));
        manager.stop().await;
    });
}

fn failures(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let result = try_run(&lab, "y = 1; 1/0").await.expect("a result");
        let ExecutionStatus::Exception { exception, .. } = &result.status else {
            panic!("{result:?}");
        };
        assert_eq!(exception, "ZeroDivisionError");
        assert!(result.output.stderr.contains("1/0"), "{result:?}");
        let result = try_run(&lab, "import sys; sys.exit(7)")
            .await
            .expect("a result");
        assert_eq!(exited(&result), Some(7));
        assert_eq!(value(&lab, "y").await, "1");
        let empty = run(&lab, "").await;
        assert_eq!(empty.value, None);
        manager.stop().await;
    });
}

fn isolated(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let (one, two) = (create(&manager, "one").await, create(&manager, "two").await);
        run(&one, "x = 1; open('/tmp/f', 'w').write('one')").await;
        assert_eq!(value(&two, "'x' in globals()").await, "False");
        assert_eq!(
            value(&two, "__import__('os').path.exists('/tmp/f')").await,
            "False"
        );
        manager.stop().await;
    });
}

fn names(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let again = |owner| {
            manager.create(Create {
                name: Some("lab".parse().expect("a name")),
                owner,
                ..Create::default()
            })
        };
        assert!(matches!(
            again(OWNER).await,
            Err(SandboxError::NameTaken { .. })
        ));
        // Another user has names of their own, and learns nothing of others'.
        let other = again(OWNER + 1).await.expect("a session");
        let id = lab.id().to_string();
        assert_eq!(manager.find(OWNER, &id).expect("found").id(), lab.id());
        assert_eq!(
            manager.find(OWNER + 1, "lab").expect("found").id(),
            other.id()
        );
        for key in [id.as_str(), "", "nobody", "../lab", &"x".repeat(10_000)] {
            let found = manager.find(OWNER + 1, key);
            assert!(matches!(found, Err(SandboxError::NoSession(_))), "{key}");
        }
        manager.destroy(&lab).await.expect("destroyed");
        assert!(manager.find(OWNER, "lab").is_err());
        assert!(matches!(
            try_run(&lab, "1").await,
            Err(SandboxError::SessionEnded(_))
        ));
        create(&manager, "lab").await;
        manager.stop().await;
    });
}

fn files(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let content: Vec<u8> = (0..700_000u32).map(|n| n.to_le_bytes()[0]).collect();
        lab.put_file("/data/in.bin", content.clone())
            .await
            .expect("put");
        assert_eq!(
            value(&lab, "len(open('/data/in.bin','rb').read())").await,
            "700000"
        );
        assert_eq!(lab.get_file("/data/in.bin").await.expect("got"), content);
        lab.put_file("/data/empty", Vec::new()).await.expect("put");
        assert_eq!(lab.get_file("/data/empty").await.expect("got"), b"");
        for path in ["", "relative", "/none", "/data", "/../../x/y", "/a\0b"] {
            assert!(lab.get_file(path).await.is_err(), "{path:?}");
        }
        assert!(lab.put_file("/data", vec![1]).await.is_err());
        assert_eq!(value(&lab, "1").await, "1", "the session goes on");
        manager.stop().await;
    });
}

fn streams(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let (output, mut pieces) = tokio::sync::mpsc::channel(16);
        let context = ExecutionContext {
            output: Some(output),
            args: vec!["a b".to_owned()],
            ..ExecutionContext::default()
        };
        let code = "import sys; print(sys.argv[1]); print('e', file=sys.stderr)";
        let result = lab.execute_code(code, &context).await.expect("it runs");
        assert_eq!(result.output.stdout, "a b\n");
        assert_eq!(result.output.stderr, "e\n");
        drop(context);
        let mut said = Vec::new();
        while let Some(piece) = pieces.recv().await {
            said.push(piece);
        }
        assert!(
            said.contains(&(Stream::Stderr, b"e\n".to_vec())),
            "{said:?}"
        );
        manager.stop().await;
    });
}

/// One that waits in the queue ends, and what runs goes on; one interrupted before it began never
/// begins.
fn own_interrupt(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let (started, mut has_started) = tokio::sync::mpsc::channel(1);
        let context = ExecutionContext {
            output: Some(started),
            ..ExecutionContext::default()
        };
        let first = lab.clone();
        let code = "import time; print('go', flush=True); time.sleep(1); print('end')";
        let running = tokio::spawn(async move { first.execute_code(code, &context).await });
        has_started.recv().await.expect("it runs");
        let gone = CancellationToken::new();
        let context = ExecutionContext {
            interrupt: Some(gone.clone()),
            ..ExecutionContext::default()
        };
        let second = lab.clone();
        let queued = tokio::spawn(async move { second.execute_code("x = 1", &context).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        gone.cancel();
        let ended = queued.await.expect("joined");
        assert!(matches!(ended, Err(SandboxError::NeverBegan)), "{ended:?}");
        let ran = running.await.expect("joined").expect("it runs to its end");
        assert_eq!(ran.output.stdout, "go\nend\n");
        assert!(!try_run(&lab, "x").await.expect("a result").is_success());
        manager.stop().await;
    });
}

fn standard_input(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let with = |input: InputSource| ExecutionContext {
            input: Some(input),
            ..ExecutionContext::default()
        };
        let context = with(InputSource::new(&b"41\n"[..]));
        let ran = lab.execute_code("print(int(input()) + 1)", &context).await;
        assert_eq!(ran.expect("it runs").output.stdout, "42\n");
        let context = with(InputSource::new(&b"b\na\n"[..]));
        let ran = lab.execute_command("sort", &context).await;
        assert_eq!(ran.expect("it runs").output.stdout, "a\nb\n");
        // One that never ends stops nobody who does not read it, or not all of it.
        let context = with(InputSource::new(tokio::io::repeat(b'x')));
        let code = "import sys; print(len(sys.stdin.buffer.read(1 << 20)))";
        let ran = lab.execute_code(code, &context).await;
        assert_eq!(ran.expect("it runs").output.stdout, "1048576\n");
        let (silent, _kept) = tokio::io::simplex(16);
        let ran = lab
            .execute_command("echo a", &with(InputSource::new(silent)))
            .await;
        assert_eq!(ran.expect("it runs").output.stdout, "a\n");
        manager.stop().await;
    });
}

/// More executions at once than a runtime has threads that may block: files and snapshots of
/// others still have their turn.
fn six_hundred(ground: &Ground) {
    const SESSIONS: usize = 600;
    let mut settings = config();
    settings.max_sessions = SESSIONS + 1;
    settings.allocation_timeout_ms = 60_000;
    let manager = ground.manager_with(settings);
    ground.run(async {
        let other = create(&manager, "other").await;
        let mut making = tokio::task::JoinSet::new();
        let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(2));
        for _ in 0..SESSIONS {
            let (manager, permits) = (manager.clone(), permits.clone());
            making.spawn(async move {
                let _permit = permits.acquire().await.expect("open");
                manager
                    .create(Create {
                        owner: OWNER,
                        ..Create::default()
                    })
                    .await
            });
        }
        let mut running = tokio::task::JoinSet::new();
        let (started, mut has_started) = tokio::sync::mpsc::channel(SESSIONS);
        while let Some(made) = making.join_next().await {
            let session = made.expect("joined").expect("a session");
            let context = ExecutionContext {
                output: Some(started.clone()),
                ..ExecutionContext::default()
            };
            running.spawn(async move {
                let code = "import time; print(1, flush=True); time.sleep(1000)";
                session.execute_code(code, &context).await
            });
        }
        for _ in 0..SESSIONS {
            has_started.recv().await.expect("it runs");
        }
        // All of them run.
        let began = Instant::now();
        other.put_file("/f", vec![7; 1000]).await.expect("written");
        run(&other, "y = 1").await;
        other.create_snapshot("s").await.expect("kept");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
        running.abort_all();
        manager.stop().await;
    });
}

fn interrupt(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        assert!(!lab.interrupt(), "nothing runs");
        run(&lab, "x = 1").await;
        if !crate::ground::is_kvm() {
            eprintln!(
                "SKIPPED: sessions::interrupt_keeps_state: Firecracker has no way into a program that computes"
            );
            manager.stop().await;
            return;
        }
        let running = start_endless(&lab).await;
        assert!(lab.info().is_running);
        assert!(lab.interrupt());
        let result = running.await.expect("joined").expect("a result");
        assert_eq!(result.status, ExecutionStatus::Interrupted);
        assert_eq!(value(&lab, "x").await, "1");
        manager.stop().await;
    });
}

fn validated(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let fine = lab.validate("print(1)\nx = 5").await.expect("validated");
        assert!(fine.is_valid);
        let wrong = lab.validate("print(1").await.expect("validated");
        assert!(!wrong.is_valid);
        assert!(wrong.problem.expect("a problem").starts_with("SyntaxError"));
        assert_eq!(
            value(&lab, "'x' in globals()").await,
            "False",
            "nothing has run"
        );
        manager.stop().await;
    });
}

fn individuals(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "import os, random, uuid, time; random.seed(1)").await;
        let mut sessions = manager
            .fork(&lab, None, Vec::new(), 3, None)
            .await
            .expect("copies");
        sessions.push(lab.clone());
        for draw in [
            "os.urandom(8)",
            "random.random()",
            "uuid.uuid4().hex",
            "uuid.uuid1().hex",
        ] {
            let mut drawn = Vec::new();
            for session in &sessions {
                drawn.push(value(session, draw).await);
            }
            drawn.sort();
            drawn.dedup();
            assert_eq!(drawn.len(), sessions.len(), "{draw}: {drawn:?}");
        }
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64();
        for session in &sessions {
            let there: f64 = value(session, "time.time()")
                .await
                .parse()
                .expect("a number");
            assert!((there - now).abs() < 30.0, "{there} and {now}");
        }
        manager.stop().await;
    });
}

/// A checkpoint does not disturb the program that goes on.
fn seeded(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let (one, two) = (create(&manager, "one").await, create(&manager, "two").await);
        run(&one, "import random; random.seed(7)").await;
        one.create_snapshot("here").await.expect("a snapshot");
        run(&two, "import random; random.seed(7)").await;
        let (first, second) = (
            value(&one, "random.random()").await,
            value(&two, "random.random()").await,
        );
        assert_eq!(first, second);
        manager.stop().await;
    });
}
