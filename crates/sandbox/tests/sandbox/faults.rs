//! VMs that die, disks that are full, things that happen at once.

use crate::Behaviour;
use crate::ground::{
    Ground, OWNER, config, create, eventually, kill, run, signal, start_endless, try_run, value,
};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use ukernel_sandbox::session::{Create, Session};
use ukernel_sandbox::{ExecutionEnvironment, SandboxError};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("faults::a_vm_killed_during_an_execution", killed_running),
    ("faults::a_vm_killed_between_commands", killed_idle),
    ("faults::a_vm_killed_while_a_file_is_put", killed_putting),
    (
        "faults::a_loss_is_told_once_by_whatever_comes_next",
        told_once,
    ),
    ("faults::a_runtime_that_traps", trapped),
    ("faults::an_interrupt_that_is_not_heeded", unheeded),
    ("faults::destroy_during_a_snapshot", destroy_snapshot),
    ("faults::everything_at_once", at_once),
    ("faults::a_full_disk", full_disk),
    ("faults::a_pipe_where_a_file_was", pipes),
];

fn killed_running(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let running = start_endless(&lab).await;
        signal(lab.info().process.expect("a VM"), Signal::KILL);
        let ended = running.await.expect("joined");
        let Err(SandboxError::VmLost {
            output, standing, ..
        }) = ended
        else {
            panic!("{ended:?}");
        };
        assert_eq!(output.stdout, "go\n");
        assert_eq!((standing.after, standing.run), (1, 2));
        assert_eq!(value(&lab, "x").await, "1");
        let next = create(&manager, "next").await;
        assert_eq!(value(&next, "1").await, "1");
        manager.stop().await;
    });
}

fn killed_idle(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        // What is asked for after a command comes after its checkpoint, or makes it.
        lab.create_snapshot("here").await.expect("a snapshot");
        kill(lab.info().process.expect("a VM")).await;
        assert_eq!(value(&lab, "x").await, "1", "nothing was lost");
        manager.stop().await;
    });
}

fn killed_putting(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        lab.checkpoint().await.expect("written");
        let journal = folder_of(ground, &lab).join("journal.jsonl");
        let last_line = || {
            let text = std::fs::read_to_string(&journal).expect("a journal");
            text.lines().last().unwrap_or_default().to_owned()
        };
        let vm = lab.info().process.expect("a VM");
        signal(vm, Signal::STOP);
        let putter = lab.clone();
        let putting = tokio::spawn(async move { putter.put_file("/f", vec![0; 1 << 20]).await });
        eventually("it has begun", || last_line().contains("put")).await;
        kill(vm).await;
        let lost = putting.await.expect("joined");
        let Err(SandboxError::VmLost { standing, .. }) = lost else {
            panic!("{lost:?}");
        };
        assert_eq!((standing.after, standing.run), (1, 2));
        assert!(last_line().contains("lost"), "{}", last_line());
        assert_eq!(value(&lab, "x").await, "1");
        manager.stop().await;
    });
}

fn told_once(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        for next in ["code", "snapshot", "get", "put", "fork"] {
            let lab = create(&manager, next).await;
            lab.keep_checkpoints(false).await.expect("said");
            run(&lab, "x = 1").await;
            kill(lab.info().process.expect("a VM")).await;
            let told = match next {
                "code" => try_run(&lab, "x").await.map(drop),
                "snapshot" => lab.create_snapshot("s").await.map(drop),
                "get" => lab.get_file("/f").await.map(drop),
                "put" => lab.put_file("/f", Vec::new()).await,
                _ => manager
                    .fork(&lab, None, Vec::new(), 1, None)
                    .await
                    .map(drop),
            };
            let Err(SandboxError::VmLost { standing, .. }) = told else {
                panic!("{next}: {told:?}");
            };
            assert_eq!(standing.after, 0, "{next}");
            assert_eq!(value(&lab, "'x' in globals()").await, "False", "{next}");
        }
        manager.stop().await;
    });
}

fn trapped(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let ended = try_run(&lab, "import os; x = 2; os._exit(3)").await;
        match ended {
            // The runtime says it has exited: the next command finds it gone.
            Ok(_) => {
                let next = try_run(&lab, "x").await;
                assert!(matches!(next, Err(SandboxError::VmLost { .. })), "{next:?}");
            }
            Err(SandboxError::VmLost { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        manager.stop().await;
    });
}

fn unheeded(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let runner = lab.clone();
        let running = tokio::spawn(async move {
            try_run(
                &runner,
                "x = 2\nwhile True:\n  try:\n    while True: pass\n  except BaseException: pass",
            )
            .await
        });
        eventually("it runs", || lab.is_running()).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(lab.interrupt());
        let ended = running.await.expect("joined");
        assert!(
            matches!(ended, Err(SandboxError::VmLost { .. })),
            "{ended:?}"
        );
        assert_eq!(value(&lab, "x").await, "1");
        manager.stop().await;
    });
}

fn destroy_snapshot(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        for round in 0..5 {
            let lab = create(&manager, "lab").await;
            run(&lab, "x = bytearray(20_000_000)").await;
            let (session, taker) = (lab.clone(), lab.clone());
            let taking = tokio::spawn(async move { taker.create_snapshot("s").await });
            tokio::time::sleep(Duration::from_millis(round * 5)).await;
            manager.destroy(&session).await.expect("destroyed");
            // It came first, or it found the session gone.
            let taken = taking.await.expect("joined");
            assert!(
                matches!(taken, Ok(_) | Err(SandboxError::SessionEnded(_))),
                "{taken:?}"
            );
            let left = ground.session_folders();
            assert_eq!(left, 0, "round {round}");
        }
        manager.stop().await;
    });
}

fn at_once(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "n = 0").await;
        let mut running = tokio::task::JoinSet::new();
        for number in 0..20 {
            let session = lab.clone();
            running.spawn(async move {
                if number % 5 == 0 {
                    session
                        .create_snapshot(&format!("s{number}"))
                        .await
                        .map(|_| ())
                } else {
                    try_run(&session, "n += 1").await.map(|_| ())
                }
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("joined").expect("each is done in its turn");
        }
        assert_eq!(value(&lab, "n").await, "16");
        manager.stop().await;
    });
}

/// A small file system of its own, if this user may mount one.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(folder: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(folder)
            .status();
        status
            .is_ok_and(|status| status.success())
            .then_some(Self(folder))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn full_disk(ground: &Ground) {
    let folder = ground.sessions_folder();
    let Some(_disk) = SmallDisk::mount(&folder) else {
        eprintln!("SKIPPED: faults::a_full_disk: mounting a small file system needs root");
        return;
    };
    let manager = ground.manager_at(folder.clone(), config());
    ground.run(async {
        let lab = create(&manager, "lab").await;
        run(&lab, "x = 1").await;
        let small = lab.create_snapshot("small").await.expect("there is room");
        run(&lab, "import random; y = random.randbytes(30_000_000)").await;
        lab.checkpoint().await.expect_err("no room");
        // The checkpoint behind the command may be tried now.
        let mut before = entries(&folder);
        before.retain(|entry| !entry.contains(".unfinished-"));
        let refused = lab.create_snapshot("large").await;
        assert!(
            matches!(
                refused,
                Err(SandboxError::Machine(_) | SandboxError::Io { .. })
            ),
            "{refused:?}"
        );
        eventually("no half snapshot is left", || entries(&folder) == before).await;
        let result = run(&lab, "len(y), x").await;
        assert_eq!(
            result.value.as_deref(),
            Some("(30000000, 1)"),
            "the session goes on"
        );
        assert!(result.checkpoint_error.is_some(), "and says what it lacks");
        lab.restore_snapshot(&small).await.expect("back");
        assert_eq!(value(&lab, "x, 'y' in globals()").await, "(1, False)");
        let owner = OWNER;
        manager
            .create(Create {
                owner,
                ..Create::default()
            })
            .await
            .expect("a session");
        manager.stop().await;
    });
}

/// A pipe nobody writes to holds up nothing: not a command, not a restart.
fn pipes(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let folder = folder_of(ground, &lab);
        for number in 1..=2 {
            run(&lab, &format!("x = {number}")).await;
            lab.checkpoint().await.expect("written");
        }
        // Where the next checkpoint is written.
        for file in files(&folder.join(".unfinished-")) {
            replace_by_pipe(&file);
        }
        soon(run(&lab, "x = 3")).await;
        soon(run(&lab, "x = 4")).await;
        lab.checkpoint().await.expect("written");
        for file in files(&folder.join("checkpoint-4")) {
            replace_by_pipe(&file);
        }
        kill(lab.info().process.expect("a VM")).await;
        let refused = soon(try_run(&lab, "x")).await;
        assert!(
            matches!(refused, Err(SandboxError::Damaged { .. })),
            "{refused:?}"
        );
        for file in ["session.json", "journal.jsonl"] {
            let session = create(&manager, file).await;
            run(&session, "x = 1").await;
            session.checkpoint().await.expect("written");
        }
        let named = |name| manager.find(OWNER, name).expect("there");
        let sessions = ["session.json", "journal.jsonl"].map(named);
        manager.stop().await;
        for (session, file) in sessions.iter().zip(["session.json", "journal.jsonl"]) {
            replace_by_pipe(&folder_of(ground, session).join(file));
        }
    });
    let manager = ground.manager();
    let lost: Vec<_> = manager
        .lost(OWNER)
        .into_iter()
        .map(|lost| lost.reason)
        .collect();
    assert_eq!(lost.len(), 3, "{lost:?}");
    assert!(
        lost.iter()
            .all(|reason| reason.contains("not a regular file")),
        "{lost:?}"
    );
    ground.run(manager.stop());
}

async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future)
        .await
        .expect("it waits for nothing")
}

fn folder_of(ground: &Ground, session: &Session) -> PathBuf {
    ground.sessions_folder().join(session.id().to_string())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

fn replace_by_pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    std::fs::remove_file(path).expect("removed");
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}

/// Everything there is under a folder.
fn entries(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // It may be gone again.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            found.push(entry.path().display().to_string());
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
