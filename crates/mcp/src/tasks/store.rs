//! The files of tasks: one each, written whole under another name and then renamed.

use super::Record;
use rustix::fs::{Mode, OFlags};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Largest file of a task, in bytes. A result has at most two outputs of 64 KiB and 8 MiB of images,
/// or an answer.
const MAX_BYTES: u64 = 64 << 20;

/// Most files that are read at the start.
const MAX_FILES: usize = 10_000;

const ENDING: &str = ".json";

pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Writes a record; `durably`, so that it also outlasts a host that fails.
    pub(super) fn write(&self, record: &Record, durably: bool) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&self.folder)?;
        let bytes = serde_json::to_vec(record)?;
        file.write_all(&bytes)?;
        if durably {
            file.as_file().sync_data()?;
        }
        file.persist(self.path(&record.id))?;
        Ok(())
    }

    pub(super) fn remove(&self, id: &str) {
        // It may have none.
        let _ = std::fs::remove_file(self.path(id));
    }

    /// All that can be read. What is no task's file is left where it is.
    pub(super) fn read_all(&self) -> Vec<Record> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let id = name.strip_suffix(ENDING)?;
                let record = read(&entry.path());
                if let Err(error) = &record {
                    tracing::warn!("the task in {name} cannot be read: {error}");
                }
                record.ok().filter(|record| record.id == id)
            })
            .take(MAX_FILES)
            .collect()
    }

    /// Ids are made here, of letters, digits and `_`.
    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}{ENDING}"))
    }
}

fn read(path: &Path) -> io::Result<Record> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
