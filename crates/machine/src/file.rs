//! Files in folders that hold state.
//!
//! Something else may stand where a file of ours should be: a pipe, whose opening would wait for
//! ever, or a link to a file elsewhere. Everything here opens a regular file at exactly that path
//! or fails at once with [`NotAFile`]. What is made here is for its owner alone.

use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What stands at a path is a link, a folder, a pipe, a socket or a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a regular file")]
pub struct NotAFile;

/// Opens a file for reading.
///
/// # Errors
/// [`NotAFile`] as the source of the error, and those of open(2).
pub fn open(path: &Path) -> Result<File> {
    regular(path, OpenOptions::new().read(true))
}

/// Reads a whole file of at most `max_bytes`.
///
/// # Errors
/// Those of [`open`]; [`ErrorKind::FileTooLarge`].
pub fn read(path: &Path, max_bytes: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take((max_bytes as u64).saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Opens a file, made if there is none, to be written from its start and then [`cut`]: writing
/// over a file costs less than making it anew. Cutting it first would have file systems write it
/// to the disk when it is closed.
///
/// # Errors
/// Those of [`open`].
pub fn overwrite(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    regular(path, options.write(true).create(true).truncate(false))
}

/// Opens a file, made if there is none, for appending and reading.
///
/// # Errors
/// Those of [`open`].
pub fn append(path: &Path) -> Result<File> {
    regular(
        path,
        OpenOptions::new().read(true).append(true).create(true),
    )
}

/// Cuts a file where it stands.
///
/// # Errors
/// Those of ftruncate(2).
pub fn cut(file: &mut File) -> Result<()> {
    let end = file.stream_position()?;
    file.set_len(end)
}

/// Makes a folder and those above it that are missing.
///
/// # Errors
/// Those of mkdir(2).
pub fn make_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether this is a folder, and no link to one.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

fn regular(path: &Path, options: &mut OpenOptions) -> Result<File> {
    // Without NONBLOCK the opening of a pipe waits for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = options
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        // What open(2) says of links, folders, and pipes and sockets nobody reads.
        Err(error) => {
            return Err(match rustix::io::Errno::from_io_error(&error) {
                Some(
                    rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR | rustix::io::Errno::NXIO,
                ) => not_a_file(),
                _ => error,
            });
        }
    };
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    Ok(file)
}

fn not_a_file() -> Error {
    Error::new(ErrorKind::InvalidInput, NotAFile)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    fn is_refused(opened: Result<File>) -> bool {
        opened.is_err_and(|error| {
            error
                .get_ref()
                .is_some_and(|source| source.is::<NotAFile>())
        })
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("real"), "kept").expect("written");
        std::os::unix::fs::symlink(path("real"), path("link")).expect("linked");
        std::os::unix::fs::symlink(path("absent"), path("dangling")).expect("linked");
        std::fs::create_dir(path("folder")).expect("made");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, path("pipe"), FileType::Fifo, mode, 0).expect("a pipe");
        let _socket = UnixListener::bind(path("socket")).expect("a socket");
        for name in ["link", "dangling", "folder", "pipe", "socket"] {
            for way in [open, overwrite, append] {
                assert!(is_refused(way(&path(name))), "{name}");
            }
            assert!(read(&path(name), 10).is_err(), "{name}");
        }
        // A pipe that somebody reads could be opened for writing.
        let _reader = File::options().read(true).write(true).open(path("pipe"));
        assert!(is_refused(overwrite(&path("pipe"))));
        assert_eq!(std::fs::read(path("real")).expect("read"), b"kept");
        assert!(!path("absent").exists());
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "four").expect("written");
        assert_eq!(read(&path, 4).expect("read"), b"four");
        let refused = read(&path, 3).expect_err("too large");
        assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn nothing_of_before_is_left() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("f");
        for content in ["long content", "short", "longer again"] {
            let mut file = overwrite(&path).expect("opened");
            file.write_all(content.as_bytes()).expect("written");
            cut(&mut file).expect("cut");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), content);
        }
    }
}
