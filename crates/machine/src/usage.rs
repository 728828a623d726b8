//! Memory a process uses, as `/proc` tells it.

use crate::{MachineError, MachineStats, Result};

/// Reads `/proc/PID/smaps_rollup`.
pub(crate) fn stats(process: u32) -> Result<MachineStats> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| MachineError::io(format!("reading {path}"), error))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> MachineStats {
    let bytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kilobytes.checked_mul(1024)
    };
    let private = bytes("Private_Clean:").zip(bytes("Private_Dirty:"));
    MachineStats {
        user_mode: None,
        pss_bytes: bytes("Pss:"),
        private_bytes: private.map(|(clean, dirty)| clean.saturating_add(dirty)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_format() {
        let stats = parse("Rss: 9 kB\nPss:   8 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 2 kB\n");
        assert_eq!(stats.pss_bytes, Some(8192));
        assert_eq!(stats.private_bytes, Some(3072));
        assert_eq!(parse("nonsense").pss_bytes, None);
        assert!(super::stats(std::process::id()).expect("own").pss_bytes > Some(0));
    }
}
