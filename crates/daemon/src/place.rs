//! Where the daemon is found and keeps what it owns.

use crate::{DaemonError, Result};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use ukernel_machine::file;

/// Longest path of a socket: `sun_path` of unix(7), with its end.
const MAX_SOCKET_PATH: usize = 107;

/// The daemon's folder, private to its user.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// The place in the folder `state`, which need not exist yet.
    ///
    /// # Errors
    /// [`DaemonError::PathTooLong`].
    pub fn new(state: &Path) -> Result<Self> {
        let place = Self {
            folder: state.join("daemon"),
        };
        if place.socket().as_os_str().len() > MAX_SOCKET_PATH {
            return Err(DaemonError::PathTooLong(place.socket()));
        }
        Ok(place)
    }

    /// Makes the folder, for its owner alone.
    pub(crate) fn make(&self) -> io::Result<()> {
        file::make_folder(&self.folder)?;
        std::fs::set_permissions(&self.folder, Permissions::from_mode(0o700))
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// A new log, for what a daemon started on demand says.
    pub(crate) fn begin_log(&self) -> io::Result<File> {
        let log = file::overwrite(&self.log())?;
        log.set_len(0)?;
        Ok(log)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The sessions.
    pub(crate) fn sessions(&self) -> PathBuf {
        self.folder.join("sessions")
    }

    /// Takes the place: `None` if another daemon has it. Held until the file is dropped.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let file = file::overwrite(&self.folder.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The end of the log, for people.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log()).unwrap_or_default()
    }
}

fn tail(path: &Path) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = file::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(2000)))?;
    let mut bytes = Vec::new();
    file.take(2000).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
