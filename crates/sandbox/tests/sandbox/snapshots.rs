//! Named states: back to any, on from any.

use crate::Behaviour;
use crate::ground::{Ground, config, create, run, start_endless, value};
use std::fs;
use std::path::PathBuf;
use ukernel_sandbox::session::Session;
use ukernel_sandbox::{ExecutionEnvironment, SandboxConfig, SandboxError};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("snapshots::rollback_brings_everything_back", rollback),
    ("snapshots::form_a_tree", tree),
    ("snapshots::of_a_fresh_session", fresh),
    ("snapshots::names_are_unique_and_few", names),
    ("snapshots::forks_start_from_any", forks),
    ("snapshots::not_during_an_execution", busy),
    ("snapshots::damage_is_refused_and_others_live", damage),
];

fn rollback(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 41").await;
        let before = lab.create_snapshot("before").await.expect("a snapshot");
        run(&lab, "import os; x = 0; open('f','w').write('gone')").await;
        lab.restore_snapshot(&before).await.expect("back");
        assert_eq!(value(&lab, "x, 'os' in globals()").await, "(41, False)");
        assert_eq!(
            value(&lab, "__import__('os').path.exists('f')").await,
            "False"
        );
        manager.stop().await;
    });
}

fn tree(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let one = lab.create_snapshot("one").await.expect("a snapshot");
        run(&lab, "x = 2").await;
        let two = lab.create_snapshot("two").await.expect("a snapshot");
        lab.restore_snapshot(&one).await.expect("back");
        run(&lab, "x = 3").await;
        let three = lab.create_snapshot("three").await.expect("a snapshot");
        let list = lab.list_snapshots().await.expect("a list");
        let parents: Vec<_> = list.iter().map(|snapshot| snapshot.parent).collect();
        assert_eq!(parents, [None, Some(one), Some(one)]);
        assert!(list[2].is_current);
        for (id, x) in [(two, "2"), (three, "3"), (one, "1"), (two, "2")] {
            lab.restore_snapshot(&id).await.expect("there");
            assert_eq!(value(&lab, "x").await, x);
        }
        lab.delete_snapshot(one).await.expect("deleted");
        assert!(matches!(
            lab.restore_snapshot(&one).await,
            Err(SandboxError::NoSnapshot(_))
        ));
        lab.restore_snapshot(&three).await.expect("whole by itself");
        manager.stop().await;
    });
}

fn fresh(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let fresh = lab.create_snapshot("fresh").await.expect("a snapshot");
        run(&lab, "x = 1").await;
        lab.restore_snapshot(&fresh).await.expect("back");
        assert_eq!(value(&lab, "'x' in globals()").await, "False");
        let copies = manager
            .fork(&lab, Some(fresh), Vec::new(), 2, None)
            .await
            .expect("copies");
        assert_eq!(value(&copies[1], "1 + 1").await, "2");
        manager.stop().await;
    });
}

fn names(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        max_snapshots_per_session: 3,
        ..config()
    });
    ground.run(async {
        let lab = create(&manager, "lab").await;
        lab.create_snapshot("a").await.expect("a snapshot");
        assert!(matches!(
            lab.create_snapshot("a").await,
            Err(SandboxError::NameTaken { .. })
        ));
        for name in ["", "../../etc/passwd", "a/b", "é", &"x".repeat(10_000)] {
            let refused = lab.create_snapshot(name).await;
            assert!(
                matches!(refused, Err(SandboxError::BadName { .. })),
                "{name:?}"
            );
        }
        lab.create_snapshot("b").await.expect("a snapshot");
        lab.create_snapshot("c").await.expect("a snapshot");
        assert!(matches!(
            lab.create_snapshot("d").await,
            Err(SandboxError::Limit { .. })
        ));
        // Another session has names of its own.
        let other = create(&manager, "other").await;
        other.create_snapshot("a").await.expect("a snapshot");
        manager.stop().await;
    });
}

fn forks(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let one = lab.create_snapshot("one").await.expect("a snapshot");
        run(&lab, "x = 2").await;
        let now = manager
            .fork(&lab, None, Vec::new(), 8, None)
            .await
            .expect("copies");
        let then = manager
            .fork(&lab, Some(one), Vec::new(), 1, None)
            .await
            .expect("copies");
        for (number, copy) in now.iter().enumerate() {
            assert_eq!(value(copy, "x").await, "2");
            run(copy, &format!("x = {}", 100 + number)).await;
        }
        assert_eq!(value(&now[3], "x").await, "103", "siblings do not meet");
        assert_eq!(value(&then[0], "x").await, "1");
        assert_eq!(value(&lab, "x").await, "2");
        // Copies outlive what they were copied from.
        manager.destroy(&lab).await.expect("destroyed");
        assert_eq!(value(&now[0], "x").await, "100");
        for count in [0, 65, usize::MAX] {
            let none = manager.fork(&now[0], None, Vec::new(), count, None).await;
            assert!(matches!(none, Err(SandboxError::Limit { .. })));
        }
        manager.stop().await;
    });
}

fn busy(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let before = lab.create_snapshot("before").await.expect("a snapshot");
        let running = start_endless(&lab).await;
        assert!(matches!(
            lab.restore_snapshot(&before).await,
            Err(SandboxError::Busy(_))
        ));
        lab.token().cancel();
        assert!(running.await.expect("joined").is_err());
        manager.stop().await;
    });
}

/// Files of a snapshot.
fn files_of(ground: &Ground, session: &Session, id: &str) -> Vec<PathBuf> {
    let folder = ground
        .sessions_folder()
        .join(session.id().to_string())
        .join("snapshots")
        .join(id);
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

fn damage(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let good = lab.create_snapshot("good").await.expect("a snapshot");
        let mut bad = Vec::new();
        for kind in ["truncated", "flipped", "missing"] {
            // Each has files of its own: states that did not change share theirs.
            run(&lab, &format!("y = {kind:?}")).await;
            bad.push((kind, lab.create_snapshot(kind).await.expect("a snapshot")));
        }
        run(&lab, "x = 2").await;
        for (kind, id) in &bad {
            let file = files_of(ground, &lab, &id.to_string())
                .into_iter()
                .max_by_key(|path| fs::metadata(path).expect("a file").len())
                .expect("a file");
            let mut content = fs::read(&file).expect("read");
            match *kind {
                "truncated" => content.truncate(content.len() / 2),
                "flipped" => {
                    let middle = content.len() / 2;
                    content[middle] ^= 1;
                }
                _ => content.clear(),
            }
            fs::remove_file(&file).expect("removed");
            if *kind != "missing" {
                fs::write(&file, content).expect("written");
            }
            let refused = lab.restore_snapshot(id).await;
            assert!(
                matches!(refused, Err(SandboxError::Damaged { .. })),
                "{refused:?}"
            );
            let refused = manager.fork(&lab, Some(*id), Vec::new(), 1, None).await;
            assert!(matches!(refused, Err(SandboxError::Damaged { .. })));
            assert_eq!(value(&lab, "x").await, "2", "the session goes on");
        }
        lab.restore_snapshot(&good).await.expect("back");
        assert_eq!(value(&lab, "x").await, "1");
        manager.stop().await;
    });
}
