//! Random sequences of operations, against a plain model of what sessions are.

use crate::Behaviour;
use crate::ground::{Ground, OWNER, kill, run, value};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use ukernel_sandbox::session::{Create, Session, SessionManager};
use ukernel_sandbox::{ExecutionEnvironment, SnapshotId};

pub const BEHAVIOURS: &[Behaviour] = &[("model::sessions_are_what_the_model_says", model)];

/// Sequences tried, and their length.
const CASES: u32 = 12;
const STEPS: usize = 24;

/// Most sessions at once.
const MAX_SESSIONS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Add(i64),
    Append(u8),
    Snapshot,
    Rollback(usize),
    Fork(Option<usize>),
    Destroy,
    KillVm,
    Fail,
    Restart,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => (-9..9i64).prop_map(Step::Add),
        3 => any::<u8>().prop_map(Step::Append),
        3 => Just(Step::Snapshot),
        3 => any::<usize>().prop_map(Step::Rollback),
        2 => proptest::option::of(any::<usize>()).prop_map(Step::Fork),
        1 => Just(Step::Destroy),
        1 => Just(Step::KillVm),
        1 => Just(Step::Fail),
        1 => Just(Step::Restart),
    ];
    (any::<usize>(), step)
}

/// What a session is, for the model.
#[derive(Clone, Debug, Default, PartialEq)]
struct Contents {
    number: i64,
    file: Vec<u8>,
}

#[derive(Default)]
struct Model {
    contents: Contents,
    snapshots: Vec<(SnapshotId, Contents)>,
}

fn model(ground: &Ground) {
    let config = Config {
        cases: CASES,
        max_shrink_iters: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let sequences = proptest::collection::vec(step(), 1..STEPS);
    TestRunner::new(config)
        .run(&sequences, |steps| {
            check(ground, &steps);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn check(ground: &Ground, steps: &[(usize, Step)]) {
    // A folder of its own: what a failed sequence left must not be the next one's.
    let root = tempfile::tempdir().expect("a folder");
    let open = || ground.manager_at(root.path().to_owned(), crate::ground::config());
    let mut manager = open();
    let mut models = BTreeMap::new();
    let first = ground.run(begin(&manager));
    models.insert(first.id(), Model::default());
    for (choice, step) in steps {
        if matches!(step, Step::Restart) {
            ground.run(manager.stop());
            manager = open();
            continue;
        }
        let Some(id) = models.keys().nth(choice % models.len()).copied() else {
            break;
        };
        let session = manager.find(OWNER, &id.to_string()).expect("it lives");
        ground.run(take(&manager, &session, &mut models, step));
        if models.is_empty() {
            let session = ground.run(begin(&manager));
            models.insert(session.id(), Model::default());
        }
    }
    for (id, model) in &models {
        let session = manager.find(OWNER, &id.to_string()).expect("it lives");
        ground.run(compare(&session, &model.contents));
    }
    assert_eq!(manager.list(OWNER).len(), models.len());
    ground.run(manager.stop());
}

async fn begin(manager: &SessionManager) -> Session {
    let owner = OWNER;
    let session = manager
        .create(Create {
            owner,
            ..Create::default()
        })
        .await
        .expect("a session");
    run(&session, "number = 0; open('/tmp/file', 'wb').close()").await;
    session
}

async fn take(
    manager: &SessionManager,
    session: &Session,
    models: &mut BTreeMap<ukernel_sandbox::SessionId, Model>,
    step: &Step,
) {
    let id = session.id();
    let count = models.len();
    let model = models.get_mut(&id).expect("a model");
    match step {
        Step::Add(number) => {
            run(session, &format!("number += {number}")).await;
            model.contents.number += number;
        }
        Step::Append(byte) => {
            run(
                session,
                &format!("with open('/tmp/file','ab') as f: f.write(bytes([{byte}]))"),
            )
            .await;
            model.contents.file.push(*byte);
        }
        Step::Snapshot => {
            let name = format!("s{}", model.snapshots.len());
            let taken = session.create_snapshot(&name).await;
            if model.snapshots.len() < 10 {
                let taken = taken.expect("a snapshot");
                model.snapshots.push((taken, model.contents.clone()));
            } else {
                assert!(taken.is_err());
            }
        }
        Step::Rollback(which) => {
            if let Some((snapshot, contents)) = pick(&model.snapshots, *which) {
                session.restore_snapshot(&snapshot).await.expect("back");
                model.contents = contents;
            }
        }
        Step::Fork(which) => {
            if count < MAX_SESSIONS {
                let from = which.and_then(|which| pick(&model.snapshots, which));
                let (snapshot, contents) = match from {
                    Some((snapshot, contents)) => (Some(snapshot), contents),
                    None => (None, model.contents.clone()),
                };
                let copies = manager.fork(session, snapshot, Vec::new(), 1, None).await;
                let copy = copies.expect("a copy").remove(0);
                let snapshots = Vec::new();
                models.insert(
                    copy.id(),
                    Model {
                        contents,
                        snapshots,
                    },
                );
                return compare(&copy, &models[&copy.id()].contents).await;
            }
        }
        Step::Destroy => {
            manager.destroy(session).await.expect("destroyed");
            models.remove(&id);
            return;
        }
        Step::KillVm => {
            session.checkpoint().await.expect("a checkpoint");
            if let Some(process) = session.info().process {
                kill(process).await;
            }
        }
        Step::Fail => {
            let context = ukernel_sandbox::ExecutionContext {
                timeout: Some(std::time::Duration::from_millis(100)),
                ..Default::default()
            };
            let code = "number = 10**6\nwhile True: pass";
            assert!(session.execute_code(code, &context).await.is_err());
        }
        Step::Restart => {}
    }
    compare(session, &models[&id].contents).await;
}

fn pick(snapshots: &[(SnapshotId, Contents)], which: usize) -> Option<(SnapshotId, Contents)> {
    let at = which.checked_rem(snapshots.len())?;
    snapshots.get(at).cloned()
}

async fn compare(session: &Session, contents: &Contents) {
    let seen = value(session, "number, list(open('/tmp/file', 'rb').read())").await;
    assert_eq!(seen, format!("({}, {:?})", contents.number, contents.file));
}
