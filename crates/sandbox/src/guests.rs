//! The guests sessions may have, and the VMs of each.

use crate::engine::LinuxTemplates;
use crate::vm::VmManager;
use crate::{Result, SandboxConfig, SandboxError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use ukernel_image::store::Key;
use ukernel_image::{ImageName, Silent};

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

/// Most images whose VMs are kept at once. Each has a template in memory and a pool.
const MAX_OPEN_IMAGES: usize = 4;

/// The VMs of all guests. Those of Linux are started when the first session wants them.
pub struct Guests {
    ukernel: Arc<VmManager>,
    linux: Option<Linux>,
}

struct Linux {
    templates: LinuxTemplates,
    config: SandboxConfig,
    /// By the key of the image: a name may stand for another one by and by.
    vms: Mutex<HashMap<String, Arc<VmManager>>>,
}

impl Linux {
    fn vms(&self) -> MutexGuard<'_, HashMap<String, Arc<VmManager>>> {
        self.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The VMs of an image, started if they are not there. Those of an image without sessions may have to end for it.
    fn open(&self, image: Option<&ImageName>) -> Result<Arc<VmManager>> {
        let key: Key = self.templates.images().linux_parts_key(image)?;
        let mut all = self.vms();
        if let Some(vms) = all.get(&key.to_string()) {
            return Ok(Arc::clone(vms));
        }
        if all.len() >= MAX_OPEN_IMAGES {
            let idle = all.iter().find(|(_, vms)| Arc::strong_count(vms) == 1);
            let idle = idle.map(|(key, _)| key.clone());
            let ended = idle.and_then(|key| all.remove(&key));
            ended
                .ok_or(SandboxError::Limit {
                    what: "images with sessions at once",
                    limit: MAX_OPEN_IMAGES as u64,
                })?
                .stop();
        }
        let vms = VmManager::start(self.templates.open(image, &Silent)?, &self.config)?;
        all.insert(key.to_string(), Arc::clone(&vms));
        Ok(vms)
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
    /// With Linux beside it.
    #[must_use]
    pub fn with_linux(self, templates: LinuxTemplates, config: &SandboxConfig) -> Self {
        Self {
            linux: Some(Linux {
                templates,
                config: config.for_linux(),
                vms: Mutex::default(),
            }),
            ..self
        }
    }

    /// The VMs of a guest, as its own image or the user's of this name. Only on a thread that may block and knows the runtime.
    pub(crate) fn vms(&self, guest: Guest, image: Option<&ImageName>) -> Result<Arc<VmManager>> {
        match guest {
            Guest::Ukernel if image.is_some() => Err(SandboxError::ImageOfLinux),
            Guest::Ukernel => Ok(Arc::clone(&self.ukernel)),
            Guest::Linux => self
                .linux
                .as_ref()
                .ok_or_else(|| SandboxError::Config("there is no Linux guest here".to_owned()))?
                .open(image),
        }
    }

    /// The VMs of the µkernel.
    pub(crate) fn ukernel(&self) -> &VmManager {
        &self.ukernel
    }

    /// Ends every VM that is not a session's.
    pub(crate) fn stop(&self) {
        self.ukernel.stop();
        for vms in self
            .linux
            .iter()
            .flat_map(|linux| linux.vms().drain().collect::<Vec<_>>())
        {
            vms.1.stop();
        }
    }
}
