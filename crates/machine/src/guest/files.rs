//! Files of a guest.

use super::Guest;
use crate::{MachineError, Result};
use std::time::Duration;
use tokio::time::timeout;
use ukernel_abi::message::{
    FileEntry, FileOp, FileReply, FileStatus, MAX_CHUNK_BYTES, MAX_ENTRIES,
};

/// How long a guest may take to do one thing with a file.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most entries of one folder.
const MAX_FOLDER: usize = 1_000_000;

impl Guest {
    /// Has something done with files. `path` is named in errors.
    ///
    /// # Errors
    /// [`MachineError::GuestFile`] with what the guest says, [`MachineError::TimedOut`],
    /// [`MachineError::Closed`].
    pub async fn file(&self, path: &str, op: FileOp) -> Result<FileReply> {
        timeout(FILE_TIMEOUT, self.connection.file(op))
            .await
            .map_err(|_| MachineError::TimedOut(FILE_TIMEOUT))??
            .map_err(|cause| MachineError::GuestFile {
                path: path.to_owned(),
                cause,
            })
    }

    /// Writes a piece of a file at `offset`, making it and the folders above it; `truncate`
    /// empties it first.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn write_at(
        &self,
        path: &str,
        offset: u64,
        truncate: bool,
        bytes: &[u8],
    ) -> Result<()> {
        let (mut at, mut truncate) = (offset, truncate);
        let mut rest = bytes;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(MAX_CHUNK_BYTES));
            let op = FileOp::Write {
                path: path.to_owned(),
                offset: at,
                truncate,
                bytes: piece.to_vec(),
            };
            self.expect(path, op, |reply| match reply {
                FileReply::Written(_) => Some(()),
                _ => None,
            })
            .await?;
            truncate = false;
            at += piece.len() as u64;
            rest = after;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes a whole file, making the folders above it.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn write_file(&self, path: &str, content: &[u8]) -> Result<()> {
        self.write_at(path, 0, true, content).await
    }

    /// Reads at most `max_bytes` of a file from `offset` on, at most
    /// [`MAX_CHUNK_BYTES`] at once. Nothing: the end.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn read_at(&self, path: &str, offset: u64, max_bytes: usize) -> Result<Vec<u8>> {
        let wanted = max_bytes.min(MAX_CHUNK_BYTES);
        let op = FileOp::Read {
            path: path.to_owned(),
            offset,
            max_bytes: u32::try_from(wanted).unwrap_or(u32::MAX),
        };
        self.expect(path, op, |reply| match reply {
            FileReply::Content(bytes) if bytes.len() <= wanted => Some(bytes),
            _ => None,
        })
        .await
    }

    /// Reads a whole file of at most `max_bytes`; longer ones are cut off there.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn read_file(&self, path: &str, max_bytes: usize) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        while content.len() < max_bytes {
            let wanted = max_bytes - content.len();
            let piece = self.read_at(path, content.len() as u64, wanted).await?;
            if piece.is_empty() {
                break;
            }
            content.extend_from_slice(&piece);
        }
        Ok(content)
    }

    /// What is at `path`. Links are not followed.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn stat(&self, path: &str) -> Result<FileStatus> {
        let op = FileOp::Stat {
            path: path.to_owned(),
        };
        self.expect(path, op, |reply| match reply {
            FileReply::Status(status) => Some(status),
            _ => None,
        })
        .await
    }

    /// All entries of a folder, in the order of their names.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn list(&self, path: &str) -> Result<Vec<FileEntry>> {
        let mut all: Vec<FileEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.name.clone());
            let op = FileOp::List {
                path: path.to_owned(),
                after: after.clone(),
            };
            let (entries, has_more) = self
                .expect(path, op, |reply| match reply {
                    FileReply::Entries { entries, has_more }
                        if entries.len() <= MAX_ENTRIES && is_next(&entries, after.as_deref()) =>
                    {
                        Some((entries, has_more))
                    }
                    _ => None,
                })
                .await?;
            let is_empty = entries.is_empty();
            all.extend(entries);
            if !has_more {
                return Ok(all);
            }
            if is_empty || all.len() > MAX_FOLDER {
                return Err(MachineError::Unexpected("a folder without end".to_owned()));
            }
        }
    }

    /// Does something that is only done or not: makes a folder, renames, removes.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn change(&self, path: &str, op: FileOp) -> Result<()> {
        self.expect(path, op, |reply| {
            matches!(reply, FileReply::Done).then_some(())
        })
        .await
    }

    async fn expect<R>(
        &self,
        path: &str,
        op: FileOp,
        wanted: impl FnOnce(FileReply) -> Option<R>,
    ) -> Result<R> {
        let reply = self.file(path, op).await?;
        wanted(reply)
            .ok_or_else(|| MachineError::Unexpected("an answer to another question".to_owned()))
    }
}

/// Whether these entries come after `last`, in order.
fn is_next(entries: &[FileEntry], last: Option<&str>) -> bool {
    let names = last
        .into_iter()
        .chain(entries.iter().map(|entry| entry.name.as_str()));
    names.is_sorted_by(|one, next| one < next)
}
