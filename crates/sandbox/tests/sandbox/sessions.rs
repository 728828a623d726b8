//! Sessions remember, and know nothing of each other.

use crate::Behaviour;
use crate::ground::{Ground, OWNER, create, exited, run, start_endless, try_run, value};
use std::sync::{Arc, Mutex};
use ukernel_sandbox::environment::Stream;
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
        let pieces = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&pieces);
        let context = ExecutionContext {
            output: Some(Arc::new(move |stream, bytes: &[u8]| {
                kept.lock().expect("kept").push((stream, bytes.to_vec()));
            })),
            args: vec!["a b".to_owned()],
            ..ExecutionContext::default()
        };
        let code = "import sys; print(sys.argv[1]); print('e', file=sys.stderr)";
        let result = lab.execute_code(code, &context).await.expect("it runs");
        assert_eq!(result.output.stdout, "a b\n");
        assert_eq!(result.output.stderr, "e\n");
        let pieces = pieces.lock().expect("pieces").clone();
        assert!(
            pieces.contains(&(Stream::Stderr, b"e\n".to_vec())),
            "{pieces:?}"
        );
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
