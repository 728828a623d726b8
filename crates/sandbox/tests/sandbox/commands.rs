//! Commands of the shell, in the sessions Python uses.

use crate::Behaviour;
use crate::ground::{Ground, create, exited, run, value};
use std::time::Duration;
use ukernel_sandbox::session::Session;
use ukernel_sandbox::{
    ExecutionContext, ExecutionEnvironment, ExecutionResult, ExecutionStatus, SandboxError,
};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("commands::share_files_and_keep_state", shared),
    ("commands::end_with_their_code", codes),
    ("commands::are_limited_in_time", limited),
    ("commands::are_interrupted", interrupted),
];

async fn shell(session: &Session, command: &str) -> Result<ExecutionResult, SandboxError> {
    session
        .execute_command(command, &ExecutionContext::default())
        .await
}

async fn says(session: &Session, command: &str) -> String {
    let result = shell(session, command).await.expect("it runs");
    assert_eq!(exited(&result), Some(0), "{command}: {result:?}");
    result.output.stdout
}

fn shared(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "open('/words', 'w').write('b 2\\na 1\\n')").await;
        says(&lab, "sort /words > /sorted; n=$(wc -l < /words)").await;
        assert_eq!(
            value(&lab, "open('/sorted').read()").await,
            "'a 1\\nb 2\\n'"
        );
        let before = lab.create_snapshot("before").await.expect("a snapshot");
        says(&lab, "n=gone; rm /words").await;
        lab.restore_snapshot(&before).await.expect("restored");
        assert_eq!(says(&lab, "echo $n; ls /words").await, "2\n/words\n");
        manager.stop().await;
    });
}

fn codes(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let failed = shell(&lab, "grep nosuch /dev/null; exit 7").await;
        assert_eq!(exited(&failed.expect("a result")), Some(7));
        let absent = shell(&lab, "curl example").await.expect("a result");
        assert_eq!(exited(&absent), Some(127));
        assert!(absent.output.stderr.contains("no network"), "{absent:?}");
        manager.stop().await;
    });
}

fn limited(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        says(&lab, "n=1").await;
        let context = ExecutionContext {
            timeout: Some(Duration::from_millis(500)),
            ..ExecutionContext::default()
        };
        let late = lab
            .execute_command("n=2; while true; do :; done", &context)
            .await;
        assert!(
            matches!(late, Err(SandboxError::TimeLimit { .. })),
            "{late:?}"
        );
        assert_eq!(says(&lab, "echo $n").await, "1\n");
        manager.stop().await;
    });
}

fn interrupted(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let mut wait = Duration::from_secs(1);
        let mut kept = String::new();
        // Interrupted before it has come to its second command it keeps nothing: then later.
        while kept != "1\n" && wait < Duration::from_secs(20) {
            let sleeper = lab.clone();
            let sleeping = tokio::spawn(async move { shell(&sleeper, "kept=1; sleep 1000").await });
            crate::ground::eventually("it sleeps", || lab.info().is_running).await;
            tokio::time::sleep(wait).await;
            assert!(lab.interrupt());
            let result = sleeping.await.expect("joined").expect("a result");
            assert_eq!(result.status, ExecutionStatus::Interrupted, "{result:?}");
            kept = says(&lab, "echo $kept").await;
            wait *= 2;
        }
        assert_eq!(kept, "1\n");
        manager.stop().await;
    });
}
