//! Limits and sizes of a sandbox. The names are those of `RlmConfig` (specification, section 4).

use crate::backends::BackendType;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use ukernel_abi::layout::{MAX_MEMORY_MIB, MIN_MEMORY_MIB};
use ukernel_machine::Limits;

/// Whether calls of one conversation share a VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionModel {
    /// State stays from call to call.
    #[default]
    Affinity,
    /// Every call gets a VM of its own, as the session's last snapshot or a fresh one.
    Stateless,
}

/// What is set for one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendConfig {
    /// Whether calls share a VM.
    pub session_model: SessionModel,
}

/// Limits and sizes. Defaults are the specification's where it has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Ready VMs kept when nobody asks for any.
    pub pool_min_size: usize,
    /// Ready VMs kept at most.
    pub pool_max_size: usize,
    /// Ready VMs kept at first.
    pub pool_target_size: usize,
    /// How long a VM may take to be ready, in milliseconds.
    pub vm_boot_timeout_ms: u64,
    /// How long a session waits for a VM, in milliseconds.
    pub allocation_timeout_ms: u64,
    /// VMs started at once beside the pool when it is empty.
    pub max_overflow_vms: u32,
    /// Waiting sessions at which the pool grows.
    pub scale_up_queue_depth: u32,
    /// Seconds without an allocation after which the pool shrinks by one.
    pub scale_down_idle_secs: u64,
    /// Sessions of one user at once.
    pub max_sessions: usize,
    /// Bytes of each output stream that come back; what is longer is in a file of the guest.
    pub max_inline_output_bytes: usize,
    /// Named snapshots of a session.
    pub max_snapshots_per_session: u32,
    /// Life of a session, in milliseconds.
    pub session_timeout_ms: u64,
    /// What an extension adds to it, in milliseconds.
    pub session_extension_ms: u64,
    /// Extensions of a session.
    pub max_extensions: u32,
    /// Whether the state before each command is kept.
    pub checkpoint_enabled: bool,
    /// Time of one execution that says no other, in milliseconds.
    pub execution_timeout_ms: u64,
    /// Memory of a session's programs, in MiB.
    pub memory_mib: u32,
    /// What the file tree holds at first, in MB. It doubles when it is full.
    pub initial_overlay_mb: u32,
    /// What it may grow to, in MB.
    pub max_overlay_mb: u32,
    /// Tasks of a session at once.
    pub max_tasks: u32,
    /// Backends in order of preference; the first one there is is used.
    pub backend_preference: Vec<BackendType>,
    /// What is set for the backend in use.
    pub backend: BackendConfig,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            pool_min_size: 2,
            pool_max_size: 10,
            pool_target_size: 4,
            vm_boot_timeout_ms: 2000,
            allocation_timeout_ms: 500,
            max_overflow_vms: 3,
            scale_up_queue_depth: 5,
            scale_down_idle_secs: 300,
            max_sessions: 512,
            max_inline_output_bytes: 65_536,
            max_snapshots_per_session: 10,
            session_timeout_ms: 3_600_000,
            session_extension_ms: 1_800_000,
            max_extensions: 3,
            checkpoint_enabled: true,
            execution_timeout_ms: 300_000,
            memory_mib: 512,
            initial_overlay_mb: 100,
            max_overlay_mb: 2048,
            max_tasks: 16,
            backend_preference: BackendType::DEFAULT_ORDER.to_vec(),
            backend: BackendConfig::default(),
        }
    }
}

impl SandboxConfig {
    /// What is wrong with it, for people; `None` if nothing is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.pool_min_size > self.pool_target_size || self.pool_target_size > self.pool_max_size
        {
            return Some("pool sizes must be min <= target <= max".to_owned());
        }
        if self.pool_max_size + self.max_overflow_vms as usize == 0 {
            return Some("without a pool and without overflow there are no VMs".to_owned());
        }
        if self.initial_overlay_mb > self.max_overlay_mb {
            return Some("initial_overlay_mb is more than max_overlay_mb".to_owned());
        }
        if self.backend_preference.is_empty() {
            return Some("backend_preference is empty".to_owned());
        }
        if self.max_inline_output_bytes > 1 << 20 {
            return Some("max_inline_output_bytes is at most 1048576".to_owned());
        }
        None
    }

    /// Memory of a machine: what programs may use, and what the file tree may grow to, as far
    /// as a machine can have it. None of it is used before it is touched.
    #[must_use]
    pub fn machine_mib(&self) -> u32 {
        self.memory_mib
            .saturating_add(self.max_overlay_mb)
            .clamp(MIN_MEMORY_MIB, MAX_MEMORY_MIB)
    }

    /// The same for VMs of QEMU, which cost more to keep ready and to start.
    #[must_use]
    pub(crate) fn for_qemu(&self) -> Self {
        Self {
            pool_min_size: self.pool_min_size.min(1),
            pool_max_size: self.pool_max_size.min(4),
            pool_target_size: self.pool_target_size.min(1),
            allocation_timeout_ms: self.allocation_timeout_ms.max(20_000),
            ..self.clone()
        }
    }

    /// The same for Linux guests, which need more memory and processes to begin with.
    #[must_use]
    pub fn for_linux(&self) -> Self {
        Self {
            memory_mib: self.memory_mib.max(1024),
            max_tasks: self.max_tasks.max(256),
            ..self.clone()
        }
    }

    /// What the guest is told.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            files_bytes: u64::from(self.initial_overlay_mb) * 1_000_000,
            max_files_bytes: u64::from(self.max_overlay_mb) * 1_000_000,
            memory_bytes: u64::from(self.memory_mib) << 20,
            tasks: self.max_tasks,
        }
    }

    /// Life of a session.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.session_timeout_ms)
    }

    /// Time of one execution that says no other.
    #[must_use]
    pub fn execution_timeout(&self) -> Duration {
        Duration::from_millis(self.execution_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(SandboxConfig::default().problem(), None);
    }

    #[test]
    fn contradictions_are_named() {
        let config = SandboxConfig {
            pool_min_size: 9,
            ..SandboxConfig::default()
        };
        assert!(config.problem().is_some());
    }
}
