//! What is in a file: blocks of 16 KiB, allocated when written to. The first is as small as the file,
//! so that many small files cost about what is in them.

use super::FileError;
use super::quota::Quota;
use crate::surroundings::{Surroundings, sparing};
use alloc::boxed::Box;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Size of a block, in bytes.
pub const BLOCK_BYTES: usize = 16 << 10;

/// Smallest first block, in bytes.
const MIN_BLOCK_BYTES: usize = 64;

/// Largest read that may use the kernel's own reserve, so that files can be read (and then
/// removed) when memory is full.
const SMALL_READ_BYTES: usize = 1 << 20;

/// A file's bytes. Blocks never written to read as zeros and cost nothing; so does what is missing of
/// the first block, whose size is a power of two.
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
    pub(super) fn read(
        &self,
        offset: u64,
        max_bytes: usize,
        surroundings: &dyn Surroundings,
    ) -> Result<Vec<u8>, FileError> {
        let rest = self.length.saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(max_bytes);
        let mut bytes = Vec::new();
        if length > SMALL_READ_BYTES {
            sparing(surroundings, || bytes.try_reserve_exact(length))
                .map_err(|_| FileError::Quota)?;
        } else {
            bytes.reserve_exact(length);
        }
        while bytes.len() < length {
            let at = offset as usize + bytes.len();
            let into = at % BLOCK_BYTES;
            let piece = (BLOCK_BYTES - into).min(length - bytes.len());
            let end = bytes.len() + piece;
            if let Some(Some(block)) = self.blocks.get(at / BLOCK_BYTES) {
                bytes.extend_from_slice(
                    &block[into.min(block.len())..(into + piece).min(block.len())],
                );
            }
            bytes.resize(end, 0);
        }
        Ok(bytes)
    }

    /// Writes all of `bytes` at `offset`, or nothing when the quota does not allow it.
    pub(super) fn write(
        &mut self,
        offset: u64,
        bytes: &[u8],
        quota: &mut Quota,
        surroundings: &dyn Surroundings,
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
        let missing: Vec<(usize, usize)> = (first..=last)
            .filter_map(|at| {
                let present = self.block_bytes(at);
                let wanted = wanted_bytes(at, end as usize);
                (present < wanted).then_some((at, wanted))
            })
            .collect();
        let cost: usize = missing
            .iter()
            .map(|(at, wanted)| wanted - self.block_bytes(*at))
            .sum();
        quota.take(cost as u64)?;
        let fresh = self
            .prepare(last + 1, &missing, surroundings)
            .inspect_err(|_| {
                quota.give_back(cost as u64);
            })?;
        for ((at, _), mut block) in missing.into_iter().zip(fresh) {
            if let Some(old) = &self.blocks[at] {
                block[..old.len()].copy_from_slice(old);
            }
            self.blocks[at] = Some(block);
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = offset as usize + done;
            let into = at % BLOCK_BYTES;
            let piece = (BLOCK_BYTES - into).min(bytes.len() - done);
            if let Some(block) = &mut self.blocks[at / BLOCK_BYTES] {
                block[into..into + piece].copy_from_slice(&bytes[done..done + piece]);
            }
            done += piece;
        }
        self.length = self.length.max(end);
        Ok(())
    }

    /// Size of a block, zero if there is none.
    fn block_bytes(&self, at: usize) -> usize {
        self.blocks
            .get(at)
            .map_or(0, |block| block.as_ref().map_or(0, |block| block.len()))
    }

    /// Makes the table of blocks at least `length` long and gives a block for each of `missing`, which has
    /// their sizes; nothing has changed for the program if there is no memory.
    fn prepare(
        &mut self,
        length: usize,
        missing: &[(usize, usize)],
        surroundings: &dyn Surroundings,
    ) -> Result<Vec<Box<[u8]>>, FileError> {
        let more = length.saturating_sub(self.blocks.len());
        let mut fresh = Vec::new();
        let allocated = sparing(surroundings, || {
            self.blocks.try_reserve(more)?;
            fresh.try_reserve_exact(missing.len())?;
            for (_, bytes) in missing {
                let mut block = Vec::new();
                block.try_reserve_exact(*bytes)?;
                block.resize(*bytes, 0);
                fresh.push(block.into_boxed_slice());
            }
            Ok::<(), TryReserveError>(())
        });
        allocated.map_err(|_| FileError::Quota)?;
        if more > 0 {
            self.blocks.resize_with(length, || None);
        }
        Ok(fresh)
    }

    /// Cuts off or extends with zeros.
    pub(super) fn resize(&mut self, length: u64, quota: &mut Quota) -> Result<(), FileError> {
        if length > u64::from(u32::MAX) {
            return Err(FileError::Quota);
        }
        let keep = (length as usize).div_ceil(BLOCK_BYTES);
        if keep < self.blocks.len() {
            let freed: usize = self
                .blocks
                .drain(keep..)
                .flatten()
                .map(|block| block.len())
                .sum();
            quota.give_back(freed as u64);
        }
        let into = length as usize % BLOCK_BYTES;
        if length < self.length
            && into > 0
            && let Some(Some(block)) = self.blocks.get_mut(length as usize / BLOCK_BYTES)
        {
            let kept = into.min(block.len());
            block[kept..].fill(0);
        }
        self.length = length;
        Ok(())
    }
}

/// Size block `at` must have for a write that ends at `end`.
fn wanted_bytes(at: usize, end: usize) -> usize {
    if at > 0 || end >= BLOCK_BYTES {
        return BLOCK_BYTES;
    }
    end.next_power_of_two().max(MIN_BLOCK_BYTES)
}
