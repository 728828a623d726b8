//! The store under damage and in parallel.

use crate::ground::{Behaviour, Ran, Script, home, ukernel};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub const BEHAVIOURS: &[Behaviour] = &[
    (
        "a_damaged_template_is_refused_and_made_again",
        a_damaged_template_is_refused_and_made_again,
    ),
    (
        "a_truncated_image_is_refused_and_made_again",
        a_truncated_image_is_refused_and_made_again,
    ),
    (
        "what_is_missing_is_said_before_it_is_built",
        what_is_missing_is_said_before_it_is_built,
    ),
    (
        "two_first_runs_at_once_do_not_disturb_each_other",
        two_first_runs_at_once_do_not_disturb_each_other,
    ),
];

/// A home with kernel and image but no templates, so that tests can break it.
fn own_home() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for kind in ["kernel", "component", "image"] {
        let from = home().join("store").join(kind);
        let to = folder.path().join("store").join(kind);
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg("--")
            .arg(from)
            .arg(parent(&to))
            .status();
        assert!(copied.expect("cp runs").success());
    }
    folder
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().expect("it has one");
    fs::create_dir_all(parent).expect("a folder");
    parent
}

fn hello(home: &Path) -> Ran {
    let script = Script::new("print('hello')");
    let ran: Ran = ukernel(home, &["run", &script.path()])
        .output()
        .expect("it starts")
        .into();
    let ran = ran.expect(0);
    assert_eq!(ran.text(), "hello\n");
    ran
}

/// The only entry of a kind.
fn entry(home: &Path, kind: &str) -> PathBuf {
    let shelf = home.join("store").join(kind);
    let mut entries = fs::read_dir(shelf)
        .expect("a shelf")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let entry = entries.next().expect("an entry");
    assert!(entries.next().is_none(), "one entry");
    entry
}

fn writable(path: &Path) -> File {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("permissions");
    File::options().write(true).open(path).expect("open")
}

fn a_damaged_template_is_refused_and_made_again() {
    let folder = own_home();
    hello(folder.path());
    let memory = entry(folder.path(), "template-kvm").join("memory");
    writable(&memory)
        .write_all_at(b"flipped", 0x60_0000)
        .expect("write");
    assert!(hello(folder.path()).stderr.contains("damaged"));
    assert!(!hello(folder.path()).stderr.contains("damaged"));
}

fn a_truncated_image_is_refused_and_made_again() {
    let folder = own_home();
    let image = entry(folder.path(), "image").join("image");
    let mut file = writable(&image);
    file.set_len(1 << 20).expect("truncate");
    file.flush().expect("flush");
    assert!(hello(folder.path()).stderr.contains("damaged"));
}

fn what_is_missing_is_said_before_it_is_built() {
    let folder = own_home();
    let image = entry(folder.path(), "image");
    fs::remove_dir_all(&image).expect("removed");
    let said = hello(folder.path()).stderr;
    let first = said.lines().next().expect("a line");
    assert!(first.contains("once for this release"), "{said}");
    assert!(first.contains(": Python image (kept in "), "{said}");
    assert!(first.contains("seconds"), "{said}");
    assert!(!first.contains("kernel,"), "it is there: {said}");
    let again = hello(folder.path()).stderr;
    assert!(!again.contains("once for this release"), "{again}");
}

fn two_first_runs_at_once_do_not_disturb_each_other() {
    let folder = own_home();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| hello(folder.path())))
            .collect();
        let made = runs
            .into_iter()
            .map(|run| run.join().expect("it runs"))
            .filter(|ran| ran.stderr.contains("as a template"))
            .count();
        assert_eq!(made, 1, "one of them makes the template, the other waits");
    });
}
