//! Keys out of files that only their owner can read.

use crate::{LlmError, Result, Secret};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Largest key file, in bytes. A longer one is not a key file.
const MAX_FILE_BYTES: u64 = 8192;

/// The key in a file: all of its text, without white space around it.
///
/// The file must be a regular file of this user or of root, and closed to everybody else.
///
/// # Errors
/// [`LlmError::KeyFile`] with what is wrong and what helps. It never shows the content.
pub fn read_key_file(path: &Path) -> Result<Secret> {
    let refuse = |reason: String| LlmError::KeyFile {
        path: path.to_owned(),
        reason,
    };
    // Without NONBLOCK a named pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file =
        rustix::fs::open(path, flags, Mode::empty()).map_err(|cause| refuse(cause.to_string()))?;
    let file = File::from(file);
    // Asked of the open file, so that it cannot be exchanged in between.
    let status = file.metadata().map_err(|cause| refuse(cause.to_string()))?;
    if !status.is_file() {
        return Err(refuse("it is no regular file".to_owned()));
    }
    let owner = status.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(refuse(format!("it belongs to another user ({owner})")));
    }
    let mode = status.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(format!(
            "others may use it (mode {mode:o}): chmod 600"
        )));
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(|_| refuse("it is no text".to_owned()))?;
    text.parse()
        .map_err(|error: LlmError| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn key_file(text: &str, mode: u32) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(file.path(), permissions).expect("a mode");
        file.into_temp_path()
    }

    #[test]
    fn a_file_of_mode_600_is_read() {
        let path = key_file("sk-from-a-file\n", 0o600);
        assert_eq!(
            read_key_file(&path).expect("a key").expose(),
            "sk-from-a-file"
        );
    }

    #[test]
    fn a_file_others_can_read_is_refused() {
        let path = key_file("sk-from-a-file\n", 0o640);
        let error = read_key_file(&path).expect_err("refused").to_string();
        assert!(error.contains("chmod 600"), "{error}");
        assert!(!error.contains("sk-from-a-file"), "{error}");
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = "x".repeat(100_000);
        assert!(read_key_file(folder.path()).is_err());
        assert!(read_key_file(&folder.path().join("nothing")).is_err());
        assert!(read_key_file(&key_file("", 0o600)).is_err());
        assert!(read_key_file(&key_file("two\nlines", 0o600)).is_err());
        assert!(read_key_file(&key_file(&long, 0o600)).is_err());
    }
}
