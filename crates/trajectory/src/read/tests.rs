use super::*;
use crate::sample;
use proptest::prelude::*;
use std::io::Write;

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("written");
    file
}

fn read_bytes(bytes: &[u8]) -> Result<Trajectory, ReadError> {
    read(file(bytes).path())
}

/// The message for a file that is refused.
fn refusal(bytes: &[u8]) -> String {
    let error = read_bytes(bytes).expect_err("refused");
    let message = format!("{error}. {}", error.hint());
    assert!(!message.chars().any(char::is_control), "{message}");
    message
}

fn first_line() -> String {
    let lines = sample::lines(&sample::whole());
    lines.lines().next().expect("a line").to_owned()
}

#[test]
fn what_was_written_is_read() {
    let records = sample::whole();
    let trajectory = read_bytes(sample::lines(&records).as_bytes()).expect("a trajectory");
    assert_eq!(trajectory.records, records);
    assert!(!trajectory.is_cut);
}

#[test]
fn a_last_line_torn_by_a_crash_is_left_out_and_said() {
    let whole = sample::lines(&sample::whole());
    let torn = &whole.as_bytes()[..whole.len() - 20];
    let trajectory = read_bytes(torn).expect("a trajectory");
    assert!(trajectory.is_cut);
    assert_eq!(trajectory.records.len(), sample::whole().len() - 1);
    assert!(trajectory.skipped_bytes > 20);
    // Nothing is lost if only the end of the line is.
    let trajectory = read_bytes(whole.trim_end().as_bytes()).expect("a trajectory");
    assert!(!trajectory.is_cut);
    assert_eq!(trajectory.records.len(), sample::whole().len());
}

#[test]
fn another_bad_line_is_an_error_with_its_number() {
    let first = first_line();
    for bad in [
        "{\"at_ms\":1",
        "{\"at_ms\":1,\"node\":0,\"event\":\"warned\"}",
        "\u{1b}[2J",
        "[]",
    ] {
        let message = refusal(format!("{first}\n\n{bad}\n{first}\n").as_bytes());
        assert!(message.contains("line 3 is no record"), "{message}");
    }
    let message = refusal(format!("{first}\n\u{0}\u{0}\n").as_bytes());
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn a_field_of_a_later_release_is_ignored_and_an_event_is_not() {
    let first = first_line();
    let later = r#"{"at_ms":1.5,"node":0,"event":"warned","message":"m","colour":{"red":[1]}}"#;
    let trajectory = read_bytes(format!("{first}\n{later}\n").as_bytes()).expect("a trajectory");
    assert_eq!(trajectory.records.len(), 2);
    let unknown = r#"{"at_ms":1.5,"node":0,"event":"node_\u001bpaused","why":"m"}"#;
    let message = refusal(format!("{first}\n{unknown}\n").as_bytes());
    assert!(
        message.contains("line 2: the event `node_‹ESC›paused` is not known here"),
        "{message}"
    );
    assert!(message.contains("wrote it: 0.1.0"), "{message}");
}

#[test]
fn a_file_that_is_something_else_is_told() {
    let ended = r#"{"at_ms":1,"node":0,"event":"warned","message":"m"}"#;
    let newer = r#"{"event":"run_started","version":2,"ukernel":"9.9","all":"new"}"#;
    let replay = r#"{"version":1,"when":{},"reply":{"text":"x"}}"#;
    for (text, expected) in [
        ("", "has no record"),
        ("\n\n", "has no record"),
        ("{\"at_ms\":0.0,\"no", "the run ended before"),
        ("hello", "first line is no record"),
        ("\u{7f}ELF\0\0\n", "first line is no record"),
        ("{}\n", "says no event"),
        ("{\"event\":\"run_started\",\"version\":1}\n", "lacks what"),
        (ended, "`warned` instead of `run_started`"),
        (newer, "has version 2 of the format"),
        (replay, "it is a replay"),
    ] {
        let message = refusal(text.as_bytes());
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let message = read(folder.path()).expect_err("refused").to_string();
    assert!(message.contains("is not a file"), "{message}");
    let message = read(&folder.path().join("none")).expect_err("refused");
    assert!(message.to_string().contains("cannot read"), "{message}");
    let device = read(Path::new("/dev/zero")).expect_err("refused");
    assert!(device.to_string().contains("is not a file"), "{device}");
}

#[test]
fn a_file_larger_than_the_limits_is_refused() {
    let message = refusal(&vec![b'x'; MAX_LINE_BYTES + 1]);
    assert!(message.contains("line 1 has more than"), "{message}");
    // A file with a hole, which takes no room on the disk.
    let sparse = file(format!("{}\n", first_line()).as_bytes());
    sparse
        .as_file()
        .set_len(MAX_FILE_BYTES * 4)
        .expect("longer");
    let message = read(sparse.path()).expect_err("refused").to_string();
    assert!(message.contains("line 2 has more than"), "{message}");
}

#[test]
fn a_file_of_long_lines_is_read_no_further_than_the_limit() {
    let blank = format!("{}\n", " ".repeat((4 << 20) - 1)).repeat(65);
    let message = refusal(blank.as_bytes());
    assert!(
        message.contains("it has more than 268435456 bytes"),
        "{message}"
    );
}

proptest! {
    #[test]
    fn no_file_is_a_panic(bytes: Vec<u8>, keep in 0_usize..9000, at in 0_usize..9000) {
        let _ = read_bytes(&bytes);
        let mut lines = sample::lines(&sample::whole()).into_bytes();
        lines.truncate(keep);
        let at = at.min(lines.len());
        lines.splice(at..at, bytes);
        if let Err(error) = read_bytes(&lines) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
