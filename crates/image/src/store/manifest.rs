//! What an entry consists of: names, lengths and digests, in a text file beside them.

use super::digest::digest;
use crate::{ImageError, Result};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const NAME: &str = "manifest";

/// Most files of an entry.
const MAX_FILES: usize = 64;

/// One line per file: digest, length, name; then a line with the digest of those lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    files: Vec<Item>,
}

#[derive(Debug, PartialEq, Eq)]
struct Item {
    digest: String,
    bytes: u64,
    name: String,
}

impl Manifest {
    /// Describes the files of a folder, and makes them durable and read-only.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let failed = |error| ImageError::file(folder, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let of_file = |error| ImageError::file(&path, error);
            let file = File::open(&path).map_err(of_file)?;
            file.sync_all().map_err(of_file)?;
            file.set_permissions(fs::Permissions::from_mode(0o444))
                .map_err(of_file)?;
            files.push(Item {
                digest: digest(&path)?,
                bytes: file.metadata().map_err(of_file)?.len(),
                name: entry.file_name().to_string_lossy().into_owned(),
            });
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { files })
    }

    fn lines(&self) -> String {
        self.files.iter().fold(String::new(), |mut text, item| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {} {}", item.digest, item.bytes, item.name);
            text
        })
    }

    /// Writes the manifest into the folder, durably.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        let failed = |error| ImageError::file(&path, error);
        let lines = self.lines();
        let mut file = File::create_new(&path).map_err(failed)?;
        writeln!(file, "{lines}{}", blake3::hash(lines.as_bytes()).to_hex()).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    /// Reads the manifest of a folder; damage anywhere in it is an error.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let text = fs::read_to_string(&path).map_err(|error| ImageError::file(&path, error))?;
        Self::parse(&text)
            .ok_or_else(|| ImageError::file(&path, std::io::ErrorKind::InvalidData.into()))
    }

    fn parse(text: &str) -> Option<Self> {
        let body = text.strip_suffix('\n')?;
        let (lines, check) = match body.rfind('\n') {
            Some(at) => (&text[..=at], &body[at + 1..]),
            None => ("", body),
        };
        if blake3::hash(lines.as_bytes()).to_hex().as_str() != check {
            return None;
        }
        let files = lines.lines().map(item).collect::<Option<Vec<_>>>()?;
        (files.len() <= MAX_FILES).then_some(Self { files })
    }

    /// What tells whether a file was touched: device, inode, length, times.
    pub(super) fn stamp(&self, folder: &Path) -> Result<String> {
        let mut stamp = String::new();
        for name in self
            .files
            .iter()
            .map(|item| item.name.as_str())
            .chain([NAME])
        {
            let path = folder.join(name);
            let metadata =
                fs::symlink_metadata(&path).map_err(|error| ImageError::file(&path, error))?;
            // Writing to a string cannot fail.
            let _ = writeln!(
                stamp,
                "{name} {} {} {} {}.{} {}.{}",
                metadata.dev(),
                metadata.ino(),
                metadata.len(),
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.ctime(),
                metadata.ctime_nsec()
            );
        }
        Ok(stamp)
    }

    /// Whether every file is what it was.
    pub(super) fn matches(&self, folder: &Path) -> Result<bool> {
        for item in &self.files {
            let path = folder.join(&item.name);
            if fs::metadata(&path).is_ok_and(|metadata| metadata.len() != item.bytes)
                || digest(&path)? != item.digest
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn item(line: &str) -> Option<Item> {
    let mut fields = line.splitn(3, ' ');
    let digest = fields.next()?.to_owned();
    let bytes = fields.next()?.parse().ok()?;
    let name = fields.next()?;
    let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
    plain.then(|| Item {
        digest,
        bytes,
        name: name.to_owned(),
    })
}
