//! What every way of running machines offers.

use crate::saved::Body;
use crate::{Channel, Ending, Limits, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A way of running machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// The embedded VMM on `/dev/kvm`.
    Kvm,
    /// A Firecracker the operator installed.
    Firecracker,
    /// QEMU.
    Qemu,
}

impl BackendKind {
    /// Every kind, in the order they are preferred when nothing else decides.
    pub const ALL: [Self; 3] = [Self::Kvm, Self::Firecracker, Self::Qemu];

    /// The name users write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Firecracker => "firecracker",
            Self::Qemu => "qemu",
        }
    }
}

/// What to boot.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// The kernel: the µkernel, an ELF, or Linux.
    pub kernel: PathBuf,
    /// The image: of the µkernel, placed in memory like an initial ramdisk; of Linux, the disk with its root.
    pub image: PathBuf,
    /// The initial file system of Linux.
    pub initrd: Option<PathBuf>,
    /// Guest memory, image included, in MiB.
    pub memory_mib: u32,
    /// What the guest may use of it.
    pub limits: Limits,
}

/// Boots machines and opens templates.
pub trait Backend: Send + Sync {
    /// Which one this is.
    fn kind(&self) -> BackendKind;

    /// Changes when templates and saved states of before cannot be used any more.
    fn state_format(&self) -> Vec<u8>;

    /// Starts what can be started before it is known what to run, so that the next
    /// machine is there sooner. Failing is no error: the next start will say why.
    fn prepare(&self) {}

    /// Boots a machine. Returns as soon as it runs.
    ///
    /// # Errors
    /// The host cannot run it, or a file cannot be used.
    fn boot(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>>;

    /// Opens a template from the folder [`Template::save`] wrote. `image` is the image its
    /// machine was booted with.
    ///
    /// # Errors
    /// The files are not those of a template of this backend and release.
    fn open_template(&self, folder: &Path, image: &Path) -> Result<Box<dyn Template>>;
}

/// One VM. Dropping it ends it at once and leaves nothing behind.
pub trait Machine: Send {
    /// Opens the channel. One at a time: an earlier one must have been dropped.
    ///
    /// # Errors
    /// The machine has ended.
    fn connect(&mut self) -> Result<Channel>;

    /// Stops the guest, whatever it does.
    ///
    /// # Errors
    /// The machine has ended.
    fn pause(&mut self) -> Result<()>;

    /// Lets a paused guest go on.
    ///
    /// # Errors
    /// The machine has ended.
    fn resume(&mut self) -> Result<()>;

    /// Interrupts a program that computes and so hears nothing: its runtime raises what it
    /// raises at Ctrl-C, and state is kept. `false`: this backend or runtime cannot, and only
    /// a program that waits can be interrupted ([`Guest::interrupt`](crate::guest::Guest::interrupt)).
    ///
    /// # Errors
    /// The machine has ended.
    fn interrupt(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Whether the channel goes on when [`Self::snapshot`] was called. `false`: whatever came of
    /// it, the channel is to be dropped, and the guest connected to and greeted again. It goes on
    /// as who it is.
    fn keeps_channel(&self) -> bool;

    /// Writes what the machine has become since it was forked, for [`Template::restore`]; the
    /// machine goes on, and its channel if [`Self::keeps_channel`]. Nothing may be under way on
    /// the channel. The files may hold another state, which is written over.
    ///
    /// # Errors
    /// The machine has ended, was not forked from a template, or the files cannot be
    /// written; it goes on where it can.
    fn snapshot(&mut self, body: &mut Body) -> Result<()>;

    /// Makes the machine a template; the machine ends. Its channel must have been dropped.
    ///
    /// # Errors
    /// The machine has ended, or its memory cannot be kept.
    fn into_template(self: Box<Self>) -> Result<Box<dyn Template>>;

    /// What the machine costs and how it came up.
    ///
    /// # Errors
    /// The machine has ended.
    fn stats(&mut self) -> Result<MachineStats>;

    /// Process that is this machine, for logs and measurements.
    fn process_id(&self) -> u32;

    /// Waits for the machine to end by itself; `None` if it has not after `timeout`.
    ///
    /// # Errors
    /// Its process cannot be asked.
    fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>>;

    /// Ends the machine and waits until it is gone.
    ///
    /// # Errors
    /// The host does not let go of its process.
    fn kill(&mut self) -> Result<Ending>;
}

/// A VM paused after its runtime is up. Machines forked from it share its memory and
/// cannot change it.
pub trait Template: Send + Sync {
    /// Starts a copy of the machine. It is a twin until its guest is greeted.
    ///
    /// # Errors
    /// The host cannot run another one.
    fn fork(&self, limits: Limits) -> Result<Box<dyn Machine>>;

    /// Starts a copy of a machine that was forked from this template, as it was when
    /// [`Machine::snapshot`] wrote `body`. It is a twin until its guest is greeted. The files are
    /// not needed any more when this returns.
    ///
    /// # Errors
    /// The files are not those of a snapshot of a fork of this template.
    fn restore(&self, body: Body, limits: Limits) -> Result<Box<dyn Machine>>;

    /// Starts one process ahead, for a machine to come, unless `enough` wait already. Whether
    /// it did. Backends that cannot do nothing, and failing is no error: see
    /// [`Backend::prepare`].
    fn prepare(&self, enough: usize) -> bool {
        let _ = enough;
        false
    }

    /// How many processes wait to become machines.
    fn prepared(&self) -> usize {
        0
    }

    /// Learns from one fork, which `exercise` puts to typical use, what forks need first.
    /// Backends that cannot learn do nothing.
    ///
    /// # Errors
    /// The fork failed.
    fn train(&mut self, exercise: &mut dyn FnMut(&mut dyn Machine) -> Result<()>) -> Result<()> {
        let _ = exercise;
        Ok(())
    }

    /// Writes the template into an empty folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    fn save(&self, folder: &Path) -> Result<()>;
}

/// What a machine costs and how it came up. `None`: the backend does not know.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineStats {
    /// From the start of the machine to its first instruction at CPL 3.
    pub user_mode: Option<Duration>,
    /// Proportional set size of its process, guest memory included, in bytes.
    pub pss_bytes: Option<u64>,
    /// Memory nobody else has, in bytes.
    pub private_bytes: Option<u64>,
}
