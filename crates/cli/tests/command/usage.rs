//! Wrong usage: exit code 2, one line, a hint, and no VM.

use crate::ground::{Behaviour, Script, run};
use std::os::unix::fs::PermissionsExt;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("a_missing_file_is_named", a_missing_file_is_named),
    ("a_folder_is_no_program", a_folder_is_no_program),
    ("other_languages_are_refused", other_languages_are_refused),
    ("wrong_words_are_refused", wrong_words_are_refused),
    ("completions_are_printed", completions_are_printed),
    ("a_relative_home_is_refused", a_relative_home_is_refused),
];

/// For users whom permissions stop.
pub const FOR_OTHERS_THAN_ROOT: &[Behaviour] =
    &[("an_unreadable_file_is_named", an_unreadable_file_is_named)];

/// Why permissions do not stop this user, if they do not.
pub fn reads_everything() -> Option<String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o000))
        .expect("permissions");
    std::fs::File::open(file.path())
        .is_ok()
        .then(|| "this user may read every file".to_owned())
}

fn is_one_line_with_a_hint(text: &str) {
    assert!(
        text.starts_with("error: ")
            && text.contains(". hint: ")
            && text.trim_end().lines().count() == 1,
        "{text}"
    );
}

fn a_missing_file_is_named() {
    let ran = run(&["run", "no/such/file.py"]).expect(2);
    is_one_line_with_a_hint(&ran.stderr);
    assert!(ran.stderr.contains("no/such/file.py"), "{}", ran.stderr);
}

fn a_folder_is_no_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("folder.py");
    std::fs::create_dir(&path).expect("a folder");
    is_one_line_with_a_hint(&run(&["run", &path.to_string_lossy()]).expect(2).stderr);
}

fn other_languages_are_refused() {
    is_one_line_with_a_hint(&run(&["run", "program.js"]).expect(2).stderr);
}

fn an_unreadable_file_is_named() {
    let script = Script::new("print(1)");
    std::fs::set_permissions(script.path(), std::fs::Permissions::from_mode(0o000))
        .expect("permissions");
    is_one_line_with_a_hint(&run(&["run", &script.path()]).expect(2).stderr);
}

fn wrong_words_are_refused() {
    for words in [
        &["walk"][..],
        &["run"],
        &["run", "a.py", "--memory", "7"],
        &["run", "a.py", "--timeout", "soon"],
        &[],
    ] {
        let ran = run(words).expect(2);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{words:?}");
    }
}

fn completions_are_printed() {
    assert!(
        run(&["completions", "bash"])
            .expect(0)
            .text()
            .contains("ukernel")
    );
}

fn a_relative_home_is_refused() {
    let script = Script::new("print(1)");
    let ran = crate::ground::ukernel("relative".as_ref(), &["run", &script.path()])
        .output()
        .expect("it starts");
    assert_eq!(ran.status.code(), Some(2));
    is_one_line_with_a_hint(&String::from_utf8_lossy(&ran.stderr));
}
