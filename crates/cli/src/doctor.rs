//! `ukernel doctor`: what this host can do.

use crate::args::Doctor;
use crate::failure::Failure;

/// `ukernel doctor`
pub fn doctor(_: &Doctor) -> Result<u8, Failure> {
    Err(Failure::host(
        "the probe is not part of this build yet",
        "use `ukernel run`",
    ))
}
