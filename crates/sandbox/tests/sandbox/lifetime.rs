//! How long sessions live, and what ends with them.

use crate::Behaviour;
use crate::ground::{
    Ground, OWNER, config, create, eventually, is_alive, run, start_endless, value,
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::config::{BackendConfig, SessionModel};
use ukernel_sandbox::{ExecutionContext, ExecutionEnvironment, SandboxConfig, SandboxError};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("lifetime::sessions_expire", expiry),
    ("lifetime::extensions_are_counted", extensions),
    ("lifetime::cancelling_a_parent_ends_its_children", tree),
    (
        "lifetime::cancelling_an_execution_keeps_the_session",
        one_execution,
    ),
    ("lifetime::destroying_ends_what_runs", destroyed),
    ("lifetime::stateless_sessions_forget", stateless),
];

fn expiry(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        session_timeout_ms: 300,
        ..config()
    });
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let process = lab.info().process.expect("a VM");
        tokio::time::sleep(Duration::from_millis(400)).await;
        manager.sweep().await;
        assert!(manager.find(OWNER, "lab").is_err());
        eventually("its VM ends", || !is_alive(process)).await;
        let left = ground.session_folders();
        assert_eq!(left, 0, "its folder is gone");
        manager.stop().await;
    });
}

fn extensions(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let before = lab.remaining();
        for _ in 0..3 {
            lab.extend().await.expect("extended");
        }
        assert!(matches!(
            lab.extend().await,
            Err(SandboxError::Limit { .. })
        ));
        let gained = lab.remaining() - before;
        assert!(gained > Duration::from_secs(3 * 30 * 60 - 60), "{gained:?}");
        assert_eq!(lab.info().extensions_left, 0);
        manager.stop().await;
    });
}

fn tree(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let parent = create(&manager, "parent").await;
        let token = parent.token();
        let children = manager
            .fork(&parent, None, Vec::new(), 2, Some(token))
            .await
            .expect("copies");
        let grandchild = manager
            .fork(&children[0], None, Vec::new(), 1, Some(children[0].token()))
            .await
            .expect("a copy")
            .remove(0);
        let running = start_endless(&grandchild).await;
        let processes: Vec<u32> = children
            .iter()
            .chain([&grandchild, &parent])
            .map(|session| session.info().process.expect("a VM"))
            .collect();
        manager.destroy(&parent).await.expect("destroyed");
        let ended = running.await.expect("joined");
        assert!(ended.is_err(), "{ended:?}");
        manager.sweep().await;
        assert!(manager.list(OWNER).is_empty());
        for process in processes {
            eventually("every VM ends", || !is_alive(process)).await;
        }
        manager.stop().await;
    });
}

fn one_execution(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let token = CancellationToken::new();
        let context = ExecutionContext {
            cancellation: Some(token.clone()),
            ..ExecutionContext::default()
        };
        let runner = lab.clone();
        let running = tokio::spawn(async move {
            runner
                .execute_code("x = 2\nwhile True: pass", &context)
                .await
        });
        eventually("it runs", || lab.is_running()).await;
        token.cancel();
        let ended = running.await.expect("joined");
        assert!(
            matches!(ended, Err(SandboxError::Cancelled { .. })),
            "{ended:?}"
        );
        assert_eq!(value(&lab, "x").await, "1");
        manager.stop().await;
    });
}

fn destroyed(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let process = lab.info().process.expect("a VM");
        let running = start_endless(&lab).await;
        manager.destroy(&lab).await.expect("destroyed");
        assert!(running.await.expect("joined").is_err());
        eventually("its VM ends", || !is_alive(process)).await;
        // Twice is no error of the host's.
        manager.destroy(&lab).await.expect("destroyed");
        manager.stop().await;
    });
}

fn stateless(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        backend: BackendConfig {
            session_model: SessionModel::Stateless,
        },
        ..config()
    });
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        assert_eq!(value(&lab, "'x' in globals()").await, "False");
        manager.stop().await;
    });
}
