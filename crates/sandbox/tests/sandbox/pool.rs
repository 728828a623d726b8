//! Ready VMs, and what happens when there are none.

use crate::Behaviour;
use crate::ground::{Ground, OWNER, config, create, eventually, is_alive, kill, value};
use ukernel_sandbox::session::Create;
use ukernel_sandbox::{SandboxConfig, SandboxError};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("pool::fifty_at_once_with_four_ready", fifty),
    ("pool::scales_up_and_down", scaling),
    ("pool::a_dead_ready_vm_is_not_handed_out", dead_ready),
    ("pool::waiting_ends", waiting),
    ("pool::nothing_is_left_behind", no_leak),
];

fn fifty(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        pool_target_size: 4,
        allocation_timeout_ms: 60_000,
        ..config()
    });
    ground.run(async {
        let ready = manager.clone();
        eventually("four are ready", || ready.pool_metrics().ready == 4).await;
        let mut creating = tokio::task::JoinSet::new();
        for number in 0..50 {
            let manager = manager.clone();
            creating.spawn(async move {
                let session = create(&manager, &format!("s{number}")).await;
                value(&session, &format!("{number} * 2")).await == (number * 2).to_string()
            });
        }
        while let Some(right) = creating.join_next().await {
            assert!(right.expect("joined"));
        }
        let metrics = manager.pool_metrics();
        assert_eq!(manager.list(OWNER).len(), 50);
        assert_eq!(metrics.allocations, 50, "{metrics:?}");
        assert!(metrics.pool_exhausted > 0, "{metrics:?}");
        assert!(metrics.overflow_started > 0, "{metrics:?}");
        assert!(metrics.scaled_up > 0, "{metrics:?}");
        assert_eq!((metrics.waiting, metrics.allocation_timeouts), (0, 0));
        manager.stop().await;
        let metrics = manager.pool_metrics();
        assert_eq!(
            (
                metrics.ready,
                metrics.cleanup_queue,
                metrics.overflow_active
            ),
            (0, 0, 0)
        );
    });
}

fn scaling(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        pool_min_size: 1,
        pool_target_size: 3,
        scale_down_idle_secs: 0,
        ..config()
    });
    ground.run(async {
        eventually("the pool shrinks to its least", || {
            let metrics = manager.pool_metrics();
            metrics.target == 1 && metrics.ready == 1 && metrics.scaled_down == 2
        })
        .await;
        manager.stop().await;
    });
}

fn dead_ready(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        pool_min_size: 0,
        pool_target_size: 0,
        max_overflow_vms: 3,
        ..config()
    });
    ground.run(async {
        // Without a pool every VM is started on demand.
        let lab = create(&manager, "lab").await;
        assert_eq!(value(&lab, "1").await, "1");
        assert_eq!(manager.pool_metrics().overflow_active, 1);
        let process = lab.info().process.expect("a VM");
        manager.destroy(&lab).await.expect("destroyed");
        eventually("it is cleaned up", || {
            manager.pool_metrics().overflow_active == 0 && !is_alive(process)
        })
        .await;
        manager.stop().await;
    });
    let manager = ground.manager_with(config());
    ground.run(async {
        eventually("two are ready", || manager.pool_metrics().ready == 2).await;
        for process in manager.ready_processes() {
            kill(process).await;
        }
        for name in ["a", "b", "c"] {
            let session = create(&manager, name).await;
            assert_eq!(value(&session, "1").await, "1");
        }
        assert!(manager.pool_metrics().crashed_ready > 0);
        manager.stop().await;
    });
}

fn waiting(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        pool_min_size: 0,
        pool_target_size: 0,
        pool_max_size: 1,
        max_overflow_vms: 1,
        scale_up_queue_depth: 1000,
        allocation_timeout_ms: 1,
        ..config()
    });
    ground.run(async {
        let mut creating = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let manager = manager.clone();
            creating.spawn(async move {
                let owner = OWNER;
                manager
                    .create(Create {
                        owner,
                        ..Create::default()
                    })
                    .await
            });
        }
        let (mut made, mut refused) = (0, 0);
        while let Some(created) = creating.join_next().await {
            match created.expect("joined") {
                Ok(_) => made += 1,
                Err(SandboxError::AllocationTimeout { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(made >= 1 && refused >= 1, "{made} made, {refused} refused");
        let left = ground.session_folders();
        assert_eq!(left, made, "what was refused leaves nothing");
        manager.stop().await;
    });
}

fn no_leak(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let open_files = || std::fs::read_dir("/proc/self/fd").expect("fds").count();
        let settle = async || {
            eventually("the pool is at rest", || {
                let metrics = manager.pool_metrics();
                metrics.ready == metrics.target && metrics.cleanup_queue == 0
            })
            .await;
        };
        for _ in 0..5 {
            let lab = create(&manager, "lab").await;
            manager.destroy(&lab).await.expect("destroyed");
        }
        settle().await;
        let (files, processes) = (open_files(), vm_processes().len());
        for _ in 0..40 {
            let lab = create(&manager, "lab").await;
            assert_eq!(value(&lab, "1").await, "1");
            manager.destroy(&lab).await.expect("destroyed");
        }
        settle().await;
        // Tests run side by side: others' VMs come and go, leaks of forty would show.
        eventually("files of forty VMs are closed", || {
            open_files() < files + 40
        })
        .await;
        assert!(vm_processes().len() < processes + 40);
        let left = ground.session_folders();
        assert_eq!(left, 0);
        manager.stop().await;
    });
}

/// Children of this process.
fn vm_processes() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| {
            children
                .split_whitespace()
                .filter_map(|process| process.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}
