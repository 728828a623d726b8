//! The side that owns VMs.

use super::config::{BootConfig, ForkConfig, Snapshot, SnapshotMemory};
use super::launcher::Launcher;
use super::message::{Command, Notice, Reply, StartTimes, Stats, send};
use crate::exit::Ending;
use crate::jail::JailReport;
use crate::memory::{MemoryLayout, create_ram};
use crate::snapshot::working_set::WorkingSet;
use crate::tail::Tail;
use crate::{Result, VmmError};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

/// A VM process. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct VmProcess {
    launcher: Launcher,
    pub(super) child: Child,
    /// Its standard error.
    pub(super) errors: Tail,
    pub(super) pidfd: OwnedFd,
    pub(super) control: OwnedFd,
    pub(super) jail: Option<JailReport>,
    pub(super) ending: Option<Ending>,
    ram: Option<File>,
}

impl VmProcess {
    /// Starts a blank VM process, without waiting until it is ready.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn spawn(launcher: &Launcher) -> Result<Self> {
        let (mut child, errors, control) = launcher.start()?;
        let opened = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let pidfd = match opened {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(VmmError::os("pidfd_open", error));
            }
        };
        let process = Self {
            launcher: launcher.clone(),
            child,
            errors,
            pidfd,
            control,
            jail: None,
            ending: None,
            ram: None,
        };
        let prepare = Command::Prepare {
            user: launcher.options().user,
        };
        send(process.control.as_fd(), &prepare, &[process.launcher.kvm()])?;
        Ok(process)
    }

    /// Waits until the process is locked in, and says how well.
    ///
    /// # Errors
    /// [`VmmError::Unresponsive`], [`VmmError::Ended`].
    pub fn wait_ready(&mut self) -> Result<&JailReport> {
        if self.jail.is_none() {
            match self.answer("Prepare")? {
                Reply::Ready { jail } => self.jail = Some(jail),
                _ => return Err(unexpected()),
            }
        }
        Ok(self.jail.get_or_insert_default())
    }

    /// Process id, for logs.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Boots a kernel; returns when its first instruction is about to run.
    ///
    /// # Errors
    /// [`VmmError::BadMemory`], [`VmmError::Remote`] for what the process refuses, and
    /// those of every command: [`VmmError::Unresponsive`], [`VmmError::Ended`].
    pub fn boot(&mut self, config: BootConfig<'_>) -> Result<StartTimes> {
        let image_bytes = match config.image {
            Some(image) => image
                .metadata()
                .map_err(|error| VmmError::os("fstat of the image", error))?
                .len(),
            None => 0,
        };
        let layout = MemoryLayout::new(config.memory_mib, image_bytes)?;
        let ram = create_ram(layout)?;
        let command = Command::Boot {
            layout,
            command_line: config.command_line.to_owned(),
            has_channel: config.channel.is_some(),
        };
        let mut files = vec![config.kernel.as_fd(), ram.as_fd()];
        files.extend(config.image.map(AsFd::as_fd));
        files.extend(config.channel.as_ref().map(AsFd::as_fd));
        let times = self.start("Boot", &command, &files)?;
        self.ram = Some(ram);
        Ok(times)
    }

    /// Forks a template, or restores a snapshot of a fork of it.
    ///
    /// # Errors
    /// As [`Self::boot`].
    pub fn restore(&mut self, config: ForkConfig<'_>) -> Result<StartTimes> {
        let template = config.template;
        let state = config.snapshot.map_or(template.state(), |(_, state)| state);
        let command = Command::Restore {
            state: state.to_vec(),
            working_set: template.working_set().clone(),
            has_pages: config.snapshot.is_some(),
            has_channel: config.channel.is_some(),
            paused: config.paused,
        };
        let mut files = vec![template.memory().as_fd()];
        files.extend(template.image().map(AsFd::as_fd));
        files.extend(config.snapshot.map(|(pages, _)| pages.as_fd()));
        files.extend(config.channel.as_ref().map(AsFd::as_fd));
        self.start("Restore", &command, &files)
    }

    /// Gives the VM a channel: the guest's end of a Unix stream socket pair.
    ///
    /// # Errors
    /// [`VmmError::NotNow`] if it has one, and those of every command.
    pub fn attach_channel(&mut self, channel: OwnedFd) -> Result<()> {
        self.done("AttachChannel", &Command::AttachChannel, &[channel.as_fd()])
    }

    /// Stops the guest, whatever it does.
    ///
    /// # Errors
    /// Those of every command.
    pub fn pause(&mut self) -> Result<()> {
        self.done("Pause", &Command::Pause, &[])
    }

    /// Lets a paused guest go on.
    ///
    /// # Errors
    /// Those of every command.
    pub fn resume(&mut self) -> Result<()> {
        self.done("Resume", &Command::Resume, &[])
    }

    /// Takes a snapshot of a paused VM without channel. `pages` is needed for a fork:
    /// an empty file, open for writing, at its start.
    ///
    /// The memory of a cold boot is not copied: it is the memory the VM runs on. Make it
    /// a [`Template`](crate::Template), which ends this VM, or copy it before resuming.
    ///
    /// # Errors
    /// [`VmmError::NotNow`] if the VM runs, or is a cold boot and its channel is open, and
    /// those of every command.
    pub fn snapshot(&mut self, pages: Option<&File>) -> Result<Snapshot> {
        let command = Command::Snapshot {
            with_pages: pages.is_some() && self.ram.is_none(),
        };
        if pages.is_none() && self.ram.is_none() {
            return Err(VmmError::WrongMoment {
                command: "a snapshot",
                cause: "a fork needs a file for the pages it wrote",
            });
        }
        let files: Vec<_> = match (&self.ram, pages) {
            (None, Some(pages)) => vec![pages.as_fd()],
            _ => Vec::new(),
        };
        match self.ask("Snapshot", &command, &files)? {
            Reply::State { state, pages } => Ok(Snapshot {
                state,
                memory: match &self.ram {
                    Some(ram) => SnapshotMemory::Full(
                        ram.try_clone()
                            .map_err(|error| VmmError::os("dup of guest memory", error))?,
                    ),
                    None => SnapshotMemory::Pages { count: pages },
                },
            }),
            _ => Err(unexpected()),
        }
    }

    /// Interrupts the program the guest runs, as its kernel has prepared. Whether it could
    /// be: `false` if its runtime has no way to be interrupted.
    ///
    /// # Errors
    /// [`VmmError::Remote`] if the guest's preparations make no sense, and those of every
    /// command.
    pub fn interrupt(&mut self) -> Result<bool> {
        match self.ask("Interrupt", &Command::Interrupt, &[])? {
            Reply::Interrupted(done) => Ok(done),
            _ => Err(unexpected()),
        }
    }

    /// The pages a fork has written so far: what the next fork will need first.
    ///
    /// # Errors
    /// Those of every command.
    pub fn working_set(&mut self) -> Result<WorkingSet> {
        match self.ask("WorkingSet", &Command::WorkingSet, &[])? {
            Reply::WorkingSet(set) => Ok(set),
            _ => Err(unexpected()),
        }
    }

    /// Counters, times and memory of the VM.
    ///
    /// # Errors
    /// Those of every command.
    pub fn stats(&mut self) -> Result<Stats> {
        match self.ask("Stats", &Command::Stats, &[])? {
            Reply::Stats(stats) => Ok(stats),
            _ => Err(unexpected()),
        }
    }

    /// Ends the VM at once and waits for it.
    ///
    /// # Errors
    /// [`VmmError::Unresponsive`] if the kernel does not let go of the process.
    pub fn kill(&mut self) -> Result<Ending> {
        if self.ending.is_none() {
            // Fails only if the process is gone already.
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        }
        self.reap()
    }

    /// Waits until the VM ends by itself; `None` if it still runs after `timeout`. To
    /// wait for many, poll the file this lends ([`AsFd`]) for input, then ask with a
    /// zero timeout.
    ///
    /// # Errors
    /// [`VmmError::Protocol`].
    pub fn wait_ending(&mut self, timeout: Duration) -> Result<Option<Ending>> {
        let until = Instant::now() + timeout;
        while self.ending.is_none() {
            match self.notice(until) {
                Ok(Some(Notice::Exited(ending))) => self.ending = Some(ending),
                Ok(Some(Notice::Reply(Reply::Ready { jail }))) => self.jail = Some(jail),
                Ok(Some(Notice::Reply(_))) => return Err(unexpected()),
                Ok(None) => return Ok(None),
                Err(VmmError::Ended(_)) => break,
                Err(error) => return Err(error),
            }
        }
        self.reap().map(Some)
    }

    fn start(
        &mut self,
        name: &'static str,
        command: &Command,
        files: &[BorrowedFd<'_>],
    ) -> Result<StartTimes> {
        match self.ask(name, command, files)? {
            Reply::Started(times) => Ok(times),
            _ => Err(unexpected()),
        }
    }

    fn done(
        &mut self,
        name: &'static str,
        command: &Command,
        files: &[BorrowedFd<'_>],
    ) -> Result<()> {
        match self.ask(name, command, files)? {
            Reply::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

impl AsFd for VmProcess {
    /// The control socket: it gets readable when the VM ends by itself.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

impl Drop for VmProcess {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.child.wait();
    }
}

pub(super) fn unexpected() -> VmmError {
    VmmError::Protocol {
        cause: "an answer does not belong to its command",
    }
}
