//! Output against a plain model: what was sent and what is in the file is what was written.

use super::Output;
use crate::files::Tree;
use crate::surroundings::Calm;
use proptest::prelude::*;
use std::vec::Vec;
use ukernel_abi::message::{SpilledOutput, Stream};

fn tree(quota: u64) -> Tree {
    let mut tree = Tree::empty(&Calm);
    tree.format(quota);
    tree
}

fn file(tree: &Tree, spilled: &SpilledOutput) -> Vec<u8> {
    let node = tree.find(Tree::ROOT, &spilled.path, false);
    node.map_or_else(
        |_| Vec::new(),
        |node| tree.read(node, 0, usize::MAX).expect("a file"),
    )
}

fn written() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..30_000);
    proptest::collection::vec((any::<bool>(), bytes), 0..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// The part sent is the beginning, exactly as long as allowed; the file is all of it, or
    /// as much of its beginning as the quota has room for.
    #[test]
    fn nothing_is_lost_that_there_is_room_for(
        written in written(),
        limit in 0u64..60_000,
        quota in prop_oneof![Just(1u64 << 30), 0u64..200_000],
    ) {
        let mut tree = tree(quota);
        let mut output = Output::new(7, limit);
        let mut all = [Vec::new(), Vec::new()];
        let mut sent = [Vec::new(), Vec::new()];
        for (is_error, bytes) in &written {
            let stream = if *is_error { Stream::Stderr } else { Stream::Stdout };
            let count = output.write(&mut tree, stream, bytes);
            all[usize::from(*is_error)].extend_from_slice(bytes);
            sent[usize::from(*is_error)].extend_from_slice(&bytes[..count]);
        }
        let spilled = output.finish(&mut tree);
        for (which, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let (all, sent) = (&all[which], &sent[which]);
            let inline = all.len().min(limit as usize);
            prop_assert_eq!(sent, &all[..inline]);
            let spilled: Vec<_> = spilled.iter().filter(|one| one.stream == stream).collect();
            prop_assert_eq!(spilled.len(), usize::from(all.len() as u64 > limit));
            for spilled in spilled {
                let kept = file(&tree, spilled);
                prop_assert_eq!(spilled.bytes, all.len() as u64);
                prop_assert_eq!(spilled.kept_bytes, kept.len() as u64);
                prop_assert_eq!(&kept[..], &all[..kept.len()]);
                prop_assert!(quota < 1 << 30 || kept.len() == all.len());
            }
        }
    }
}

#[test]
fn without_a_bound_all_is_sent_and_nothing_kept() {
    let mut tree = tree(1 << 20);
    let used = tree.used_bytes();
    let mut output = Output::new(1, u64::MAX);
    assert_eq!(
        output.write(&mut tree, Stream::Stdout, &[1; 3 << 20]),
        3 << 20
    );
    assert!(output.finish(&mut tree).is_empty());
    assert_eq!(tree.used_bytes(), used);
}

#[test]
fn a_file_in_the_way_is_replaced_and_a_folder_gone_around() {
    let mut tree = tree(1 << 20);
    tree.make_folder(Tree::ROOT, "/tmp/output-3.stdout")
        .expect("a folder");
    tree.make_link(Tree::ROOT, "/tmp/output-3.stderr", "/home/other")
        .expect("a link");
    let mut output = Output::new(3, 1);
    assert_eq!(output.write(&mut tree, Stream::Stdout, b"out"), 1);
    assert_eq!(output.write(&mut tree, Stream::Stderr, b"err"), 1);
    let spilled = output.finish(&mut tree);
    assert_eq!(spilled[0].path, "/tmp/output-3.1.stdout");
    assert_eq!(file(&tree, &spilled[0]), b"out");
    assert_eq!(spilled[1].path, "/tmp/output-3.stderr");
    assert_eq!(file(&tree, &spilled[1]), b"err");
    assert!(
        tree.find(Tree::ROOT, "/home/other", true).is_err(),
        "links are not followed"
    );
}

#[test]
fn a_removed_file_is_not_said_to_be_there() {
    let mut tree = tree(1 << 20);
    let mut output = Output::new(1, 0);
    output.write(&mut tree, Stream::Stdout, b"one");
    tree.unlink(Tree::ROOT, "/tmp/output-1.stdout")
        .expect("there");
    output.write(&mut tree, Stream::Stdout, b"two");
    let spilled = output.finish(&mut tree);
    assert_eq!((spilled[0].bytes, spilled[0].kept_bytes), (6, 0));
}
