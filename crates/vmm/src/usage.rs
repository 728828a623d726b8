//! How much memory this process uses, read from a file opened before the jail closed.

use crate::{Result, VmmError};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The summary of this process's mappings.
#[derive(Debug)]
pub struct MemoryUsage {
    rollup: File,
}

/// Memory in use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Own pages, and of shared ones a share.
    pub pss_bytes: u64,
    /// Own pages.
    pub private_bytes: u64,
}

impl MemoryUsage {
    /// Opens the summary.
    ///
    /// # Errors
    /// [`VmmError::Os`] where `/proc` is not mounted.
    pub fn open() -> Result<Self> {
        let rollup = File::open("/proc/self/smaps_rollup")
            .map_err(|error| VmmError::os("opening /proc/self/smaps_rollup", error))?;
        Ok(Self { rollup })
    }

    /// Reads the numbers of this moment.
    #[must_use]
    pub fn read(&self) -> Option<Usage> {
        let mut text = [0u8; 4096];
        let length = self.rollup.read_at(&mut text, 0).ok()?;
        parse(std::str::from_utf8(text.get(..length)?).ok()?)
    }
}

fn parse(text: &str) -> Option<Usage> {
    let kilobytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Usage {
        pss_bytes: kilobytes("Pss:")? << 10,
        private_bytes: (kilobytes("Private_Clean:")? + kilobytes("Private_Dirty:")?) << 10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_format() {
        let text = "00400000-7ff ---p 00000000 00:00 0 [rollup]\nRss:  1 kB\nPss:    884 kB\n\
                    Private_Clean:         4 kB\nPrivate_Dirty:        96 kB\n";
        let usage = parse(text).expect("valid");
        assert_eq!(
            (usage.pss_bytes, usage.private_bytes),
            (884 << 10, 100 << 10)
        );
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn reads_this_process() {
        let usage = MemoryUsage::open().expect("open").read().expect("read");
        assert!(usage.pss_bytes > 0 && usage.private_bytes > 0);
    }
}
