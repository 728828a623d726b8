//! What makes a machine an individual: copies are twins until they are greeted.

use crate::{MachineError, Result};
use std::fs::File;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};
use ukernel_abi::message::{HostMessage, Limits};

/// Identity and limits of one machine, said at the start of every connection to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    /// A guest that hears its own identity again knows that it is no copy.
    instance: [u8; 16],
    limits: Limits,
}

impl Greeting {
    /// A new identity.
    pub(crate) fn new(limits: Limits) -> Result<Self> {
        Ok(Self {
            instance: random()?,
            limits,
        })
    }

    /// The message that makes the guest an individual: fresh entropy, the time, its identity.
    pub(crate) fn resume(&self) -> Result<HostMessage> {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(HostMessage::Resume {
            entropy: random()?,
            wall_clock_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            instance: self.instance,
            limits: self.limits,
        })
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| MachineError::io("reading /dev/urandom", error))?;
    Ok(bytes)
}
