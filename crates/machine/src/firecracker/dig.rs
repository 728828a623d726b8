//! Zeros of a file that need not be stored.

use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;

/// Bytes looked at together: the size of a page, which is that of a file's block.
const BLOCK_BYTES: usize = 4096;
/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Gives the storage of zero blocks back. What the file reads as does not change. Where the
/// file system cannot do it, nothing happens.
pub(super) fn dig(file: &File) -> Result<()> {
    let mut zeros: Option<(u64, u64)> = None;
    let mut supported = true;
    let mut punch = |run: Option<(u64, u64)>| {
        if let Some((start, end)) = run
            && supported
        {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            supported = fallocate(file, flags, start, end - start).is_ok();
        }
    };
    blocks(file, |offset, block| {
        let end = offset + block.len() as u64;
        match &mut zeros {
            run if !is_zero(block) => punch(run.take()),
            Some(run) => run.1 = end,
            run => *run = Some((offset, end)),
        }
        Ok(())
    })?;
    punch(zeros);
    Ok(())
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// Calls `each` with every block and its offset.
fn blocks(file: &File, mut each: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match file.read_at(&mut piece[filled..], offset + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        for (at, block) in piece[..filled].chunks(BLOCK_BYTES).enumerate() {
            each(offset + (at * BLOCK_BYTES) as u64, block)?;
        }
        offset += filled as u64;
        if filled < piece.len() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zeros_are_not_stored_and_still_read() {
        let content: Vec<u8> = (0..700_u32)
            .flat_map(|page| vec![u8::from(page % 100 < 3); BLOCK_BYTES])
            .chain([0, 0, 7])
            .collect();
        let file = tempfile::tempfile().expect("file");
        file.write_all_at(&content, 0).expect("write");
        dig(&file).expect("dig");
        let mut seen = vec![1; content.len()];
        file.read_exact_at(&mut seen, 0).expect("read");
        assert!(seen == content);
        file.sync_all().expect("sync");
        let stored = file.metadata().expect("stat").blocks() * 512;
        println!("{stored} of {} bytes stored", content.len());
    }
}
