//! The thread that starts the processes of a backend.
//!
//! A process dies with the *thread* that started it (`PR_SET_PDEATHSIG`), and pools of
//! threads let theirs come and go. So one thread starts all, and lives until the backend,
//! its machines and its templates are dropped.

use crate::{MachineError, Result};
use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};

type Request = (Command, Sender<io::Result<Child>>);

#[derive(Debug)]
pub(crate) struct Starter {
    backend: &'static str,
    requests: Sender<Request>,
}

impl Starter {
    /// A thread that starts processes of the backend of this name.
    pub(crate) fn new(backend: &'static str) -> Result<Self> {
        let (requests, received) = channel::<Request>();
        std::thread::Builder::new()
            .name(format!("ukernel-{backend}"))
            .stack_size(128 << 10)
            .spawn(move || {
                for (mut command, answer) in received {
                    ukernel_vmm::orphan::end_with_this_thread(&mut command);
                    if let Err(unheard) = answer.send(command.spawn())
                        && let Ok(mut child) = unheard.0
                    {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                }
            })
            .map_err(|error| MachineError::io("starting a thread", error))?;
        Ok(Self { backend, requests })
    }

    /// Starts a process.
    pub(crate) fn start(&self, command: Command) -> Result<Child> {
        let gone = || MachineError::io("asking the starting thread", io::ErrorKind::BrokenPipe);
        let (answer, answered) = channel();
        self.requests.send((command, answer)).map_err(|_| gone())?;
        answered
            .recv()
            .map_err(|_| gone())?
            .map_err(|error| MachineError::Unavailable {
                backend: self.backend,
                cause: format!("it cannot be started ({error}); check that it is a program"),
            })
    }
}
