//! Folders and files go in and out of a session.

use crate::Behaviour;
use crate::ground::{Ground, config, create, start, value};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use ukernel_sandbox::session::Session;
use ukernel_sandbox::{SandboxConfig, SandboxError};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("files::a_folder_goes_in_and_out_as_an_archive", folder),
    ("files::folders_are_listed_made_renamed_removed", changes),
    ("files::a_put_waits_for_what_runs", waits),
    ("files::two_thousand_files", many),
    ("files::a_full_tree_is_an_error", full),
    ("files::an_archive_that_breaks_off_is_an_error", broken),
];

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, *content)
            .expect("added");
    }
    archive.into_inner().expect("an archive")
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("kept").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn put(session: &Session, archive: Vec<u8>, to: &str) -> Result<u64, SandboxError> {
    let moved = session.put_tree(io::Cursor::new(archive), to).await?;
    Ok(moved.files)
}

fn folder(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let large: Vec<u8> = (0..700_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let bytes = archive(&[("a/b/large", &large), ("empty", b""), ("./c", b"3")]);
        let before = lab.info().commands;
        assert_eq!(put(&lab, bytes, "/data").await.expect("put"), 3);
        assert_eq!(lab.get_file("/data/a/b/large").await.expect("got"), large);
        assert_eq!(lab.info().commands, before + 1, "one command");
        let kept = Kept::default();
        let moved = lab.get_tree("/data", kept.clone()).await.expect("got");
        assert_eq!((moved.files, moved.folders), (3, 3), "{moved:?}");
        assert_eq!(moved.bytes, 700_001);
        let bytes = kept.0.lock().expect("kept").clone();
        assert_eq!(put(&lab, bytes, "/copy/").await.expect("put"), 3);
        assert_eq!(lab.get_file("/copy/a/b/large").await.expect("got"), large);
        let single = archive(&[(".", b"single")]);
        assert_eq!(put(&lab, single, "/one").await.expect("put"), 1);
        assert_eq!(lab.get_file("/one").await.expect("got"), b"single");
        assert!(lab.get_tree("/absent", io::sink()).await.is_err());
        for target in ["", "relative"] {
            assert!(put(&lab, archive(&[("f", b"1")]), target).await.is_err());
        }
        manager.stop().await;
    });
}

fn changes(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        lab.make_folder("/d/e").await.expect("made");
        lab.make_folder("/d/e").await.expect("there");
        lab.put_file("/d/f", vec![7; 10]).await.expect("put");
        let entries = lab.list_folder("/d").await.expect("listed");
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["e", "f"]);
        assert_eq!(lab.stat("/d/f").await.expect("there").bytes, 10);
        lab.rename("/d/f", "/d/f").await.expect("onto itself");
        lab.rename("/d/f", "/d/g").await.expect("renamed");
        assert!(lab.rename("/d", "/d/e/d").await.is_err(), "into itself");
        assert!(lab.rename("/absent", "/x").await.is_err());
        for root in ["/", "", "//", "/.", "/d/..", "/d/../d/.."] {
            assert!(lab.remove(root, true).await.is_err(), "{root}");
        }
        assert!(lab.remove("/d", false).await.is_err(), "not empty");
        assert_eq!(lab.get_file("/d/g").await.expect("got"), [7; 10]);
        lab.remove("/d", true).await.expect("removed");
        assert!(lab.stat("/d").await.is_err());
        assert!(lab.remove("/d", true).await.is_err(), "gone already");
        manager.stop().await;
    });
}

fn waits(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        // It waits, because only the embedded VMM reaches a program that computes.
        let running = start(
            &lab,
            "import time; print('go', flush=True); time.sleep(1000)",
        )
        .await;
        let putter = lab.clone();
        let bytes = archive(&[("f", b"1")]);
        let putting = tokio::spawn(async move { put(&putter, bytes, "/d").await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!putting.is_finished());
        assert!(lab.interrupt());
        running.await.expect("ended").expect("a result");
        assert_eq!(putting.await.expect("ended").expect("put"), 1);
        assert_eq!(value(&lab, "open('/d/f').read()").await, "'1'");
        manager.stop().await;
    });
}

fn many(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let names: Vec<String> = (0..2_000).map(|n| format!("{}/{n}", n % 100)).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&name[..], &b"1"[..])).collect();
        let began = Instant::now();
        let count = put(&lab, archive(&files), "/many").await.expect("put");
        let put_in = began.elapsed();
        assert_eq!(count, 2_000);
        let began = Instant::now();
        let moved = lab.get_tree("/many", io::sink()).await.expect("got");
        assert_eq!((moved.files, moved.folders), (2_000, 101));
        let got_in = began.elapsed();
        let began = Instant::now();
        lab.remove("/many", true).await.expect("removed");
        eprintln!(
            "2,000 files: put {put_in:?}, got {got_in:?}, removed {:?}",
            began.elapsed()
        );
        manager.stop().await;
    });
}

fn full(ground: &Ground) {
    let manager = ground.manager_with(SandboxConfig {
        max_overlay_mb: 8,
        ..config()
    });
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let content = vec![1; 16 << 20];
        let refused = put(&lab, archive(&[("f", &content)]), "/d").await;
        let error = refused.expect_err("full").to_string();
        assert!(error.contains("quota"), "{error}");
        lab.remove("/d", true).await.expect("removed");
        assert_eq!(value(&lab, "1").await, "1", "the session goes on");
        manager.stop().await;
    });
}

fn broken(ground: &Ground) {
    let manager = ground.manager();
    ground.run(async {
        let lab = create(&manager, "lab").await;
        let mut bytes = archive(&[("a", b"1"), ("f", &[1; 600_000])]);
        bytes.truncate(300_000);
        let refused = put(&lab, bytes, "/d").await;
        assert!(matches!(refused, Err(SandboxError::Archive(_))));
        assert_eq!(value(&lab, "open('/d/a').read()").await, "'1'");
        manager.stop().await;
    });
}
