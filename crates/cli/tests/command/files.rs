//! Files and folders in and out of sessions.

use crate::desk::Desk;
use crate::ground::{Behaviour, Ran, ukernel};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("folders_go_in_and_out", folders),
    ("names_are_listed_made_moved_and_removed", names),
    (
        "what_cannot_be_carried_is_named_and_is_no_success",
        left_out,
    ),
    ("a_large_file_goes_in_and_out_whole", large),
    ("standard_input_becomes_a_file", piped),
];

/// A home with a session, and a folder beside it.
fn begin() -> (Desk, tempfile::TempDir) {
    let desk = Desk::new();
    desk.says(&["create", "--name", "lab"]);
    (desk, tempfile::tempdir().expect("a folder"))
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_string_lossy().into_owned()
}

fn folders() {
    let (desk, here) = begin();
    fs::create_dir_all(here.path().join("in/deep/er")).expect("folders");
    fs::create_dir(here.path().join("in/empty")).expect("a folder");
    fs::write(here.path().join("in/deep/er/a"), b"one").expect("a file");
    fs::write(here.path().join("in/b c"), b"\0\xff").expect("a file");
    desk.says(&["put", "lab", &path(&here, "in"), "/data"]);
    let code =
        "import os; print(sorted(p + '/' + n for p, d, f in os.walk('/data') for n in d + f))";
    let seen = desk.says(&["exec", "lab", code]);
    let expected =
        "['/data/b c', '/data/deep', '/data/deep/er', '/data/deep/er/a', '/data/empty']\n";
    assert_eq!(seen, expected);
    desk.says(&["get", "lab", "/data", &path(&here, "out")]);
    let read = |name: &str| fs::read(here.path().join("out").join(name)).expect("a file");
    assert_eq!(
        (read("deep/er/a"), read("b c")),
        (b"one".to_vec(), b"\0\xff".to_vec())
    );
    assert!(here.path().join("out/empty").is_dir());
    // What is there is not replaced unless that is asked for.
    desk.session(&["get", "lab", "/data", &path(&here, "out")])
        .expect(2);
    fs::write(here.path().join("out/b c"), b"mine").expect("written");
    desk.says(&["get", "lab", "/data", &path(&here, "out"), "--force"]);
    assert_eq!(read("b c"), b"\0\xff");
    desk.session(&["get", "lab", "/none", &path(&here, "none")])
        .expect(1);
    assert!(!here.path().join("none").exists());
}

fn names() {
    let (desk, _here) = begin();
    desk.says(&["mkdir", "lab", "/d/e"]);
    desk.says(&["exec", "lab", "open('/d/f', 'w').write('abc')"]);
    desk.says(&["mv", "lab", "/d/f", "/d/g"]);
    desk.says(&["mv", "lab", "/d/g", "/d/g"]);
    let listed = desk.says(&["ls", "lab", "/d"]);
    assert!(
        listed.contains('e') && listed.contains('g') && !listed.contains('f'),
        "{listed}"
    );
    assert_eq!(desk.says(&["ls", "lab", "/d/g"]).trim(), "3 /d/g");
    let json = desk.says(&["ls", "lab", "/d", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(json.to_string().contains("\"g\""), "{json}");
    desk.session(&["rm", "lab", "/d"]).expect(1);
    desk.session(&["rm", "lab", "-r", "/"]).expect(1);
    desk.says(&["rm", "lab", "-r", "/d"]);
    desk.session(&["ls", "lab", "/d"]).expect(1);
}

fn left_out() {
    let (desk, here) = begin();
    let folder = here.path().join("in");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("kept"), b"x").expect("a file");
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).expect("a link");
    mknodat(CWD, folder.join("fifo"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    let _socket = UnixListener::bind(folder.join("socket")).expect("a socket");
    let ran = desk
        .session(&["put", "lab", &path(&here, "in"), "/data"])
        .expect(1);
    for name in ["link", "fifo", "socket"] {
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
    let seen = desk.says(&["exec", "lab", "import os; print(os.listdir('/data'))"]);
    assert_eq!(seen, "['kept']\n");
    desk.says(&["exec", "lab", "os.symlink('/data/kept', '/data/link')"]);
    let out = path(&here, "out");
    let ran = desk.session(&["get", "lab", "/data", &out]).expect(1);
    assert!(ran.stderr.contains("link"), "{}", ran.stderr);
    assert_eq!(
        fs::read(here.path().join("out/kept")).expect("a file"),
        b"x"
    );
    assert!(fs::symlink_metadata(here.path().join("out/link")).is_err());
}

fn large() {
    let (desk, here) = begin();
    let bytes: Vec<u8> = (0..40u32 << 20).map(|at| (at % 251) as u8).collect();
    fs::write(here.path().join("in"), &bytes).expect("a file");
    desk.says(&["put", "lab", &path(&here, "in"), "/large"]);
    let code = "import zlib; print(zlib.crc32(open('/large', 'rb').read()))";
    let sum = desk.says(&["exec", "lab", code]);
    desk.says(&["get", "lab", "/large", &path(&here, "out")]);
    assert!(
        fs::read(here.path().join("out")).expect("a file") == bytes,
        "{sum}"
    );
}

fn piped() {
    let (desk, _here) = begin();
    let words = ["session", "put", "lab", "-", "/typed"];
    let mut child = ukernel(desk.home.path(), &words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"typed").expect("written");
    drop(stdin);
    let ran: Ran = child.wait_with_output().expect("it ends").into();
    ran.expect(0);
    assert_eq!(desk.says(&["get", "lab", "/typed", "-"]), "typed");
}
