//! The sources something is made from. Also part of this crate's build script.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// What the kernel is made from, under the project's root.
pub(crate) const KERNEL: [&str; 3] = ["crates/kernel", "crates/kernel-core", "crates/abi"];

/// What the component is made from, its `adapter.toml` among it.
pub(crate) const COMPONENT: [&str; 2] = ["adapters/python", "crates/abi/wit"];

/// What the Linux guest's first process is made from.
pub(crate) const AGENT: [&str; 3] = ["crates/agent", "crates/abi", "adapters/python/src"];

/// Folders that hold what builds make, not what they are made from.
const NOT_SOURCES: [&str; 4] = ["target", "tests", "__pycache__", ".git"];

/// Digest of the names (relative to `root`) and contents of every file in these folders.
pub(crate) fn digest(root: &Path, places: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    for place in places {
        collect(&root.join(place), &mut files)?;
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for path in files {
        let content = fs::read(&path).map_err(|error| named(&path, &error))?;
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        for field in [name.as_bytes(), &content] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| named(folder, &error))? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            files.push(entry.path());
        } else if !NOT_SOURCES.iter().any(|name| entry.file_name() == *name) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

fn named(path: &Path, error: &Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound,
            format!("{} is missing", path.display()),
        ),
        kind => Error::new(kind, format!("{}: {error}", path.display())),
    }
}
