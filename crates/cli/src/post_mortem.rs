//! A machine that failed: what it last said.

use crate::failure::Failure;
use std::time::Duration;
use ukernel_machine::{Machine, MachineError};

/// How long to wait for a machine that hung up to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A machine that failed: why, and the end of its serial log.
pub fn post_mortem(machine: &mut dyn Machine, error: MachineError) -> Failure {
    let ending = match &error {
        MachineError::Closed => machine.wait_ending(LAST_WORDS).ok().flatten(),
        // Hostile or damaged: it is not waited for.
        _ => None,
    };
    let ended = match ending {
        Some(ending) => Some(ending),
        None => machine.kill().ok(),
    };
    let Some(ending) = ended else {
        return error.into();
    };
    let mut text = match &error {
        MachineError::Closed => format!("the VM died: {ending}"),
        other => format!("{other}; the VM was ended"),
    };
    let serial = String::from_utf8_lossy(&ending.serial_tail);
    if !serial.trim().is_empty() {
        eprintln!("serial log of the VM:\n{}", serial.trim_end());
        text.push_str("; its serial log is above");
    }
    if let (MachineError::Closed, Some(registers)) = (&error, &ending.registers) {
        eprintln!("registers:\n{registers}");
    }
    Failure::workload(text, None)
}
