//! The file tree against a plain model: a map from paths to contents.

use super::{FileError, Kind, Tree};
use crate::surroundings::Calm;
use proptest::prelude::*;
use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

const QUOTA_BYTES: u64 = 1 << 20;

/// Something a program does.
#[derive(Clone, Debug)]
enum Step {
    Write {
        path: String,
        offset: u64,
        bytes: Vec<u8>,
    },
    Resize {
        path: String,
        length: u64,
    },
    MakeFolder {
        path: String,
    },
    Unlink {
        path: String,
    },
    RemoveFolder {
        path: String,
    },
    Rename {
        old: String,
        new: String,
    },
    Link {
        path: String,
        target: String,
    },
    Find {
        path: String,
    },
}

fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[ab]".prop_map(String::from),
        1 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(String::new()),
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (
            path(),
            0u64..70_000,
            proptest::collection::vec(any::<u8>(), 0..40_000)
        )
            .prop_map(|(path, offset, bytes)| Step::Write {
                path,
                offset,
                bytes
            }),
        (path(), 0u64..70_000).prop_map(|(path, length)| Step::Resize { path, length }),
        path().prop_map(|path| Step::MakeFolder { path }),
        path().prop_map(|path| Step::Unlink { path }),
        path().prop_map(|path| Step::RemoveFolder { path }),
        (path(), path()).prop_map(|(old, new)| Step::Rename { old, new }),
        (path(), path()).prop_map(|(path, target)| Step::Link { path, target }),
        ".{0,20}".prop_map(|path| Step::Find { path }),
    ]
}

fn tree() -> Tree {
    let mut tree = Tree::empty(&Calm);
    tree.format(QUOTA_BYTES);
    tree
}

/// Every file and folder that can be reached, by path.
fn contents(tree: &Tree) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), Tree::ROOT)];
    while let Some((path, folder)) = open.pop() {
        for (name, node) in tree.list(folder).expect("a folder") {
            let path = format!("{path}/{name}");
            match tree.status(node).expect("reachable").kind {
                Kind::Directory => {
                    open.push((path.clone(), node));
                    found.insert(path, None);
                }
                Kind::File => {
                    let bytes = tree.read(node, 0, usize::MAX).expect("a file");
                    found.insert(path, Some(bytes));
                }
                Kind::Link => {}
            }
        }
    }
    found
}

fn apply(tree: &mut Tree, step: &Step) -> Result<(), FileError> {
    let root = Tree::ROOT;
    match step {
        Step::Write {
            path,
            offset,
            bytes,
        } => {
            let node = tree.make_file(root, path, false)?;
            tree.write(node, *offset, bytes)
        }
        Step::Resize { path, length } => {
            let node = tree.find(root, path, true)?;
            tree.resize(node, *length)
        }
        Step::MakeFolder { path } => tree.make_folder(root, path).map(|_| ()),
        Step::Unlink { path } => tree.unlink(root, path),
        Step::RemoveFolder { path } => tree.remove_folder(root, path),
        Step::Rename { old, new } => tree.rename(root, old, root, new),
        Step::Link { path, target } => tree.make_link(root, path, target),
        Step::Find { path } => tree.find(root, path, true).map(|_| ()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever is done: nothing panics, every reachable node is sound, and when all is
    /// removed nothing of the quota stays used.
    #[test]
    fn any_sequence_leaves_a_sound_tree(steps in proptest::collection::vec(step(), 0..60)) {
        let mut tree = tree();
        let fresh = tree.used_bytes();
        for step in &steps {
            let _ = apply(&mut tree, step);
            prop_assert!(tree.used_bytes() <= QUOTA_BYTES, "{step:?}");
        }
        let _ = contents(&tree);
        remove_all(&mut tree, "");
        for folder in ["/tmp", "/home"] {
            tree.make_folder(Tree::ROOT, folder).expect("room again");
        }
        prop_assert_eq!(tree.used_bytes(), fresh);
    }

    /// The quota doubles, only when it must, to its end and no further; what is used is
    /// always within it, also after new bounds.
    #[test]
    fn the_quota_doubles_to_its_end(
        steps in proptest::collection::vec(step(), 0..60),
        first in 0u64..100_000,
        max in 20_000u64..1_000_000,
        later in proptest::option::of((0u64..100_000, 0u64..1_000_000)),
    ) {
        let mut tree = tree();
        let mut bounds = (first, max);
        tree.set_quota(bounds.0, bounds.1);
        for (at, step) in steps.iter().enumerate() {
            if let (30, Some(later)) = (at, later) {
                bounds = later;
                tree.set_quota(bounds.0, bounds.1);
            }
            let (used, quota) = (tree.used_bytes(), tree.quota_bytes());
            let _ = apply(&mut tree, step);
            let grown = tree.take_grown();
            prop_assert!(tree.quota_bytes() <= bounds.1, "{step:?}");
            prop_assert!(tree.used_bytes() <= tree.quota_bytes().max(used), "{step:?}");
            let mut expected = quota;
            for doubled in &grown {
                expected = (expected * 2).clamp(1, bounds.1);
                prop_assert_eq!(*doubled, expected);
            }
            prop_assert_eq!(tree.quota_bytes(), expected);
            // Rename and the like may give back what made it grow.
            let needed = grown.len() < 2 || tree.used_bytes() > quota;
            prop_assert!(needed, "{step:?}");
        }
    }

    /// One file written and cut at random reads back as a vector treated the same way.
    #[test]
    fn a_file_is_a_vector(steps in proptest::collection::vec((0u64..100_000, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40_000))), 0..20)) {
        let mut tree = tree();
        let file = tree.make_file(Tree::ROOT, "/f", true).expect("a file");
        let mut model: Vec<u8> = Vec::new();
        for (at, bytes) in steps {
            match bytes {
                Some(bytes) => {
                    tree.write(file, at, &bytes).expect("within the quota");
                    let end = at as usize + bytes.len();
                    if !bytes.is_empty() {
                        model.resize(model.len().max(end), 0);
                        model[at as usize..end].copy_from_slice(&bytes);
                    }
                }
                None => {
                    tree.resize(file, at).expect("within the quota");
                    model.resize(at as usize, 0);
                }
            }
            prop_assert_eq!(tree.status(file).expect("there").bytes, model.len() as u64);
            prop_assert_eq!(&tree.read(file, 0, usize::MAX).expect("a file"), &model);
            let middle = model.len() / 2;
            prop_assert_eq!(&tree.read(file, middle as u64, 100).expect("a file")[..], &model[middle..(middle + 100).min(model.len())]);
        }
    }
}

fn remove_all(tree: &mut Tree, path: &str) {
    let here = if path.is_empty() { "/" } else { path };
    let folder = tree.find(Tree::ROOT, here, false).expect("there");
    for (name, node) in tree.list(folder).expect("a folder") {
        let path = format!("{path}/{name}");
        if tree.status(node).expect("there").kind == Kind::Directory {
            remove_all(tree, &path);
            tree.remove_folder(Tree::ROOT, &path).expect("empty now");
        } else {
            tree.unlink(Tree::ROOT, &path).expect("there");
        }
    }
}

#[test]
fn small_files_cost_what_is_in_them() {
    let mut tree = tree();
    // Again and again: what is removed is given back.
    for _ in 0..3 {
        for n in 0..1000 {
            let path = format!("/{n}");
            let node = tree.make_file(Tree::ROOT, &path, true).expect("a file");
            tree.write(node, 0, b"ten bytes.").expect("room");
        }
        for n in 0..1000 {
            tree.unlink(Tree::ROOT, &format!("/{n}")).expect("it goes");
        }
    }
}

#[test]
fn the_quota_is_a_wall() {
    let mut tree = tree();
    let file = tree.make_file(Tree::ROOT, "/f", true).expect("a file");
    assert_eq!(
        tree.write(file, 0, &vec![1; QUOTA_BYTES as usize]),
        Err(FileError::Quota)
    );
    assert_eq!(tree.status(file).expect("there").bytes, 0, "all or nothing");
    assert_eq!(tree.write(file, u64::MAX, b"x"), Err(FileError::Quota));
    assert_eq!(
        tree.write(file, u64::from(u32::MAX), b"x"),
        Err(FileError::Quota)
    );
    tree.resize(file, u64::from(u32::MAX))
        .expect("holes are free");
    let mut made = 0;
    while tree
        .make_file(Tree::ROOT, &format!("/{made}"), true)
        .is_ok()
    {
        made += 1;
    }
    assert!(made < 3000, "empty files end too");
}

#[test]
fn an_open_file_outlives_its_name() {
    let mut tree = tree();
    let file = tree.make_file(Tree::ROOT, "/f", true).expect("a file");
    tree.open(file).expect("open");
    tree.write(file, 0, b"still here").expect("write");
    tree.unlink(Tree::ROOT, "/f").expect("unlink");
    assert_eq!(tree.read(file, 0, 100).expect("open"), b"still here");
    tree.close(file);
    assert!(tree.read(file, 0, 100).is_err());
}

#[test]
fn paths_end_at_the_root_and_links_end() {
    let mut tree = tree();
    tree.make_file(Tree::ROOT, "/tmp/f", true).expect("a file");
    tree.find(Tree::ROOT, "/../../tmp/./../tmp/f", true)
        .expect("the root is its own parent");
    tree.make_link(Tree::ROOT, "/loop", "/loop")
        .expect("a link");
    assert_eq!(
        tree.find(Tree::ROOT, "/loop", true),
        Err(FileError::TooManyLinks)
    );
    tree.make_link(Tree::ROOT, "/to", "tmp").expect("a link");
    tree.find(Tree::ROOT, "/to/f", true)
        .expect("through the link");
    assert_eq!(tree.find(Tree::ROOT, "", true), Err(FileError::Invalid));
    assert_eq!(
        tree.find(Tree::ROOT, &"x".repeat(5000), true),
        Err(FileError::NameTooLong)
    );
    assert_eq!(
        tree.find(Tree::ROOT, "/tmp/f/g", true),
        Err(FileError::NotDirectory)
    );
}

#[test]
fn a_folder_does_not_move_into_itself() {
    let mut tree = tree();
    tree.make_folder(Tree::ROOT, "/a").expect("a folder");
    tree.make_folder(Tree::ROOT, "/a/b").expect("a folder");
    assert_eq!(
        tree.rename(Tree::ROOT, "/a", Tree::ROOT, "/a/b/c"),
        Err(FileError::Invalid)
    );
    tree.rename(Tree::ROOT, "/a/b", Tree::ROOT, "/b")
        .expect("out is fine");
    assert_eq!(tree.find(Tree::ROOT, "/b/..", true), Ok(Tree::ROOT));
}
