//! Files in and out of a session.

use super::Session;
use crate::{Result, SandboxError};

/// Largest file moved at once, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 20;

impl Session {
    /// Writes a whole file of the guest, making the folders above it.
    ///
    /// # Errors
    /// [`SandboxError::Limit`], [`SandboxError::Machine`] with what the guest says.
    pub async fn put_file(&self, path: &str, content: Vec<u8>) -> Result<()> {
        if content.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        let path = path.to_owned();
        self.work(move |state| {
            let label = path.clone();
            state.with_vm("put", &label, move |vm| vm.write_file(&path, &content))
        })
        .await
    }

    /// Reads a whole file of the guest.
    ///
    /// # Errors
    /// As [`Self::put_file`].
    pub async fn get_file(&self, path: &str) -> Result<Vec<u8>> {
        let path = path.to_owned();
        let content = self
            .work(move |state| state.look(|vm| vm.read_file(&path, MAX_FILE_BYTES + 1)))
            .await?;
        if content.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(content)
    }
}

fn too_large() -> SandboxError {
    SandboxError::Limit {
        what: "bytes of a file",
        limit: MAX_FILE_BYTES as u64,
    }
}
