//! What is in a file: blocks of 16 KiB, allocated when written to.

use super::FileError;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Size of a block, in bytes.
pub(super) const BLOCK_BYTES: usize = 16 << 10;

/// Bytes that may be allocated for file content in all, and how many are.
#[derive(Debug)]
pub(super) struct Quota {
    pub(super) limit: u64,
    pub(super) used: u64,
}

/// A file's bytes. Blocks never written to read as zeros and cost nothing.
#[derive(Debug, Default)]
pub(super) struct Content {
    blocks: Vec<Option<Box<[u8]>>>,
    length: u64,
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Copies from `offset` on; fewer bytes than asked for at the end.
    pub(super) fn read(&self, offset: u64, max_bytes: usize) -> Vec<u8> {
        let rest = self.length.saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(max_bytes);
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset as usize + bytes.len();
            let into = at % BLOCK_BYTES;
            let piece = (BLOCK_BYTES - into).min(length - bytes.len());
            match self.blocks.get(at / BLOCK_BYTES) {
                Some(Some(block)) => bytes.extend_from_slice(&block[into..into + piece]),
                _ => bytes.resize(bytes.len() + piece, 0),
            }
        }
        bytes
    }

    /// Writes all of `bytes` at `offset`, or nothing when the quota does not allow it.
    pub(super) fn write(
        &mut self,
        offset: u64,
        bytes: &[u8],
        quota: &mut Quota,
    ) -> Result<(), FileError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= u64::from(u32::MAX))
            .ok_or(FileError::Quota)?;
        let first = offset as usize / BLOCK_BYTES;
        let last = (end as usize - 1) / BLOCK_BYTES;
        let fresh = (first..=last)
            .filter(|at| !matches!(self.blocks.get(*at), Some(Some(_))))
            .count();
        let cost = (fresh * BLOCK_BYTES) as u64;
        if cost > quota.limit.saturating_sub(quota.used) {
            return Err(FileError::Quota);
        }
        quota.used += cost;
        if self.blocks.len() <= last {
            self.blocks.resize_with(last + 1, || None);
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = offset as usize + done;
            let into = at % BLOCK_BYTES;
            let piece = (BLOCK_BYTES - into).min(bytes.len() - done);
            let block = self.blocks[at / BLOCK_BYTES]
                .get_or_insert_with(|| vec![0; BLOCK_BYTES].into_boxed_slice());
            block[into..into + piece].copy_from_slice(&bytes[done..done + piece]);
            done += piece;
        }
        self.length = self.length.max(end);
        Ok(())
    }

    /// Cuts off or extends with zeros.
    pub(super) fn resize(&mut self, length: u64, quota: &mut Quota) -> Result<(), FileError> {
        if length > u64::from(u32::MAX) {
            return Err(FileError::Quota);
        }
        let keep = (length as usize).div_ceil(BLOCK_BYTES);
        if keep < self.blocks.len() {
            let freed = self.blocks.drain(keep..).flatten().count();
            quota.used -= (freed * BLOCK_BYTES) as u64;
        }
        let into = length as usize % BLOCK_BYTES;
        if length < self.length
            && into > 0
            && let Some(Some(block)) = self.blocks.get_mut(length as usize / BLOCK_BYTES)
        {
            block[into..].fill(0);
        }
        self.length = length;
        Ok(())
    }
}
