//! The host a bench ran on.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What figures depend on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// Processor, as it names itself.
    pub cpu: String,
    /// Processors this process may use.
    pub cores: usize,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// The hypervisor kernel module in use, where it can be told.
    pub kvm: String,
    /// What ran the VMs.
    pub backend: String,
}

impl Host {
    /// Describes this host.
    pub fn describe(backend: &str) -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kvm = ["kvm_intel", "kvm_amd", "kvm_pvm"]
            .into_iter()
            .find(|module| std::path::Path::new("/sys/module").join(module).exists())
            .unwrap_or("unknown");
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: meminfo_kib("MemTotal").unwrap_or(0) >> 10,
            kernel: release.trim().to_owned(),
            kvm: kvm.to_owned(),
            backend: backend.to_owned(),
        }
    }
}

/// What `/proc/meminfo` says of `name`, in KiB.
pub fn meminfo_kib(name: &str) -> Option<u64> {
    let value = field("/proc/meminfo", name)?;
    value.split_whitespace().next()?.parse().ok()
}

/// The value of the first `name: value` in a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}, {} cores, {} MiB, Linux {}, {}, backend {}",
            self.cpu, self.cores, self.memory_mib, self.kernel, self.kvm, self.backend
        )
    }
}
