//! The VM process: locks itself in, then does what the control socket says.

use super::message::{Command, Notice, Reply, StartTimes, Stats, receive, send};
use crate::devices::Devices;
use crate::exit::{Ending, ExitReason};
use crate::interrupt;
use crate::jail::{self, JailReport};
use crate::memory::{Backing, GuestMemory, MemoryLayout};
use crate::mmio::Transport;
use crate::run::Stop;
use crate::serial::Serial;
use crate::snapshot::pages::{PageMap, PageRange};
use crate::snapshot::working_set::WorkingSet;
use crate::snapshot::{VmState, diff};
use crate::usage::MemoryUsage;
use crate::vm::{BlankVm, Vm};
use crate::{Result, VmmError};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// Runs this process as a VM and ends it. The program calls this when it was started by
/// a [`Launcher`](crate::Launcher), before it starts threads or opens files: standard
/// input is the control socket, every other file is closed.
pub fn vm_main() -> ! {
    let status = match serve() {
        Ok(()) => 0,
        Err(error) => {
            // Standard error is a pipe that may be full; then nobody hears it.
            let _ = writeln!(std::io::stderr(), "{error}");
            1
        }
    };
    std::process::exit(status)
}

fn serve() -> Result<()> {
    jail::close_files_from(3)?;
    let control = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| VmmError::os("dup of the control socket", error))?;
    let Some((command, mut files)) = receive::<Command>(control.as_fd())? else {
        return Ok(());
    };
    let Command::Prepare { user } = command else {
        return Err(VmmError::Protocol {
            cause: "the first command must be Prepare",
        });
    };
    let blank = BlankVm::create(next(&mut files)?.into())?;
    blank.watch_control(control.as_fd())?;
    let process = Process {
        pagemap: PageMap::open().ok(),
        usage: MemoryUsage::open().ok(),
        control,
        machine: Machine::Blank(Box::new(blank)),
    };
    let jail = jail::close(user);
    process.run(jail)
}

/// What the process is, at the moment.
enum Machine {
    Blank(Box<BlankVm>),
    Running(Box<Vm>),
    Paused(Box<Vm>),
    /// Between two of the others; left over only where a start failed.
    Spent,
}

struct Process {
    control: OwnedFd,
    pagemap: Option<PageMap>,
    usage: Option<MemoryUsage>,
    machine: Machine,
}

type Files = std::vec::IntoIter<OwnedFd>;

impl Process {
    fn run(mut self, jail: JailReport) -> Result<()> {
        self.reply(Reply::Ready { jail })?;
        loop {
            if let Machine::Running(vm) = &mut self.machine {
                match vm.run(Some(self.control.as_fd()))? {
                    Stop::Control => {}
                    Stop::Ended(reason) => return self.end(reason),
                }
            } else {
                self.wait()?;
            }
            let (command, files) = match receive::<Command>(self.control.as_fd()) {
                Ok(Some(message)) => message,
                // The host is gone, and so is the VM's purpose.
                Ok(None) => return Ok(()),
                Err(VmmError::Os { cause, .. })
                    if cause.kind() == std::io::ErrorKind::WouldBlock =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if matches!(command, Command::Stop) {
                return self.end(ExitReason::Stopped);
            }
            match self.follow(command, files) {
                Ok(reply) => self.reply(reply)?,
                Err(Refusal::Error(error @ VmmError::WrongMoment { .. })) => {
                    self.reply(Reply::NotNow(error.to_string()))?;
                }
                Err(Refusal::Error(error)) => self.reply(Reply::Failed(error.to_string()))?,
                Err(Refusal::Ended(reason)) => return self.end(reason),
            }
            if matches!(self.machine, Machine::Spent) {
                return self.end(ExitReason::Vmm {
                    what: "the VM could not be started".to_owned(),
                });
            }
        }
    }

    /// Does what `command` says.
    fn follow(&mut self, command: Command, mut files: Files) -> Result<Reply, Refusal> {
        match command {
            Command::Boot {
                layout,
                command_line,
                has_channel,
            } => self.boot(layout, &command_line, has_channel, &mut files),
            Command::Restore {
                state,
                working_set,
                has_pages,
                has_channel,
                paused,
            } => {
                let fork = Fork {
                    state: VmState::decode(&state)?,
                    working_set,
                    has_pages,
                    has_channel,
                };
                let reply = self.restore(&fork, &mut files)?;
                if paused {
                    self.pause()?;
                }
                Ok(reply)
            }
            Command::AttachChannel => {
                let channel = next(&mut files)?;
                self.vm("attaching a channel")?.attach_channel(channel)?;
                Ok(Reply::Done)
            }
            Command::Pause => self.pause(),
            Command::Resume => self.resume(),
            Command::Interrupt => {
                let vm = self.vm("interrupting")?;
                Ok(Reply::Interrupted(interrupt::apply(
                    vm.memory.ram(),
                    ukernel_abi::interrupt::INTERRUPT_TABLE,
                )?))
            }
            Command::Snapshot { with_pages } => self.snapshot(with_pages, &mut files),
            Command::WorkingSet => self.working_set(),
            Command::Stats => self.stats(),
            Command::Prepare { .. } | Command::Stop => Err(wrong("this command", "it came late")),
        }
    }

    fn boot(
        &mut self,
        layout: MemoryLayout,
        command_line: &str,
        has_channel: bool,
        files: &mut Files,
    ) -> Result<Reply, Refusal> {
        let started = Instant::now();
        let layout = layout.validated()?;
        let mut kernel = File::from(next(files)?);
        let ram = next(files)?.into();
        let image = image(layout, files)?;
        let blank = self.blank("booting")?;
        let memory = GuestMemory::map(layout, ram, Backing::Shared, image)?;
        let map_us = micros(started);
        let devices = Devices::new(Serial::new(None), Transport::default(), Default::default());
        let mut vm = blank.boot(memory, &mut kernel, command_line, devices)?;
        if has_channel {
            vm.attach_channel(next(files)?)?;
        }
        self.machine = Machine::Running(Box::new(vm));
        Ok(Reply::Started(StartTimes {
            map_us,
            populate_us: 0,
            state_us: micros(started) - map_us,
        }))
    }

    fn restore(&mut self, fork: &Fork, files: &mut Files) -> Result<Reply, Refusal> {
        let started = Instant::now();
        let layout = fork.state.layout;
        let template = next(files)?.into();
        let image = image(layout, files)?;
        let blank = self.blank("restoring")?;
        let memory = GuestMemory::map(layout, template, Backing::Private, image)?;
        let map_us = micros(started);
        fork.working_set.populate(&memory)?;
        if fork.has_pages {
            diff::apply(&memory, &mut File::from(next(files)?))?;
        }
        let populate_us = micros(started) - map_us;
        let mut vm = blank.restore(memory, &fork.state, Serial::new(None))?;
        if fork.has_channel {
            vm.attach_channel(next(files)?)?;
        }
        self.machine = Machine::Running(Box::new(vm));
        Ok(Reply::Started(StartTimes {
            map_us,
            populate_us,
            state_us: micros(started) - map_us - populate_us,
        }))
    }

    fn pause(&mut self) -> Result<Reply, Refusal> {
        self.machine = match std::mem::replace(&mut self.machine, Machine::Spent) {
            Machine::Running(vm) | Machine::Paused(vm) => Machine::Paused(vm),
            other => {
                self.machine = other;
                return Err(wrong("pausing", "nothing runs"));
            }
        };
        Ok(Reply::Done)
    }

    fn resume(&mut self) -> Result<Reply, Refusal> {
        self.machine = match std::mem::replace(&mut self.machine, Machine::Spent) {
            Machine::Running(vm) | Machine::Paused(vm) => Machine::Running(vm),
            other => {
                self.machine = other;
                return Err(wrong("resuming", "nothing was paused"));
            }
        };
        Ok(Reply::Done)
    }

    fn snapshot(&mut self, with_pages: bool, files: &mut Files) -> Result<Reply, Refusal> {
        let Machine::Paused(vm) = &mut self.machine else {
            return Err(wrong("a snapshot", "the VM is not paused"));
        };
        if let Some(reason) = vm.settle() {
            return Err(Refusal::Ended(reason));
        }
        // What a template starts with costs every fork; only a fork may keep its channel.
        let state = vm.save(with_pages)?.encode()?;
        let mut count = 0;
        if with_pages {
            let written = written_pages(self.pagemap.as_ref(), vm)?;
            count = diff::write(vm.memory(), &written, &mut File::from(next(files)?))?;
        }
        Ok(Reply::State {
            state,
            pages: count,
        })
    }

    fn working_set(&mut self) -> Result<Reply, Refusal> {
        let pagemap = self.pagemap.as_ref();
        let (Machine::Running(vm) | Machine::Paused(vm)) = &self.machine else {
            return Err(wrong("listing pages", "nothing runs"));
        };
        let written = written_pages(pagemap, vm)?;
        Ok(Reply::WorkingSet(WorkingSet::from_trial(written)))
    }

    fn stats(&mut self) -> Result<Reply, Refusal> {
        let usage = self.usage.as_ref().and_then(MemoryUsage::read);
        let vm = self.vm("reading statistics")?;
        Ok(Reply::Stats(Stats {
            phases: vm.devices().phases(),
            counters: vm.counters(),
            pss_bytes: usage.map(|usage| usage.pss_bytes),
            private_bytes: usage.map(|usage| usage.private_bytes),
        }))
    }

    /// Reports why the VM ended. The process ends next.
    fn end(&self, reason: ExitReason) -> Result<()> {
        let (registers, serial_tail) = match &self.machine {
            Machine::Running(vm) | Machine::Paused(vm) => {
                (vm.describe_registers(), vm.devices().serial.tail())
            }
            Machine::Blank(_) | Machine::Spent => (None, Vec::new()),
        };
        let ending = Ending {
            reason,
            registers,
            serial_tail,
        };
        send(self.control.as_fd(), &Notice::Exited(ending), &[])
    }

    fn reply(&self, reply: Reply) -> Result<()> {
        send(self.control.as_fd(), &Notice::Reply(reply), &[])
    }

    /// Waits for the control socket.
    fn wait(&self) -> Result<()> {
        let mut sockets = [PollFd::new(&self.control, PollFlags::IN)];
        match poll(&mut sockets, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(VmmError::os("poll", error)),
        }
    }

    fn vm(&mut self, command: &'static str) -> Result<&mut Vm, Refusal> {
        match &mut self.machine {
            Machine::Running(vm) | Machine::Paused(vm) => Ok(vm),
            Machine::Blank(_) | Machine::Spent => Err(wrong(command, "nothing runs")),
        }
    }

    /// The blank VM, to be used up. If that fails the process has no VM any more.
    fn blank(&mut self, command: &'static str) -> Result<BlankVm, Refusal> {
        match std::mem::replace(&mut self.machine, Machine::Spent) {
            Machine::Blank(blank) => Ok(*blank),
            other => {
                self.machine = other;
                Err(wrong(command, "this process has a VM already"))
            }
        }
    }
}

/// What to restore, without the files.
struct Fork {
    state: VmState,
    working_set: WorkingSet,
    has_pages: bool,
    has_channel: bool,
}

/// Why a command was not followed.
enum Refusal {
    /// It failed; the VM goes on.
    Error(VmmError),
    /// It brought out that the guest broke the contract.
    Ended(ExitReason),
}

impl From<VmmError> for Refusal {
    fn from(error: VmmError) -> Self {
        Self::Error(error)
    }
}

fn wrong(command: &'static str, cause: &'static str) -> Refusal {
    Refusal::Error(VmmError::WrongMoment { command, cause })
}

fn written_pages(pagemap: Option<&PageMap>, vm: &Vm) -> Result<Vec<PageRange>> {
    pagemap
        .ok_or(VmmError::WrongMoment {
            command: "listing pages",
            cause: "/proc is not mounted where the VM was started",
        })?
        .written(vm.memory())
}

fn image(layout: MemoryLayout, files: &mut Files) -> Result<Option<File>> {
    (layout.image_bytes() > 0)
        .then(|| next(files).map(File::from))
        .transpose()
}

fn next(files: &mut Files) -> Result<OwnedFd> {
    files.next().ok_or(VmmError::Protocol {
        cause: "a file is missing beside a command",
    })
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
