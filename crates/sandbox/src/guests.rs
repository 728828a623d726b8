//! The guests sessions may have, and the VMs of each.

use crate::engine::StoredTemplate;
use crate::vm::VmManager;
use crate::{Result, SandboxConfig, SandboxError};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What runs inside a session's VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guest {
    /// Our own kernel, with Python.
    #[default]
    Ukernel,
    /// A Linux.
    Linux,
}

/// Gives the template of a guest, made already or made then. It may take long.
pub type OpenTemplate = Box<dyn Fn() -> Result<StoredTemplate> + Send + Sync>;

/// The VMs of all guests. Those of Linux are started when the first session wants them.
pub struct Guests {
    ukernel: Arc<VmManager>,
    linux: Option<Linux>,
}

struct Linux {
    open: OpenTemplate,
    config: SandboxConfig,
    vms: Mutex<Option<Arc<VmManager>>>,
}

impl Linux {
    fn vms(&self) -> MutexGuard<'_, Option<Arc<VmManager>>> {
        self.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Arc<VmManager>> for Guests {
    /// The µkernel alone.
    fn from(ukernel: Arc<VmManager>) -> Self {
        Self {
            ukernel,
            linux: None,
        }
    }
}

impl Guests {
    /// With Linux beside it, whose template `open` gives.
    #[must_use]
    pub fn with_linux(self, open: OpenTemplate, config: &SandboxConfig) -> Self {
        Self {
            linux: Some(Linux {
                open,
                config: config.for_linux(),
                vms: Mutex::default(),
            }),
            ..self
        }
    }

    /// The VMs of a guest. Only on a thread that may block and knows the runtime.
    pub(crate) fn vms(&self, guest: Guest) -> Result<Arc<VmManager>> {
        let linux = match guest {
            Guest::Ukernel => return Ok(Arc::clone(&self.ukernel)),
            Guest::Linux => self
                .linux
                .as_ref()
                .ok_or_else(|| SandboxError::Config("there is no Linux guest here".to_owned()))?,
        };
        let mut slot = linux.vms();
        if let Some(vms) = &*slot {
            return Ok(Arc::clone(vms));
        }
        let vms = VmManager::start((linux.open)()?, &linux.config)?;
        Ok(Arc::clone(slot.insert(vms)))
    }

    /// The VMs of the µkernel.
    pub(crate) fn ukernel(&self) -> &VmManager {
        &self.ukernel
    }

    /// Ends every VM that is not a session's.
    pub(crate) fn stop(&self) {
        self.ukernel.stop();
        if let Some(linux) = &self.linux
            && let Some(vms) = &*linux.vms()
        {
            vms.stop();
        }
    }
}
