use super::*;
use proptest::prelude::*;
use std::fs;
use std::io::Read;

fn read_in(text: &str, files: &[(&str, &str)]) -> Result<Dockerfile> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, content).expect("written");
    }
    read(text, folder.path())
}

fn refused(text: &str, line: usize, part: &str) {
    let files = [("a", "1"), ("sub/b", "2")];
    match read_in(text, &files).expect_err(text) {
        ImageError::Dockerfile { line: at, what } => {
            assert_eq!(at, line, "{text}: {what}");
            assert!(what.contains(part), "{text}: {what}");
        }
        other => panic!("{text}: {other}"),
    }
}

/// Paths, owners and contents.
fn unpacked(tar: &[u8]) -> Vec<(String, u64, String)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("entries");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let owner = entry.header().uid().expect("an owner");
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("content");
            (path, owner, content)
        })
        .collect()
}

#[test]
fn the_usual_one_is_understood() {
    let text = "# syntax=docker/dockerfile:1\nFROM python:3.11-slim\nENV PATH=/app/bin:$PATH LEVEL=\"a b\"\n\
        RUN apt-get update && \\\n    apt-get install -y --no-install-recommends \\\n    # a comment\n    sl cowsay=3.03+dfsg2-8 \\\n    && rm -rf /var/lib/apt/lists/*\n\
        WORKDIR /app\nCOPY requirements.txt .\nRUN pip install --no-cache-dir -r requirements.txt 'rich>=13'\n\
        COPY sub ./lib\nEXPOSE 80\nCMD [\"python\", \"app.py\"]\n";
    let files = [
        ("requirements.txt", "cowsay == 6.1  # says\n\n# no\n"),
        ("sub/x/y", "content"),
    ];
    let read = read_in(text, &files).expect("understood");
    assert_eq!(read.recipe.packages, ["cowsay=3.03+dfsg2-8", "sl"]);
    assert_eq!(read.recipe.pip, ["cowsay==6.1", "rich>=13"]);
    assert_eq!(read.notes.len(), 2, "{:?}", read.notes);
    let tar = read.files.expect("files");
    let found = unpacked(&tar);
    let of = |path: &str| {
        found
            .iter()
            .find(|(known, _, _)| known.trim_end_matches('/') == path)
    };
    assert_eq!(of("app/lib/x/y").expect("it").2, "content");
    assert_eq!(of("app").expect("a folder").1, 1000);
    assert_eq!(of("etc/ukernel/folder").expect("it").2, "/app");
    let (_, owner, environment) = of("etc/ukernel/environment").expect("it");
    assert_eq!((*owner, environment.lines().next()), (0, Some("LEVEL=a b")));
    assert!(
        environment.contains("PATH=/app/bin:/usr/local/sbin:"),
        "{environment}"
    );
    let again = read_in(text, &files).expect("understood").files;
    assert_eq!(again, Some(tar), "the same bytes");
}

#[test]
fn what_is_not_supported_is_named_with_its_line() {
    refused("FROM alpine\n", 1, "alpine");
    refused("FROM debian:12\nFROM debian:12\n", 2, "FROM");
    refused("FROM debian:12 AS one\nRUN make\n", 2, "make");
    refused(
        "FROM debian:12\n\nRUN apt-get install -y sl | tee\n",
        3,
        "|",
    );
    refused("FROM debian:12\nRUN apt-get install $PACKAGES\n", 2, "$");
    refused("FROM debian:12\nRUN apt-get install -t sid sl\n", 2, "-t");
    refused(
        "FROM debian:12\nRUN pip install git+https://x/y\n",
        2,
        "git+https",
    );
    refused(
        "FROM debian:12\nRUN pip install --index-url x y\n",
        2,
        "--index-url",
    );
    refused("FROM debian:12\nRUN pip install -r none\n", 2, "none");
    refused("FROM debian:12\nRUN <<EOF\necho\nEOF\n", 2, "here-document");
    refused(
        "FROM debian:12\nRUN --mount=type=cache,target=/x apt-get update\n",
        2,
        "mount",
    );
    refused("FROM debian:12\nCOPY --chown=1 a /a\n", 2, "chown");
    refused("FROM debian:12\nCOPY ../a /a\n", 2, "below");
    refused(
        "FROM debian:12\nCOPY a /etc/ukernel/environment\n",
        2,
        "nothing can be put there",
    );
    refused("FROM debian:12\nCOPY nothing /a\n", 2, "nothing");
    refused("FROM debian:12\nENV A=$B\n", 2, "`B`");
    refused("FROM debian:12\nARG A=1\n", 2, "ARG");
    refused("FROM debian:12\nADD a /a\n", 2, "COPY");
    refused("FROM debian:12\nSHELL [\"sh\"]\n", 2, "SHELL");
    refused("FROM debian:12\nWHAT\n", 2, "");
}

#[test]
fn links_lead_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = |to: &str, from: &str| {
        std::os::unix::fs::symlink(to, folder.path().join(from)).expect("a link");
    };
    fs::create_dir(folder.path().join("sub")).expect("made");
    link("/etc", "out");
    link("/etc/passwd", "sub/file");
    for source in ["out/passwd", "out", "sub", "sub/file"] {
        let text = format!("FROM debian:12\nCOPY {source} /a\n");
        assert!(read(&text, folder.path()).is_err(), "{source}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(FROM debian:12\n)?([A-Z]{3,5} [ -~\n\\\\]{0,60}\n){0,5}") {
        let folder = tempfile::tempdir().expect("a folder");
        let _ = read(&text, folder.path());
    }

    #[test]
    fn any_line_of_a_known_kind_is_read_or_refused(kind in "RUN|RUN apt-get install|RUN pip install|ENV|COPY|WORKDIR", rest in "[ -~é\n\\\\\"'$=]{0,80}") {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!("FROM ukernel\n{kind} {rest}\n");
        if let Ok(read) = read(&text, folder.path()) {
            for word in read.recipe.packages.iter().chain(&read.recipe.pip) {
                prop_assert!(!word.starts_with('-') && !word.contains([' ', ';', '$', '\'']), "{}", word);
            }
        }
    }
}
