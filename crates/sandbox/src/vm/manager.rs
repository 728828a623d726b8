//! Owner of the health and life of VMs.

use super::pool::{Pool, Prepare, Start};
use super::reaper::Reaper;
use super::{PoolMetrics, Vm};
use crate::engine::StoredTemplate;
use crate::{Result, SandboxConfig, SandboxError};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use ukernel_machine::saved::{Body, SavedState};
use ukernel_machine::{BackendKind, Limits, Template};

/// Blank processes kept for forks of sessions and rollbacks, which no ready VM can become. Each
/// is some 2 MiB of memory.
const BLANK: usize = 8;

/// Starts VMs, keeps some ready, and ends them.
pub struct VmManager {
    template: Arc<dyn Template>,
    template_key: String,
    backend: BackendKind,
    limits: Limits,
    pool: Arc<Pool>,
    reaper: Mutex<Reaper>,
    filler: Mutex<Option<JoinHandle<()>>>,
}

impl VmManager {
    /// A manager of forks of `template`, with the limits and the pool `config` says.
    ///
    /// # Errors
    /// [`SandboxError::Config`], [`SandboxError::Io`] if a thread cannot be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime: guests are spoken to there.
    pub fn start(template: StoredTemplate, config: &SandboxConfig) -> Result<Arc<Self>> {
        if let Some(problem) = config.problem() {
            return Err(SandboxError::Config(problem));
        }
        let config = match template.backend {
            BackendKind::Qemu => config.for_qemu(),
            BackendKind::Kvm | BackendKind::Firecracker => config.clone(),
        };
        let limits = config.limits();
        let key = template.key.to_string();
        let backend = template.backend;
        let template: Arc<dyn Template> = Arc::from(template.template);
        let forked = Arc::clone(&template);
        let start: Start = Box::new(move || Vm::greet(forked.fork(limits)?));
        let prepared = Arc::clone(&template);
        let prepare: Prepare = Box::new(move || prepared.prepare(BLANK));
        let pool = Pool::new(start, prepare, config);
        let thread = |error| SandboxError::io("starting a thread", error);
        let reaper = Reaper::start(Arc::clone(&pool)).map_err(thread)?;
        let filled = Arc::clone(&pool);
        let runtime = Handle::current();
        let filler = std::thread::Builder::new()
            .name("ukernel-pool".to_owned())
            .spawn(move || {
                // Guests are greeted there.
                let _runtime = runtime.enter();
                filled.fill();
            })
            .map_err(thread)?;
        Ok(Arc::new(Self {
            template,
            template_key: key,
            backend,
            limits,
            pool,
            reaper: Mutex::new(reaper),
            filler: Mutex::new(Some(filler)),
        }))
    }

    /// Names the template: snapshots of its forks fit no other.
    #[must_use]
    pub fn template_key(&self) -> &str {
        &self.template_key
    }

    /// A VM as the template is. Waits, at most as long as the configuration says.
    pub(crate) fn allocate(&self) -> Result<Vm> {
        self.pool.allocate()
    }

    /// Describes a state that a VM of this manager has written into a folder.
    pub(crate) fn seal(&self, folder: &Path) -> Result<SavedState> {
        SavedState::seal(folder, self.backend, &self.template_key)
            .map_err(|error| SandboxError::io(format!("reading {}", folder.display()), error))
    }

    /// Refuses a state from which no VM of this manager can start. `what` it is, for people.
    pub(crate) fn check(&self, state: &SavedState, folder: &Path, what: &str) -> Result<()> {
        let checked = state.check(folder, self.backend, &self.template_key);
        checked.map_err(|unfit| SandboxError::Damaged {
            what: what.to_owned(),
            cause: unfit.to_string(),
        })
    }

    /// A VM as a saved state is. Whether it is what was saved, [`Self::check`] says.
    pub(crate) fn restore(&self, folder: &Path) -> Result<Vm> {
        // Whatever killed a session's VM may be killing the process that was to take its place.
        let vm = self.restore_once(folder).or_else(|error| match error {
            SandboxError::Machine(_) => self.restore_once(folder),
            other => Err(other),
        })?;
        self.pool.note_use();
        Ok(vm)
    }

    fn restore_once(&self, folder: &Path) -> Result<Vm> {
        let body = Body::open(folder)?;
        Ok(Vm::greet(self.template.restore(body, self.limits)?)?)
    }

    /// Takes a VM nobody needs any more.
    pub(crate) fn end(&self, vm: Vm) {
        self.reaper().end(vm);
    }

    fn reaper(&self) -> std::sync::MutexGuard<'_, Reaper> {
        self.reaper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the pool has done.
    #[must_use]
    pub fn metrics(&self) -> PoolMetrics {
        PoolMetrics {
            blank: self.template.prepared(),
            cleanup_queue: self.reaper().waiting(),
            ..self.pool.metrics()
        }
    }

    /// Processes of the ready VMs.
    #[must_use]
    pub fn ready_processes(&self) -> Vec<u32> {
        self.pool.ready_processes()
    }

    /// Ends every VM that is not a session's, and waits until they are gone.
    pub fn stop(&self) {
        for vm in self.pool.stop() {
            self.end(vm);
        }
        let filler = self
            .filler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(filler) = filler {
            // A panic there has been reported.
            let _ = filler.join();
        }
        // What the filler was starting when it was told.
        for vm in self.pool.stop() {
            self.end(vm);
        }
        self.reaper().stop();
    }
}
