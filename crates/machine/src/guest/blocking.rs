//! A guest for callers without a runtime: tools, benchmarks, tests. One thing at a time.

use super::follow::{Events, Reach, Until, follow};
use super::{Answers, Ended, Event, Guest, Input};
use crate::{Channel, MachineError, Result};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use ukernel_abi::message::Exec;

/// A greeted guest with a runtime of its own. Not to be used within another one.
#[derive(Debug)]
pub struct BlockingGuest {
    // Before the runtime, whose end it must not outlive.
    guest: Guest,
    runtime: Runtime,
}

/// What may be done with an execution that is followed.
#[derive(Debug)]
pub struct Handles {
    /// Answers its host calls.
    pub answers: Answers,
    /// Sends its input.
    pub input: Input,
}

/// Takes what an execution says, and may answer it.
pub type Each<'a> = &'a mut (dyn FnMut(Event, &Handles) -> Result<()> + Send);

struct Calling<'a>(Each<'a>, Handles);

impl Events for Calling<'_> {
    async fn take(&mut self, event: Event) -> Result<()> {
        (self.0)(event, &self.1)
    }
}

impl BlockingGuest {
    /// As [`Guest::greet`].
    ///
    /// # Errors
    /// As [`Guest::greet`]; [`MachineError::Io`] if no runtime can be started.
    pub fn greet(channel: Channel) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| MachineError::io("starting a runtime", error))?;
        let guest = runtime.block_on(Guest::greet(channel))?;
        Ok(Self { guest, runtime })
    }

    /// Runs something to its end.
    ///
    /// # Errors
    /// As [`follow`].
    pub fn exec(
        &mut self,
        exec: Exec,
        until: &Until,
        reach: &Reach<'_>,
        each: Each<'_>,
    ) -> Result<Ended> {
        self.runtime.block_on(async {
            let execution = self.guest.exec(exec).await?;
            let handles = Handles {
                answers: execution.answers(),
                input: execution.input(),
            };
            follow(execution, until, reach, &mut Calling(each, handles)).await
        })
    }

    /// What runs there: [`Guest::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        self.guest.name()
    }

    /// As [`Guest::write_file`].
    ///
    /// # Errors
    /// As [`Guest::file`].
    pub fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.runtime.block_on(self.guest.write_file(path, content))
    }

    /// As [`Guest::read_file`].
    ///
    /// # Errors
    /// As [`Guest::file`].
    pub fn read_file(&mut self, path: &str, max_bytes: usize) -> Result<Vec<u8>> {
        self.runtime.block_on(self.guest.read_file(path, max_bytes))
    }

    /// As [`Guest::ping`].
    ///
    /// # Errors
    /// As [`Guest::ping`].
    pub fn ping(&mut self, within: Duration) -> Result<()> {
        self.runtime.block_on(self.guest.ping(within))
    }
}
