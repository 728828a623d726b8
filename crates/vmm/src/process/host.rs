//! The side that owns VMs.

use super::launcher::Launcher;
use super::message::{Command, Notice, Reply, StartTimes, Stats, receive, send};
use crate::exit::{Ending, ExitReason};
use crate::jail::JailReport;
use crate::memory::{MemoryLayout, create_ram};
use crate::snapshot::working_set::WorkingSet;
use crate::template::Template;
use crate::{Result, VmmError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a VM process may take to answer. Generous: hosts are shared.
const ANSWER: Duration = Duration::from_secs(20);

/// How long an exited process may take to be gone.
const REAP: Duration = Duration::from_secs(20);

/// What to boot.
#[derive(Debug)]
pub struct BootConfig<'a> {
    /// The kernel: an x86-64 ELF with a PVH note.
    pub kernel: &'a File,
    /// The image, placed at the top of memory.
    pub image: Option<&'a File>,
    /// Guest memory with the image, in MiB.
    pub memory_mib: u32,
    /// Added to the kernel's command line.
    pub command_line: &'a str,
    /// The guest's end of the channel.
    pub channel: Option<OwnedFd>,
}

/// What to fork.
#[derive(Debug)]
pub struct ForkConfig<'a> {
    /// Where the VM comes from.
    pub template: &'a Template,
    /// The file of written pages, when restoring a snapshot of a fork, and the state
    /// that goes with it.
    pub snapshot: Option<(&'a File, &'a [u8])>,
    /// The guest's end of the channel.
    pub channel: Option<OwnedFd>,
    /// Wait for [`VmProcess::resume`] before running.
    pub paused: bool,
}

/// A snapshot of a paused VM.
#[derive(Debug)]
pub struct Snapshot {
    /// Registers and devices, encoded.
    pub state: Vec<u8>,
    /// Its memory.
    pub memory: SnapshotMemory,
}

/// The memory of a snapshot.
#[derive(Debug)]
pub enum SnapshotMemory {
    /// All of RAM, of a cold boot: the memfd the VM still runs on.
    Full(File),
    /// The pages a fork wrote; they mean nothing without its template.
    Pages {
        /// Number of pages.
        count: u64,
    },
}

/// A VM process. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub struct VmProcess {
    launcher: Launcher,
    child: Child,
    pidfd: OwnedFd,
    control: OwnedFd,
    jail: Option<JailReport>,
    ending: Option<Ending>,
    ram: Option<File>,
}

impl VmProcess {
    /// Starts a blank VM process, without waiting until it is ready.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn spawn(launcher: &Launcher) -> Result<Self> {
        let (mut child, control) = launcher.start()?;
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
            pidfd,
            control,
            jail: None,
            ending: None,
            ram: None,
        };
        let prepare = Command::Prepare {
            serial_to_stderr: launcher.options().serial_to_stderr,
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
    /// [`VmmError::Remote`] if it has one, and those of every command.
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
    /// a [`Template`], which ends this VM, or copy it before resuming.
    ///
    /// # Errors
    /// [`VmmError::Remote`] if the VM runs or its channel is open, and those of every
    /// command.
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

    /// Sends a command and waits for its answer.
    fn ask(
        &mut self,
        name: &'static str,
        command: &Command,
        files: &[BorrowedFd<'_>],
    ) -> Result<Reply> {
        self.wait_ready()?;
        if let Err(error) = send(self.control.as_fd(), command, files) {
            // It may have ended just now; its last words say why.
            return Err(match self.wait_ending(Duration::ZERO)? {
                Some(ending) => VmmError::Ended(Box::new(ending)),
                None => error,
            });
        }
        match self.answer(name)? {
            Reply::Failed(cause) => Err(VmmError::Remote(cause)),
            reply => Ok(reply),
        }
    }

    /// Waits for the answer to a command.
    fn answer(&mut self, name: &'static str) -> Result<Reply> {
        if let Some(ending) = &self.ending {
            return Err(VmmError::Ended(Box::new(ending.clone())));
        }
        match self.notice(Instant::now() + ANSWER)? {
            Some(Notice::Reply(reply)) => Ok(reply),
            Some(Notice::Exited(ending)) => {
                self.ending = Some(ending.clone());
                let _ = self.reap();
                Err(VmmError::Ended(Box::new(ending)))
            }
            None => Err(VmmError::Unresponsive {
                command: name,
                waited_ms: u64::try_from(ANSWER.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// The next thing the process says; `None` if it says nothing until `until`.
    fn notice(&mut self, until: Instant) -> Result<Option<Notice>> {
        if !wait_readable(self.control.as_fd(), until)? {
            return Ok(None);
        }
        match receive::<Notice>(self.control.as_fd())? {
            Some((notice, _)) => Ok(Some(notice)),
            None => {
                let ending = self.reap()?;
                Err(VmmError::Ended(Box::new(ending)))
            }
        }
    }

    /// Waits for the end of a process that is ending, and says how it was.
    fn reap(&mut self) -> Result<Ending> {
        if !wait_readable(self.pidfd.as_fd(), Instant::now() + REAP)? {
            return Err(VmmError::Unresponsive {
                command: "its end",
                waited_ms: u64::try_from(REAP.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let status = self
            .child
            .wait()
            .map_err(|error| VmmError::os("waiting for a VM process", error))?;
        Ok(self
            .ending
            .get_or_insert_with(|| Ending {
                reason: ExitReason::Killed {
                    signal: status.signal(),
                    status: status.code(),
                },
                registers: None,
                serial_tail: Vec::new(),
            })
            .clone())
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

fn unexpected() -> VmmError {
    VmmError::Protocol {
        cause: "an answer does not belong to its command",
    }
}

/// Waits until `file` is readable or closed; `false` if that is not so at `until`.
fn wait_readable(file: BorrowedFd<'_>, until: Instant) -> Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut files = [PollFd::from_borrowed_fd(file, PollFlags::IN)];
        match poll(&mut files, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(VmmError::os("poll", error)),
        }
    }
}
