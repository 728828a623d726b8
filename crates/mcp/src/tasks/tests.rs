use super::*;
use crate::replies::Status;
use serde_json::json;

const LIFE: Duration = Duration::from_secs(3600);

fn kind(again: bool) -> Kind {
    Kind {
        tool: "rlm_query".to_owned(),
        again: again.then(|| json!({"question": "?"})),
    }
}

fn open(folder: &Path) -> Tasks {
    Tasks::open(folder, LIFE, 3).expect("a folder")
}

#[test]
fn what_ran_is_lost_with_the_server_and_what_ended_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let caller = Caller::local();
    let (running, ended, unkept) = {
        let tasks = open(folder.path());
        let begin = |again| tasks.begin(&caller, kind(again)).expect("room");
        let (running, ended, unkept) = (begin(true), begin(false), begin(false));
        running.keep().expect("kept");
        ended.keep().expect("kept");
        running.progress(40, "step 2");
        ended.end(Ended::Completed(json!({"answer": 42})));
        (running.id.clone(), ended.id.clone(), unkept.id.clone())
    };
    let tasks = open(folder.path());
    let found = tasks.find(&caller, &ended).expect("kept").record();
    assert_eq!(
        found.standing,
        Standing::Ended(Ended::Completed(json!({"answer": 42})))
    );
    assert!(tasks.find(&caller, &unkept).is_none());
    let lost = tasks.find(&caller, &running).expect("kept");
    assert_eq!(lost.record().status(), Status::Lost);
    assert!(lost.record().loss().contains("resume"));
    assert!(tasks.find(&Caller::of_token("other"), &ended).is_none());
    let again = tasks.resume(&lost).expect("it can");
    assert!(tasks.resume(&lost).is_none(), "once");
    again.end(Ended::Cancelled);
    again.end(Ended::Lost);
    let reopened = open(folder.path());
    let found = reopened.find(&caller, &running).expect("kept").record();
    assert_eq!(found.status(), Status::Cancelled, "the first end counts");
}

#[test]
fn a_caller_has_so_many_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = open(folder.path());
    let caller = Caller::local();
    let held: Vec<_> = (0..3)
        .map(|_| tasks.begin(&caller, kind(false)).expect("room"))
        .collect();
    assert!(tasks.begin(&caller, kind(false)).is_none());
    assert!(tasks.begin(&Caller::of_token("b"), kind(false)).is_some());
    held[0].end(Ended::Cancelled);
    assert!(tasks.begin(&caller, kind(false)).is_some());
}

#[test]
fn files_of_tasks_are_private_and_bad_ones_are_passed_over() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("tasks");
    let caller = Caller::local();
    let id = {
        let tasks = open(&place);
        let task = tasks.begin(&caller, kind(false)).expect("room");
        task.keep().expect("kept");
        task.id.clone()
    };
    let file = place.join(format!("{id}.json"));
    let mode = |path: &Path| path.metadata().expect("there").mode() & 0o777;
    assert_eq!((mode(&place), mode(&file)), (0o700, 0o600));
    std::fs::copy(&file, place.join("t_other.json")).expect("a task under another name");
    std::fs::write(place.join("t_garbage.json"), "{").expect("written");
    symlink("/etc/passwd", place.join("t_link.json")).expect("a link");
    rustix::fs::mkfifoat(rustix::fs::CWD, place.join("t_pipe.json"), 0o600.into()).expect("made");
    let tasks = open(&place);
    assert_eq!(tasks.of(&caller).len(), 1);
}

#[test]
fn what_has_had_its_time_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let caller = Caller::local();
    let tasks = Tasks::open(folder.path(), Duration::ZERO, 3).expect("a folder");
    let task = tasks.begin(&caller, kind(false)).expect("room");
    task.keep().expect("kept");
    std::thread::sleep(Duration::from_millis(5));
    assert!(tasks.find(&caller, &task.id).is_none());
    assert!(task.cancel.is_cancelled());
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
}

/// Two clients start a server each, over one folder: neither calls the other's tasks lost.
#[test]
fn what_another_server_runs_is_left_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let caller = Caller::local();
    let store = Store::open(folder.path()).expect("a folder");
    let mut record = Record::new("t_1".to_owned(), caller.clone(), kind(true), LIFE);
    // The first process of this host lives.
    record.process = 1;
    store.write(&record, true).expect("written");
    assert!(open(folder.path()).find(&caller, "t_1").is_none());
    assert_eq!(store.read_all(), [record]);
}
