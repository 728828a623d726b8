use super::*;
use crate::Silent;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

fn key(text: &str) -> Key {
    Key::of([text.as_bytes()])
}

fn build_text(folder: &Path) -> Result<()> {
    let path = folder.join("file");
    fs::write(&path, "content").map_err(|error| ImageError::file(&path, error))
}

fn fixture() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::new(folder.path().join("store"));
    (folder, store)
}

fn no_build(_: &Path) -> Result<()> {
    panic!("the entry is there already")
}

/// Makes a read-only file of an entry writable and changes it.
fn tamper(path: &Path, change: impl FnOnce(&File)) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("permissions");
    change(&File::options().write(true).open(path).expect("open"));
}

#[test]
fn an_entry_is_built_once() {
    let (_folder, store) = fixture();
    let first = store
        .get_or_build("kind", key("a"), &Silent, build_text)
        .expect("built");
    let second = store
        .get_or_build("kind", key("a"), &Silent, no_build)
        .expect("found");
    assert_eq!(first, second);
    assert_eq!(
        fs::read_to_string(first.join("file")).expect("content"),
        "content"
    );
}

#[test]
fn keys_do_not_run_together() {
    assert_ne!(Key::of([&b"ab"[..], b"c"]), Key::of([&b"a"[..], b"bc"]));
    assert_ne!(Key::of([&b"a"[..]]), Key::of([&b"a"[..], b""]));
}

#[test]
fn damage_is_found_and_built_again() {
    let damages: [fn(&Path); 6] = [
        |entry| {
            tamper(&entry.join("file"), |file| {
                file.set_len(3).expect("truncate")
            })
        },
        |entry| {
            tamper(&entry.join("file"), |mut file| {
                file.write_all(b"c0ntent").expect("write")
            })
        },
        |entry| fs::remove_file(entry.join("file")).expect("remove"),
        |entry| fs::remove_file(entry.join("manifest")).expect("remove"),
        |entry| {
            tamper(&entry.join("manifest"), |mut file| {
                file.write_all(b"0000").expect("write")
            })
        },
        |entry| {
            tamper(&entry.join("manifest"), |file| {
                file.set_len(0).expect("truncate")
            })
        },
    ];
    for (at, damage) in damages.into_iter().enumerate() {
        let (_folder, store) = fixture();
        let entry = store
            .get_or_build("kind", key("a"), &Silent, build_text)
            .expect("built");
        damage(&entry);
        let builds = AtomicUsize::new(0);
        let again = store.get_or_build("kind", key("a"), &Silent, |folder| {
            builds.fetch_add(1, Ordering::Relaxed);
            build_text(folder)
        });
        let again = again.expect("built again");
        assert_eq!(builds.into_inner(), 1, "damage {at}");
        assert_eq!(
            fs::read_to_string(again.join("file")).expect("content"),
            "content"
        );
    }
}

#[test]
fn a_touched_but_right_entry_is_kept() {
    let (_folder, store) = fixture();
    let entry = store
        .get_or_build("kind", key("a"), &Silent, build_text)
        .expect("built");
    tamper(&entry.join("file"), |mut file| {
        file.write_all(b"content").expect("write")
    });
    store
        .get_or_build("kind", key("a"), &Silent, no_build)
        .expect("kept");
}

#[test]
fn a_failed_build_leaves_nothing() {
    let (_folder, store) = fixture();
    let failed = store.get_or_build("kind", key("a"), &Silent, |folder| {
        build_text(folder)?;
        Err(ImageError::Compile("no".to_owned()))
    });
    assert!(matches!(failed, Err(ImageError::Compile(_))));
    let left: Vec<_> = fs::read_dir(store.root.join("kind"))
        .expect("shelf")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    store
        .get_or_build("kind", key("a"), &Silent, build_text)
        .expect("the next one works");
}

#[test]
fn what_a_dead_process_left_is_removed() {
    let (_folder, store) = fixture();
    let partial = store
        .root
        .join("kind")
        .join(format!("{}.partial", key("a").name()));
    fs::create_dir_all(&partial).expect("left over");
    fs::write(partial.join("rubbish"), "half").expect("left over");
    let entry = store
        .get_or_build("kind", key("a"), &Silent, build_text)
        .expect("built");
    assert!(!entry.join("rubbish").exists());
}

#[test]
fn many_at_once_build_once() {
    let (_folder, store) = fixture();
    let builds = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let entry = store.get_or_build("kind", key("a"), &Silent, |folder| {
                    builds.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(30));
                    build_text(folder)
                });
                assert!(entry.expect("built").join("file").exists());
            });
        }
    });
    assert_eq!(builds.into_inner(), 1);
}

#[test]
fn a_full_disk_is_named() {
    let error = ImageError::file(Path::new("/x"), std::io::ErrorKind::StorageFull.into());
    assert!(matches!(error, ImageError::DiskFull { .. }));
    assert!(error.hint().contains("UKERNEL_HOME"));
}
