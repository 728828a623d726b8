//! The host a bench ran on.

use serde::Serialize;
use std::fmt;

/// What figures depend on.
#[derive(Clone, Debug, Serialize)]
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
    pub backend: &'static str,
}

impl Host {
    /// Describes this host.
    pub fn describe(backend: &'static str) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0);
        let kvm = ["kvm_intel", "kvm_amd", "kvm_pvm"]
            .into_iter()
            .find(|module| std::path::Path::new("/sys/module").join(module).exists())
            .unwrap_or("unknown");
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            kvm: kvm.to_owned(),
            backend,
        }
    }
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
