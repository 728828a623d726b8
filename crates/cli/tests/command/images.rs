//! Images of the Linux guest that users make. A root takes minutes to build, so there is one, kept in the store all
//! tests share; its first build is the slow part of these tests.

use crate::desk::Desk;
use crate::ground::{Behaviour, Ran, ukernel};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::thread;

pub const BEHAVIOURS: &[Behaviour] = &[
    ("an_image_of_ones_own", own),
    ("two_who_make_one_image_make_it_once", twice),
];

/// What can be refused without a VM.
pub const WITHOUT_VMS: &[Behaviour] = &[
    ("what_makes_no_image_is_refused", refused),
    ("an_interrupted_build_leaves_nothing", interrupted),
];

const DOCKERFILE: &str = "FROM python:3.11-slim
ENV GREETING=\"hello there\" PATH=/app/bin:$PATH
RUN apt-get update && apt-get install -y --no-install-recommends \\
    # the train
    sl \\
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY tools ./bin
CMD [\"python\", \"app.py\"]
";

/// A folder with the Dockerfile and what it copies; the path of the Dockerfile.
fn sources() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).expect("written");
    };
    fs::create_dir(folder.path().join("tools")).expect("made");
    write("Dockerfile", DOCKERFILE);
    write("requirements.txt", "cowsay == 6.1  # says it\n");
    write("tools/note", "a note\n");
    let path = folder.path().join("Dockerfile").display().to_string();
    (folder, path)
}

fn image(desk: &Desk, words: &[&str]) -> Ran {
    let words = [&["image"], words].concat();
    let ran = ukernel(desk.home.path(), &words).output();
    ran.expect("it starts").into()
}

fn own() {
    let desk = Desk::new();
    let (_folder, dockerfile) = sources();
    let added = image(&desk, &["add", "lab", "--dockerfile", &dockerfile]).expect(0);
    assert!(
        added.stderr.contains("passed over: CMD"),
        "{}",
        added.stderr
    );
    let lock = image(&desk, &["lock", "lab"]).expect(0).text();
    for package in [
        "deb sl 5.",
        "deb bash 5.",
        "kernel linux-image-6.1",
        "pip cowsay 6.1 py3-none-any sha256:",
    ] {
        assert!(lock.contains(&format!("\n{package}")), "{package}: {lock}");
    }
    let other = image(&desk, &["add", "lab", "--packages", "sl"]).expect(2);
    assert!(
        other.stderr.contains("made from something else"),
        "{}",
        other.stderr
    );
    let list = image(&desk, &["list", "--json"]).expect(0).stdout;
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert_eq!(list["images"][0]["pip"][0], "cowsay==6.1", "{list}");

    desk.says(&[
        "create", "--guest", "linux", "--image", "lab", "--name", "full",
    ]);
    assert_eq!(
        desk.says(&[
            "bash",
            "full",
            "pwd; cat bin/note; test -x /usr/games/sl && echo $GREETING; touch own"
        ]),
        "/app\na note\nhello there\n"
    );
    assert_eq!(
        desk.says(&["exec", "full", "import cowsay, os; x = 41; (cowsay.__version__, os.environ['GREETING'], os.listdir()[0] != '')"]),
        "('6.1', 'hello there', True)\n"
    );
    // A session of the guest's own image beside it has none of that.
    desk.says(&["create", "--guest", "linux", "--name", "plain"]);
    assert_eq!(
        desk.says(&[
            "bash",
            "plain",
            "pwd; ls /usr/games/sl 2>/dev/null; echo \"[$GREETING]\""
        ]),
        "/home/user\n[]\n"
    );
    // Snapshots, forks and another daemon keep the image.
    desk.says(&["snapshot", "full", "a"]);
    desk.says(&["exec", "full", "x = 0"]);
    desk.says(&["rollback", "full", "a"]);
    let fork = desk.says(&["fork", "full"]);
    assert_eq!(
        desk.says(&["exec", fork.trim(), "import cowsay; x + 1"]),
        "42\n"
    );
    let used = image(&desk, &["remove", "lab"]).expect(2);
    assert!(used.stderr.contains("full"), "{}", used.stderr);
    stop(&desk);
    assert_eq!(desk.says(&["exec", "full", "x"]), "41\n");
    assert_eq!(desk.list()["sessions"][0]["image"], "lab");
    // Removed while nobody serves: its sessions are lost, and say why. What was built stays for the next run of these
    // tests, so only the name goes.
    stop(&desk);
    fs::rename(
        desk.home.path().join("images/lab"),
        desk.home.path().join("gone"),
    )
    .expect("moved");
    let list = desk.list();
    let lost = list["lost"].to_string();
    assert!(
        lost.contains("there is no image lab: it was removed"),
        "{lost}"
    );
    assert_eq!(list["sessions"][0]["name"], "plain", "{list}");
    let late = desk
        .session(&["create", "--guest", "linux", "--image", "lab"])
        .expect(2);
    assert!(late.stderr.contains("no image lab"), "{}", late.stderr);
}

fn stop(desk: &Desk) {
    let ran = ukernel(desk.home.path(), &["serve", "--stop"]).output();
    Ran::from(ran.expect("it starts")).expect(0);
}

fn twice() {
    let desk = Desk::new();
    let (_folder, dockerfile) = sources();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| image(&desk, &["add", "lab", "--dockerfile", &dockerfile]).expect(0));
        }
    });
    let left: Vec<String> = fs::read_dir(desk.home.path().join("images"))
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    assert_eq!(left, ["lab"]);
}

fn refused() {
    let desk = Desk::new();
    let (folder, dockerfile) = sources();
    let is_usage = |words: &[&str], part: &str| {
        let ran = image(&desk, words).expect(2);
        assert!(ran.stderr.contains(part), "{words:?}: {}", ran.stderr);
    };
    is_usage(&["add", "../x", "--packages", "sl"], "image name");
    is_usage(&["add", "linux", "--packages", "sl"], "linux");
    is_usage(&["add", "x", "--packages", "-o"], "'-o'");
    is_usage(&["add", "x", "--packages", "a b"], "Debian package");
    is_usage(&["add", "x", "--pip", "git+https://x/y"], "Python package");
    is_usage(&["add", "x", "--lock", &dockerfile], "line 1 of the lock");
    is_usage(&["add", "x", "--dockerfile", "/nowhere"], "/nowhere");
    is_usage(&["remove", "x"], "no image x");
    is_usage(&["lock", "x"], "no image x");
    for (line, part) in [
        ("RUN make install", "line 2"),
        ("COPY ../../etc/passwd /", "below"),
        ("ADD a /", "ADD"),
    ] {
        let path = folder.path().join("other");
        fs::write(&path, format!("FROM debian:12\n{line}\n")).expect("written");
        is_usage(
            &["add", "x", "--dockerfile", &path.display().to_string()],
            part,
        );
    }
    assert_eq!(image(&desk, &["list"]).expect(0).text(), "");
}

fn interrupted() {
    // A store of its own: what it leaves is looked for.
    let home = tempfile::tempdir().expect("a folder");
    let child = ukernel(home.path(), &["image", "add", "lab", "--packages", "sl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let partial = || {
        let entries = fs::read_dir(home.path().join("store/linux-root"));
        let mut names = entries.into_iter().flatten().flatten();
        names.any(|entry| entry.path().extension().is_some_and(|end| end == "partial"))
    };
    crate::desk::eventually("it builds", partial);
    thread::sleep(std::time::Duration::from_secs(3));
    let began = std::time::Instant::now();
    crate::desk::signal(child.id(), rustix::process::Signal::INT);
    let ran = Ran::from(child.wait_with_output().expect("it ends")).expect(130);
    assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
    assert!(
        began.elapsed().as_secs() < 60,
        "it went on: {:?}",
        began.elapsed()
    );
    assert!(!partial(), "a half is left");
    assert!(!home.path().join("images/lab").exists());
}
