//! The guest inside a machine: greeting it, running code, moving files.
//!
//! ```text
//!   Guest ── exec ──> Execution ── next ──> events ... Ended
//!     │                  └ signals, input, answers: handles that may be used meanwhile
//!     └─ one Connection: a task that reads, hands on, and writes what is queued
//! ```
//! Everything here is asynchronous and needs a tokio runtime; no thread waits for a guest.

mod blocking;
mod connection;
mod event;
mod execution;
mod files;
pub mod follow;
mod room;
mod state;

pub use blocking::{BlockingGuest, Handles};
pub use event::{Ended, Event};
pub use execution::{Answers, Execution, Input, Signals};
pub use follow::{Events, Until, feed, follow};

use crate::{Channel, MachineError, Result};
use connection::Link;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ukernel_abi::message::{Exec, GuestMessage, HostMessage, PROTOCOL_VERSION};
use ukernel_abi::parts::cut;

/// How long a guest may take to say hello: a cold boot on a loaded host.
const GREETING_TIMEOUT: Duration = Duration::from_secs(60);

/// More executions than this at once no guest is believed to run.
const MAX_CAPACITY: u32 = 1024;

/// A greeted guest. Dropping it, and every execution of it, closes the connection.
#[derive(Debug)]
pub struct Guest {
    connection: Arc<Link>,
    name: String,
    /// Executions that may still begin.
    slots: Arc<Semaphore>,
    capacity: u32,
}

impl Guest {
    /// Greets the guest and makes it an individual: fresh entropy, the time, an identity.
    ///
    /// # Errors
    /// [`MachineError::Version`], [`MachineError::Refused`], [`MachineError::Closed`],
    /// [`MachineError::TimedOut`], [`MachineError::Frame`], [`MachineError::Unexpected`].
    pub async fn greet(channel: Channel) -> Result<Self> {
        let (connection, mut greetings) = Link::open(channel.into_stream()?)?;
        let greeted = async {
            let name = match connection.greeting(&mut greetings).await? {
                GuestMessage::Hello {
                    version: PROTOCOL_VERSION,
                    guest,
                } => guest,
                GuestMessage::Hello { version, .. } => {
                    return Err(MachineError::Version {
                        theirs: version,
                        ours: PROTOCOL_VERSION,
                    });
                }
                other => return Err(state::unexpected(&other)),
            };
            match connection.greeting(&mut greetings).await? {
                GuestMessage::Ready { capacity } if (1..=MAX_CAPACITY).contains(&capacity) => {
                    Ok((name, capacity))
                }
                GuestMessage::Refused { reason } => Err(MachineError::Refused(reason)),
                other => Err(state::unexpected(&other)),
            }
        };
        let (name, capacity) = timeout(GREETING_TIMEOUT, greeted)
            .await
            .map_err(|_| MachineError::TimedOut(GREETING_TIMEOUT))??;
        Ok(Self {
            connection,
            name,
            slots: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
        })
    }

    /// What runs there, for people: `ukernel/0.1.0 python`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Executions it runs at once; those beyond wait in [`Self::exec`].
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Begins an execution, when the guest can run one more.
    ///
    /// # Errors
    /// [`MachineError::Closed`], [`MachineError::Frame`] if arguments and the like are too long
    /// for a message.
    pub async fn exec(&self, mut exec: Exec) -> Result<Execution> {
        let slots = Arc::clone(&self.slots);
        let slot = slots
            .acquire_owned()
            .await
            .map_err(|_| MachineError::Closed)?;
        let source = std::mem::take(&mut exec.source);
        let (first, rest) = cut(&source);
        exec.source = first.to_vec();
        let has_input = exec.has_input;
        let execution = Execution::begin(Arc::clone(&self.connection), slot, has_input)?;
        let id = execution.id();
        let message = HostMessage::Exec {
            id,
            exec,
            source_bytes: source.len() as u64,
        };
        self.connection.send(&message).await?;
        for part in rest {
            let bytes = part.to_vec();
            let message = HostMessage::ExecPart { id, bytes };
            self.connection.send(&message).await?;
        }
        Ok(execution)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// [`MachineError::TimedOut`], [`MachineError::Closed`].
    pub async fn ping(&self, within: Duration) -> Result<()> {
        timeout(within, self.connection.ping())
            .await
            .map_err(|_| MachineError::TimedOut(within))?
    }
}

#[cfg(test)]
mod tests;
