//! The loop of a VM's one thread: run the guest, serve what it comes back with, and when
//! it has nothing to do, sleep until one of two sockets has something for it.
//!
//! ```text
//!            ┌────────────── KVM_RUN <──────────────┐
//!   signal   │         port, register │             │ news, or time is up
//!            v                        v             │
//!      look at sockets         serve it ── idle ──> sleep on control and channel
//!            │ control                                 │ control
//!            └──────────> back to the caller <─────────┘
//! ```

use crate::devices::Request;
use crate::exit::ExitReason;
use crate::interrupt;
use crate::vm::Vm;
use crate::{Result, VmmError};
use kvm_ioctls::VcpuExit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use ukernel_abi::interrupt::ALARM_TABLE;
use ukernel_abi::layout::{IDLE_FOREVER_US, VSOCK_MMIO_BASE, VSOCK_MMIO_BYTES};

/// Why [`Vm::run`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The control socket has something to say. The guest can be run on.
    Control,
    /// The guest will not run again.
    Ended(ExitReason),
}

/// When an idle guest goes on at the latest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    until: Option<Instant>,
}

impl Vm {
    /// Runs the guest until it ends or `control` has something to read.
    ///
    /// # Errors
    /// [`VmmError`] when the host fails; what the guest does is never an error.
    pub fn run(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Stop> {
        loop {
            if self.idle.is_some()
                && let Some(stop) = self.wait_idle(control)?
            {
                return Ok(stop);
            }
            if let Some(stop) = self.enter(control)? {
                return Ok(stop);
            }
        }
    }

    /// Enters the guest once and serves what it comes back with.
    fn enter(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Option<Stop>> {
        let memory = &self.memory;
        if self.alarm.take_due() && interrupt::apply(memory.ram(), ALARM_TABLE).is_err() {
            let what = "the alarm's table makes no sense".to_owned();
            return Ok(Some(Stop::Ended(ExitReason::ProtocolViolation { what })));
        }
        let request = match self.vcpu.run() {
            Ok(VcpuExit::IoOut(port, data)) => self.devices.write_port(port, data),
            Ok(VcpuExit::IoIn(port, data)) => {
                self.devices.read_port(port, data);
                Request::None
            }
            Ok(VcpuExit::MmioWrite(address, data)) => match device_offset(address) {
                Some(offset) => self.devices.write_mmio(memory.ram(), offset, data),
                None => {
                    self.slots.write(memory, address, data)?;
                    Request::None
                }
            },
            Ok(VcpuExit::MmioRead(address, data)) => {
                match device_offset(address) {
                    Some(offset) => self.devices.transport.read(offset, data),
                    None => self.slots.read(memory, address, data)?,
                }
                Request::None
            }
            // Without interrupts nothing wakes a halted vCPU.
            Ok(VcpuExit::Hlt) => Request::Idle(IDLE_FOREVER_US),
            Ok(VcpuExit::Intr) => return self.kicked(control),
            Ok(VcpuExit::Shutdown) => Request::End(cpu_failure("triple fault")),
            // The instruction may have touched RAM without a slot; then it runs when all is there.
            Ok(VcpuExit::InternalError) if self.slots.make_all(memory)? => Request::None,
            Ok(VcpuExit::InternalError) => Request::End(self.internal_error()),
            Ok(other) => Request::End(cpu_failure(&format!("{other:?}"))),
            Err(error) if error.errno() == libc::EINTR => return self.kicked(control),
            Err(error) => Request::End(cpu_failure(&format!("KVM_RUN: {error}"))),
        };
        self.counters.exits += 1;
        match request {
            Request::None => {}
            Request::Idle(microseconds) => {
                self.counters.idles += 1;
                self.idle = Some(Idle {
                    until: deadline(microseconds),
                });
            }
            Request::Alarm(microseconds) => self.alarm.set(microseconds)?,
            Request::End(reason) => return Ok(Some(Stop::Ended(reason))),
        }
        Ok(None)
    }

    /// What KVM says about an internal error: most often an instruction it cannot emulate.
    fn internal_error(&mut self) -> ExitReason {
        /// `KVM_INTERNAL_ERROR_EMULATION`, where flags, size and bytes follow.
        const EMULATION: u32 = 1;
        let run = self.vcpu.get_kvm_run();
        // SAFETY: the exit reason says that this member of the union is filled in, and
        // any bytes are a valid value of it.
        let details = unsafe { run.__bindgen_anon_1.internal };
        let words = details.data.len().min(details.ndata as usize);
        let words = &details.data[..words];
        cpu_failure(&if details.suberror == EMULATION {
            format!("KVM cannot emulate the instruction at rip (details {words:x?})")
        } else {
            format!("KVM internal error {} ({words:x?})", details.suberror)
        })
    }

    /// A signal took the vCPU out of the guest: see which socket it was.
    fn kicked(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Option<Stop>> {
        self.counters.exits += 1;
        self.counters.kicks += 1;
        self.kick.consume();
        if let Err(reason) = self.devices.process(self.memory.ram(), true) {
            return Ok(Some(Stop::Ended(reason)));
        }
        match control {
            Some(control) if is_readable(control)? => Ok(Some(Stop::Control)),
            _ => Ok(None),
        }
    }

    /// Waits until there is something for the guest, or its time is up.
    fn wait_idle(&mut self, control: Option<BorrowedFd<'_>>) -> Result<Option<Stop>> {
        while let Some(idle) = self.idle {
            if let Err(reason) = self.devices.process(self.memory.ram(), true) {
                return Ok(Some(Stop::Ended(reason)));
            }
            let now = Instant::now();
            if self.devices.transport.vsock.take_news() || idle.until.is_some_and(|at| at <= now) {
                self.idle = None;
                break;
            }
            let until = [idle.until, self.devices.transport.vsock.retry_at()]
                .into_iter()
                .flatten()
                .min();
            let timeout = until.map(|at| at.saturating_duration_since(now));
            if self.sleep(control, timeout)? {
                return Ok(Some(Stop::Control));
            }
        }
        Ok(None)
    }

    /// Sleeps until a socket is ready; `true` if it is the control socket.
    fn sleep(&self, control: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<bool> {
        let mut sockets = Vec::with_capacity(2);
        if let Some(control) = control {
            sockets.push(PollFd::from_borrowed_fd(control, PollFlags::IN));
        }
        if let Some((channel, read, write)) = self.devices.transport.vsock.interest() {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, read);
            events.set(PollFlags::OUT, write);
            sockets.push(PollFd::from_borrowed_fd(channel, events));
        }
        let timeout = timeout.map(|time| Timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(VmmError::os("poll", error)),
        }
        // What woke us also left its signal, which would only end the next KVM_RUN.
        self.kick.consume();
        Ok(control.is_some()
            && sockets
                .first()
                .is_some_and(|first| !first.revents().is_empty()))
    }
}

fn cpu_failure(what: &str) -> ExitReason {
    ExitReason::CpuFailure {
        what: what.to_owned(),
    }
}

/// The register an address means, if it is one of the device's.
fn device_offset(address: u64) -> Option<u64> {
    address
        .checked_sub(VSOCK_MMIO_BASE)
        .filter(|offset| *offset < VSOCK_MMIO_BYTES)
}

fn deadline(microseconds: u32) -> Option<Instant> {
    (microseconds != IDLE_FOREVER_US)
        .then(|| Instant::now() + Duration::from_micros(microseconds.into()))
}

fn is_readable(socket: BorrowedFd<'_>) -> Result<bool> {
    let mut sockets = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    let now = Timespec::default();
    match poll(&mut sockets, Some(&now)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(VmmError::os("poll", error)),
    }
}
