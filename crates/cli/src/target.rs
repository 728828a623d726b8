//! Files and folders a command writes where its user said: whole or not at all, and through no link.

use crate::failure::Failure;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{File, Permissions};
use std::io::{Error, ErrorKind, Result as IoResult};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::{Builder, TempDir, TempPath};

/// Modes of a new file, as far as the umask lets it have them.
const MODE: u32 = 0o666;

/// Modes of a new folder, as far as the umask lets it have them.
const FOLDER_MODE: u32 = 0o777;

/// What was written beside a target and is to get its name. Dropped, it is removed.
pub enum Staged {
    /// A file.
    File(TempPath),
    /// A folder.
    Folder(TempDir),
}

impl Staged {
    /// An empty file beside `target`, open for writing.
    pub fn file(target: &Path) -> IoResult<(File, Self)> {
        let (file, path) = beside(MODE).tempfile_in(folder(target))?.into_parts();
        Ok((file, Self::File(path)))
    }

    /// An empty folder beside `target`.
    pub fn folder(target: &Path) -> IoResult<Self> {
        let made = beside(FOLDER_MODE).tempdir_in(folder(target))?;
        Ok(Self::Folder(made))
    }
}

/// Refuses a target that may not be written: one that exists, unless `force`, and one that is
/// neither a file nor a folder nor a link.
pub fn check(target: &Path, force: bool) -> Result<(), Failure> {
    let shown = target.display();
    if target.file_name().is_none() {
        return Err(Failure::usage(
            format!("`{shown}` has no name of its own"),
            "name what is to be written",
        ));
    }
    let Ok(there) = target.symlink_metadata() else {
        return Ok(());
    };
    if !there.is_file() && !there.is_symlink() && !there.is_dir() {
        return Err(Failure::usage(
            format!("{shown} is neither a file nor a folder"),
            "name a file or folder to be written",
        ));
    }
    if force { Ok(()) } else { Err(exists(target)) }
}

/// Gives what was written the name `target`. A link there is replaced, not followed; a file
/// replaces no folder, and a folder no file.
pub fn name(staged: Staged, target: &Path, force: bool) -> Result<(), Failure> {
    check(target, force)?;
    let there = target.symlink_metadata().map(|there| there.is_dir()).ok();
    let failed = |error: Error| match error.kind() {
        ErrorKind::AlreadyExists => exists(target),
        _ => Failure::usage(
            format!("{}: {error}", target.display()),
            "give a place that can be written",
        ),
    };
    match (staged, there) {
        (Staged::File(_), Some(true)) => Err(kind(target, "a folder")),
        (Staged::Folder(_), Some(false)) => Err(kind(target, "a file")),
        (Staged::File(file), _) if force => file.persist(target).map_err(|e| failed(e.error)),
        (Staged::File(file), _) => file
            .persist_noclobber(target)
            .map_err(|error| failed(error.error)),
        (Staged::Folder(folder), None) => {
            std::fs::rename(folder.path(), target).map_err(failed)?;
            let _ = folder.keep();
            Ok(())
        }
        (Staged::Folder(folder), Some(true)) => {
            // In one step; what was there is removed with the temporary name.
            let new = folder.path();
            renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE)
                .map_err(|error| failed(error.into()))?;
            folder.close().map_err(failed)
        }
    }
}

fn beside(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder
        .prefix(".ukernel-")
        .permissions(Permissions::from_mode(mode));
    builder
}

fn folder(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn kind(target: &Path, what: &str) -> Failure {
    Failure::usage(
        format!("{} is {what}, and what came is none", target.display()),
        "give another name",
    )
}

fn exists(target: &Path) -> Failure {
    Failure::usage(
        format!("{} exists", target.display()),
        "`--force` replaces it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn write(target: &Path, content: &[u8], force: bool) -> Result<(), Failure> {
        let (mut file, staged) = Staged::file(target).expect("staged");
        file.write_all(content).expect("written");
        name(staged, target, force)
    }

    #[test]
    fn a_folder_replaces_a_folder_as_a_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let target = folder.path().join("here");
        let write = |file: &str, force: bool| {
            let staged = Staged::folder(&target).expect("staged");
            if let Staged::Folder(folder) = &staged {
                fs::write(folder.path().join(file), "1").expect("written");
            }
            name(staged, &target, force)
        };
        write("old", false).expect("written");
        assert!(write("new", false).is_err());
        assert!(target.join("old").exists());
        write("new", true).expect("replaced");
        assert!(target.join("new").exists() && !target.join("old").exists());
        fs::remove_dir_all(&target).expect("removed");
        fs::write(&target, "kept").expect("written");
        assert!(write("new", true).is_err());
        assert_eq!(fs::read(&target).expect("read"), b"kept");
        let names = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 1, "nothing temporary is left");
    }

    #[test]
    fn only_force_replaces_and_no_link_is_followed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        write(&path("new"), b"1", false).expect("written");
        assert!(write(&path("new"), b"2", false).is_err());
        write(&path("new"), b"3", true).expect("replaced");
        assert_eq!(fs::read(path("new")).expect("read"), b"3");

        fs::write(path("precious"), "kept").expect("written");
        std::os::unix::fs::symlink(path("precious"), path("link")).expect("linked");
        std::os::unix::fs::symlink(path("absent"), path("dangling")).expect("linked");
        for link in ["link", "dangling"] {
            assert!(write(&path(link), b"4", false).is_err(), "{link}");
            write(&path(link), b"5", true).expect("replaced");
            assert!(path(link).symlink_metadata().expect("there").is_file());
        }
        assert_eq!(fs::read(path("precious")).expect("read"), b"kept");
        assert!(!path("absent").exists());
        assert!(write(folder.path(), b"6", true).is_err(), "a folder");
        let names = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 4, "nothing temporary is left");
    }
}
