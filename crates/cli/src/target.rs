//! Files a command writes where its user said: whole or not at all, and through no link.

use crate::failure::Failure;
use std::fs::Permissions;
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Modes of a new file, as far as the umask lets it have them.
const MODE: u32 = 0o666;

/// Refuses a target that may not be written: one that exists, unless `force`, and one that is
/// neither a file nor a link.
pub fn check(target: &Path, force: bool) -> Result<(), Failure> {
    let shown = target.display();
    let Ok(there) = target.symlink_metadata() else {
        return Ok(());
    };
    if !there.is_file() && !there.is_symlink() {
        return Err(Failure::usage(
            format!("{shown} is not a file"),
            "name a file to be written",
        ));
    }
    if force { Ok(()) } else { Err(exists(target)) }
}

/// Writes `content` to a file beside `target`, which then takes its name. A link there is
/// replaced, not followed.
pub fn write(target: &Path, content: &[u8], force: bool) -> Result<(), Failure> {
    check(target, force)?;
    let failed = |error: Error| match error.kind() {
        ErrorKind::AlreadyExists => exists(target),
        _ => Failure::usage(
            format!("{}: {error}", target.display()),
            "give a file that can be written",
        ),
    };
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".ukernel-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    let named = if force {
        file.persist(target)
    } else {
        file.persist_noclobber(target)
    };
    named.map(|_| ()).map_err(|error| failed(error.error))
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
