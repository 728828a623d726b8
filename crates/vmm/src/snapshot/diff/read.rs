//! The decoder. It is total: any file is read or refused, and memory is bounded.

use super::{HEADER_BYTES, MAGIC, MAX_PARTS_BYTES, PAGE, VERSION, WORD, WORDS};
use crate::snapshot::pages::{self, PageRange};
use crate::{Result, VmmError};
use std::io::Read;
use ukernel_abi::layout::PAGE_BYTES;

/// Reads everything before the whole pages, and leaves `file` at the first of them.
pub(super) fn read_head(file: &mut impl Read, ram_pages: u64) -> Result<(Vec<PageRange>, Vec<u8>)> {
    let mut header = [0u8; HEADER_BYTES];
    file.read_exact(&mut header).map_err(|_| bad(CUT_SHORT))?;
    let (magic, rest) = header.split_at(4);
    let (version, numbers) = rest.split_at(4);
    if magic != MAGIC {
        return Err(bad("it is not a page file"));
    }
    if version != VERSION.to_le_bytes() {
        return Err(bad("it is of another version"));
    }
    let [whole, bytes] = [0, 1].map(|at| u64::from_le_bytes(numbers.as_chunks().0[at]));
    if whole > ram_pages {
        return Err(bad("it has more pages than RAM"));
    }
    if bytes > MAX_PARTS_BYTES as u64 {
        return Err(bad("its parts are too large"));
    }
    // Both are small now.
    let [whole, bytes] = [whole, bytes].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let mut length = HEADER_BYTES + whole * 4 + bytes;
    if whole > 0 {
        length = length.next_multiple_of(PAGE);
    }
    let mut rest = vec![0u8; length - HEADER_BYTES];
    file.read_exact(&mut rest).map_err(|_| bad(CUT_SHORT))?;
    let mut ranges: Vec<PageRange> = Vec::new();
    for number in rest[..whole * 4].as_chunks::<4>().0 {
        let page = u32::from_le_bytes(*number);
        if u64::from(page) >= ram_pages {
            return Err(bad(PAST_RAM));
        }
        if ranges
            .last()
            .is_some_and(|last| last.start + last.count > page)
        {
            return Err(bad("its pages are not in order"));
        }
        pages::push(&mut ranges, page);
    }
    rest.truncate(whole * 4 + bytes);
    rest.drain(..whole * 4);
    Ok((ranges, rest))
}

/// Calls `put` with address and content of every run.
pub(super) fn apply_parts(
    mut parts: &[u8],
    ram_pages: u64,
    mut put: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    while !parts.is_empty() {
        let page = u32::from_le_bytes(take(&mut parts)?);
        if u64::from(page) >= ram_pages {
            return Err(bad(PAST_RAM));
        }
        let runs = u16::from_le_bytes(take(&mut parts)?);
        for _ in 0..runs {
            let first = usize::from(u16::from_le_bytes(take(&mut parts)?));
            let words = usize::from(u16::from_le_bytes(take(&mut parts)?));
            if first + words > WORDS {
                return Err(bad("a run goes past its page"));
            }
            let (content, rest) = parts.split_at_checked(words * WORD).ok_or(bad(CUT_SHORT))?;
            put(
                u64::from(page) * PAGE_BYTES + (first * WORD) as u64,
                content,
            )?;
            parts = rest;
        }
    }
    Ok(())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk().ok_or(bad(CUT_SHORT))?;
    *bytes = rest;
    Ok(*first)
}

const CUT_SHORT: &str = "it is cut short";
const PAST_RAM: &str = "it has a page past RAM";

fn bad(cause: &'static str) -> VmmError {
    VmmError::BadDiff { cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLayout;
    use proptest::prelude::*;
    use ukernel_abi::layout::MIN_MEMORY_MIB;

    proptest! {
        /// Total: any file is read or refused.
        #[test]
        fn any_head_is_decided(whole in any::<u64>(), length in any::<u64>(), is_small in any::<bool>(),
            table in proptest::collection::vec(any::<u32>(), 0..40), parts in proptest::collection::vec(any::<u8>(), 0..400)) {
            let (whole, length) = if is_small { (table.len() as u64, parts.len() as u64) } else { (whole, length) };
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&VERSION.to_le_bytes());
            bytes.extend_from_slice(&whole.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            for (at, number) in table.iter().enumerate() {
                let number = if is_small { at as u32 * 3 } else { *number };
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&parts);
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
            let pages = MemoryLayout::new(MIN_MEMORY_MIB, 0).expect("fits").ram_pages();
            if let Ok((_, parts)) = read_head(&mut bytes.as_slice(), pages) {
                let _ = apply_parts(&parts, pages, |address, content| {
                    assert!(address + content.len() as u64 <= pages * PAGE_BYTES);
                    Ok(())
                });
            }
        }
    }
}
