//! Everything the guest reaches by port or register: serial, phases, idle, exit, vsock.

use crate::exit::ExitReason;
use crate::memory::Ram;
use crate::mmio::{Effect, Transport};
use crate::serial::Serial;
use crate::vsock::Violation;
use std::time::{Duration, Instant};
use ukernel_abi::layout::{
    BootPhase, GuestExit, I8042_RESET, PORT_ALARM, PORT_EXIT, PORT_I8042, PORT_IDLE, PORT_PHASE,
};

/// Time from the start of the VM to each boot phase, in microseconds.
pub type Phases = [Option<u64>; BootPhase::ALL.len()];

/// What a guest's access asks of the run loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Go on.
    None,
    /// Wait for news, at most so many microseconds.
    Idle(u32),
    /// Reach what computes after so many microseconds.
    Alarm(u32),
    /// End the VM.
    End(ExitReason),
}

/// The devices of a VM.
pub struct Devices {
    /// The serial log.
    pub serial: Serial,
    /// The vsock device behind its registers.
    pub transport: Transport,
    phases: Phases,
    started: Instant,
}

impl Devices {
    /// Devices of a VM that starts now.
    #[must_use]
    pub fn new(serial: Serial, transport: Transport, phases: Phases) -> Self {
        Self {
            serial,
            transport,
            phases,
            started: Instant::now(),
        }
    }

    /// When each phase was reached.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.phases
    }

    /// Time since the devices were created.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The guest writes `data` to an I/O port.
    pub fn write_port(&mut self, port: u16, data: &[u8]) -> Request {
        if let Some(register) = Serial::register(port) {
            for byte in data {
                self.serial.write(register, *byte);
            }
            return Request::None;
        }
        let word = <[u8; 4]>::try_from(data).map(u32::from_le_bytes);
        match (port, word) {
            (PORT_IDLE, Ok(microseconds)) => Request::Idle(microseconds),
            (PORT_ALARM, Ok(microseconds)) => Request::Alarm(microseconds),
            (PORT_PHASE, Ok(code)) => {
                self.note_phase(code);
                Request::None
            }
            (PORT_EXIT, Ok(code)) => Request::End(ExitReason::Guest { code }),
            (PORT_I8042, _) if data == [I8042_RESET] => Request::End(ExitReason::Guest {
                code: GuestExit::Shutdown as u32,
            }),
            _ => Request::None,
        }
    }

    /// The guest reads an I/O port.
    pub fn read_port(&mut self, port: u16, data: &mut [u8]) {
        match Serial::register(port) {
            Some(register) => data.fill_with(|| self.serial.read(register)),
            None => data.fill(0xff),
        }
    }

    /// The guest writes a register of the vsock device.
    pub fn write_mmio(&mut self, ram: &Ram, offset: u64, data: &[u8]) -> Request {
        let result = match self.transport.write(ram, offset, data) {
            Effect::None => Ok(()),
            // The guest has just written the register, so it knows that it has to look.
            Effect::Process => self.process(ram, false),
            Effect::BadQueue => Err(ExitReason::ProtocolViolation {
                what: "the rings of a queue are not in RAM".to_owned(),
            }),
        };
        result.map_or_else(Request::End, |()| Request::None)
    }

    /// Moves data between host, queues and guest.
    ///
    /// # Errors
    /// The reason to end the VM, if the guest broke the contract.
    pub fn process(&mut self, ram: &Ram, tx_is_news: bool) -> Result<(), ExitReason> {
        if !self.transport.driver_ok() {
            return Ok(());
        }
        self.transport
            .vsock
            .process(ram, tx_is_news)
            .map_err(|violation: Violation| ExitReason::ProtocolViolation {
                what: violation.to_string(),
            })
    }

    fn note_phase(&mut self, code: u32) {
        let Some(phase) = BootPhase::from_code(code) else {
            return;
        };
        if let Some(slot) = self.phases.get_mut(phase as usize - 1) {
            let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            slot.get_or_insert(elapsed);
        }
        if phase == BootPhase::Listening {
            self.transport.vsock.guest_listens();
        }
    }
}
