//! The promise of this crate: the same sources give the same bytes, wherever and whenever they
//! are built. Needs the package registries, as a first run does, and half a minute.

use std::fs;
use std::path::{Path, PathBuf};
use ukernel_image::{Images, Silent};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("sources") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file");
        }
    }
}

#[test]
fn python_is_the_same_bytes_when_built_elsewhere() {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = folder.path().join("a rather longer path/sources");
    for part in ["adapters/python", "crates/abi/wit"] {
        copy(&here.join(part), &elsewhere.join(part));
    }
    let digests = [("one", &here), ("another home", &elsewhere)].map(|(home, sources)| {
        let images = Images::new(folder.path().join(home), sources.clone());
        let artifact = images.image(&Silent).expect("an image");
        blake3::hash(&fs::read(artifact.path).expect("the image"))
    });
    assert_eq!(digests[0], digests[1]);
}
