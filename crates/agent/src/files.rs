//! What the host does with files, as root: user code could swap links under it, so nothing is followed out of the guest,
//! which has nothing outside.

use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Component, Path};
use ukernel_abi::message::{
    FileEntry, FileError, FileKind, FileOp, FileReply, FileStatus, MAX_CHUNK_BYTES, MAX_ENTRIES,
    MAX_PATH_BYTES,
};

/// Does it.
pub fn carry_out(op: FileOp) -> Result<FileReply, FileError> {
    match op {
        FileOp::Read {
            path,
            offset,
            max_bytes,
        } => read(checked(&path)?, offset, max_bytes),
        FileOp::Write {
            path,
            offset,
            truncate,
            bytes,
        } => write(checked(&path)?, offset, truncate, &bytes),
        FileOp::Stat { path } => {
            let metadata = fs::symlink_metadata(checked(&path)?).map_err(told)?;
            Ok(FileReply::Status(status(&metadata)))
        }
        FileOp::List { path, after } => list(checked(&path)?, after.as_deref()),
        FileOp::MakeFolder { path } => make_folders(checked(&path)?).map(|()| FileReply::Done),
        FileOp::Rename { from, to } => {
            fs::rename(checked(&from)?, checked(&to)?).map_err(told)?;
            Ok(FileReply::Done)
        }
        FileOp::Remove { path } => {
            let path = checked(&path)?;
            let metadata = fs::symlink_metadata(path).map_err(told)?;
            let removed = if metadata.is_dir() {
                fs::remove_dir(path)
            } else {
                fs::remove_file(path)
            };
            removed.map(|()| FileReply::Done).map_err(told)
        }
    }
}

/// An absolute path that does not climb above the root.
fn checked(path: &str) -> Result<&Path, FileError> {
    if !path.starts_with('/') || path.len() > MAX_PATH_BYTES || path.contains('\0') {
        return Err(FileError::BadPath);
    }
    let mut depth = 0_u32;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.checked_sub(1).ok_or(FileError::BadPath)?,
            _ => {}
        }
    }
    Ok(Path::new(path))
}

fn read(path: &Path, offset: u64, max_bytes: u32) -> Result<FileReply, FileError> {
    // A pipe would be waited for.
    let mut options = File::options();
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = options
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(told)?;
    if file.metadata().map_err(told)?.is_dir() {
        return Err(FileError::IsDirectory);
    }
    let most = usize::try_from(max_bytes)
        .unwrap_or(usize::MAX)
        .min(MAX_CHUNK_BYTES);
    let mut content = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read_at(&mut content[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(told(error)),
        }
    }
    content.truncate(filled);
    Ok(FileReply::Content(content))
}

fn write(path: &Path, offset: u64, truncate: bool, bytes: &[u8]) -> Result<FileReply, FileError> {
    if let Some(parent) = path.parent() {
        make_folders(parent)?;
    }
    crate::overlay::grow();
    let is_new = fs::symlink_metadata(path).is_err();
    let mut options = File::options();
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    options.write(true).create(true).truncate(truncate);
    let file = options.custom_flags(flags).open(path).map_err(told)?;
    if is_new {
        own(path);
    }
    file.write_all_at(bytes, offset).map_err(told)?;
    Ok(FileReply::Written(file.metadata().map_err(told)?.len()))
}

/// Makes a folder and those above it; the new ones are the user's.
fn make_folders(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folders(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => own(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(FileError::NotDirectory);
        }
        Err(error) => return Err(told(error)),
    }
    Ok(())
}

/// What the host brings is for user code.
fn own(path: &Path) {
    let user = Some(crate::launch::USER);
    let _ = chown(path, user, user);
}

fn list(path: &Path, after: Option<&str>) -> Result<FileReply, FileError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(told)? {
        let name = entry.map_err(told)?.file_name();
        // Names are text on the channel; others cannot be named.
        if let Some(name) = name.to_str()
            && after.is_none_or(|after| name.as_bytes() > after.as_bytes())
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    let has_more = names.len() > MAX_ENTRIES;
    names.truncate(MAX_ENTRIES);
    let mut entries = Vec::new();
    for name in names {
        // What has gone meanwhile is not listed.
        if let Ok(metadata) = fs::symlink_metadata(path.join(OsStr::from_bytes(name.as_bytes()))) {
            let status = status(&metadata);
            entries.push(FileEntry { name, status });
        }
    }
    Ok(FileReply::Entries { entries, has_more })
}

fn status(metadata: &Metadata) -> FileStatus {
    let kind = if metadata.is_dir() {
        FileKind::Folder
    } else if metadata.is_symlink() {
        FileKind::Link
    } else {
        FileKind::File
    };
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    let nanoseconds = u64::try_from(metadata.mtime_nsec()).unwrap_or(0);
    FileStatus {
        kind,
        bytes: metadata.len(),
        modified_ns: seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(nanoseconds),
    }
}

fn told(error: Error) -> FileError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => FileError::NotFound,
        Some(Errno::ISDIR) => FileError::IsDirectory,
        Some(Errno::NOTDIR) => FileError::NotDirectory,
        Some(Errno::NOSPC | Errno::DQUOT) => FileError::QuotaExceeded,
        Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => FileError::ReadOnly,
        Some(Errno::EXIST) => FileError::Exists,
        Some(Errno::NOTEMPTY) => FileError::NotEmpty,
        Some(Errno::NAMETOOLONG | Errno::INVAL | Errno::LOOP) => FileError::BadPath,
        _ => FileError::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        path.to_str().expect("text").to_owned()
    }

    #[test]
    fn files_are_written_read_listed_and_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let path = text(&root.path().join("a/b"));
        let write = |offset, bytes: &[u8]| FileOp::Write {
            path: path.clone(),
            offset,
            truncate: offset == 0,
            bytes: bytes.to_vec(),
        };
        assert_eq!(carry_out(write(0, b"hello")), Ok(FileReply::Written(5)));
        assert_eq!(carry_out(write(5, b"!")), Ok(FileReply::Written(6)));
        let read = carry_out(FileOp::Read {
            path: path.clone(),
            offset: 1,
            max_bytes: 100,
        });
        assert_eq!(read, Ok(FileReply::Content(b"ello!".to_vec())));
        let folder = text(&root.path().join("a"));
        let listed = carry_out(FileOp::List {
            path: folder.clone(),
            after: None,
        });
        let Ok(FileReply::Entries { entries, has_more }) = listed else {
            panic!("{listed:?}");
        };
        assert_eq!((entries[0].name.as_str(), has_more), ("b", false));
        let remove = |path: &str| {
            carry_out(FileOp::Remove {
                path: path.to_owned(),
            })
        };
        assert_eq!(remove(&folder), Err(FileError::NotEmpty));
        assert_eq!(remove(&path), Ok(FileReply::Done));
        assert_eq!(remove(&path), Err(FileError::NotFound));
    }

    #[test]
    fn paths_are_absolute_and_stay_below_the_root() {
        for bad in ["", "a", "/..", "/a/../..", "/a\0b"] {
            assert_eq!(checked(bad), Err(FileError::BadPath), "{bad:?}");
        }
        let long = format!("/{}", "x".repeat(MAX_PATH_BYTES));
        assert_eq!(checked(&long), Err(FileError::BadPath));
        checked("/a/../b").expect("it stays below");
    }
}
