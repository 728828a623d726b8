//! Finding a program and hearing its first words, for a bounded time.

use rustix::io::ioctl_fionbio;
use std::ffi::OsStr;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Most bytes taken of what a program says.
const MAX_BYTES: u64 = 16 << 10;
/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

/// The first executable file of this name on `path`, which is like `PATH`.
pub(super) fn find(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|program| is_executable(program))
}

fn is_executable(program: &Path) -> bool {
    std::fs::metadata(program)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Runs a program and returns the first line it prints.
///
/// # Errors
/// It does not start, fails, prints nothing, or has not ended after `limit`.
pub(super) fn first_line(program: &Path, args: &[&str], limit: Duration) -> Result<String> {
    let (mut reader, writer) = std::io::pipe()?;
    ioctl_fionbio(&reader, true)?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOOK);
    };
    // What fits a pipe is enough; a child it left behind may hold the pipe open.
    let mut said = Vec::new();
    match (&mut reader).take(MAX_BYTES).read_to_end(&mut said) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
        _ => {}
    }
    if !status.success() {
        return Err(Error::other(format!("it ended with {status}")));
    }
    let said = String::from_utf8_lossy(&said);
    match said.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Error::other("it said nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_files_of_absolute_folders_count() {
        assert!(find(OsStr::new("/nowhere:/bin:/usr/bin"), "sh").is_some());
        assert!(find(OsStr::new("bin:."), "sh").is_none());
        assert!(find(OsStr::new("/etc"), "passwd").is_none());
    }

    #[test]
    fn a_program_that_hangs_is_given_up() {
        let limit = Duration::from_millis(50);
        let error = first_line(Path::new("/bin/sleep"), &["60"], limit).expect_err("hangs");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn the_first_line_counts() {
        let say = |code| first_line(Path::new("/bin/sh"), &["-c", code], Duration::from_secs(9));
        assert_eq!(say("echo one; echo two").expect("says"), "one");
        assert!(say("echo one; exit 1").is_err());
        assert!(say("true").is_err());
        let held = say("sleep 5 & echo one").expect("does not wait for the pipe");
        assert_eq!(held, "one");
    }
}
