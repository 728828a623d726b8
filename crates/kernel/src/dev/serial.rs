//! The serial log. A byte costs an exit, so it is for what cannot be said on the channel.

use super::port;
use core::fmt::{Arguments, Write};
use ukernel_abi::layout::PORT_SERIAL;

struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            port::write_u8(PORT_SERIAL, byte);
        }
        Ok(())
    }
}

/// Writes one line.
pub(crate) fn line(text: Arguments<'_>) {
    // Serial never fails.
    let _ = writeln!(Serial, "{text}");
}
