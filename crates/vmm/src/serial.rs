//! The serial log: a 16550 whose output is kept as a bounded tail.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use ukernel_abi::layout::PORT_SERIAL;
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial as Uart};

/// Bytes of serial output kept.
pub const SERIAL_TAIL_BYTES: usize = 16 << 10;

/// Registers of a 16550.
const REGISTERS: u16 = 8;

/// There is no interrupt controller, so the UART's interrupts go nowhere.
#[derive(Debug)]
struct NoInterrupt;

impl Trigger for NoInterrupt {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Keeps the last [`SERIAL_TAIL_BYTES`] and optionally forwards everything.
struct Tail {
    bytes: VecDeque<u8>,
    forward: Option<Box<dyn Write>>,
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if self.bytes.len() == SERIAL_TAIL_BYTES {
                self.bytes.pop_front();
            }
            self.bytes.push_back(*byte);
        }
        if let Some(forward) = &mut self.forward {
            // The log is a convenience: a reader that went away must not end the VM.
            let _ = forward.write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // The UART flushes after every byte; the writer knows better when to.
        Ok(())
    }
}

/// The guest's serial port.
pub struct Serial {
    uart: Uart<NoInterrupt, NoEvents, Tail>,
}

impl Serial {
    /// A port whose output also goes to `forward`, if given.
    #[must_use]
    pub fn new(forward: Option<Box<dyn Write>>) -> Self {
        let tail = Tail {
            bytes: VecDeque::new(),
            forward,
        };
        Self {
            uart: Uart::new(NoInterrupt, tail),
        }
    }

    /// The register an I/O port addresses, if it is one of this device.
    #[must_use]
    pub fn register(port: u16) -> Option<u8> {
        let offset = port.checked_sub(PORT_SERIAL)?;
        u8::try_from(offset).ok().filter(|_| offset < REGISTERS)
    }

    /// The guest writes a register.
    pub fn write(&mut self, register: u8, value: u8) {
        // Fails only when input overflows in loopback mode: the guest's own doing.
        let _ = self.uart.write(register, value);
    }

    /// The guest reads a register.
    pub fn read(&mut self, register: u8) -> u8 {
        self.uart.read(register)
    }

    /// The last bytes written, at most [`SERIAL_TAIL_BYTES`].
    #[must_use]
    pub fn tail(&self) -> Vec<u8> {
        self.uart.writer().bytes.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_bytes_only() {
        let mut serial = Serial::new(None);
        let total = SERIAL_TAIL_BYTES + 1000;
        for i in 0..total {
            serial.write(0, (i % 251) as u8);
        }
        let tail = serial.tail();
        assert_eq!(tail.len(), SERIAL_TAIL_BYTES);
        assert_eq!(tail.last(), Some(&(((total - 1) % 251) as u8)));
    }

    #[test]
    fn the_transmitter_is_always_ready() {
        let mut serial = Serial::new(None);
        assert_eq!(serial.read(5) & 0x60, 0x60);
    }

    #[test]
    fn knows_its_ports() {
        assert_eq!(Serial::register(0x3f7), None);
        assert_eq!(Serial::register(0x3f8), Some(0));
        assert_eq!(Serial::register(0x3ff), Some(7));
        assert_eq!(Serial::register(0x400), None);
    }
}
