//! The thread that starts Firecracker processes.
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
pub(super) struct Starter {
    requests: Sender<Request>,
}

impl Starter {
    pub(super) fn new() -> Result<Self> {
        let (requests, received) = channel::<Request>();
        std::thread::Builder::new()
            .name("ukernel-firecracker".to_owned())
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
        Ok(Self { requests })
    }

    pub(super) fn start(&self, command: Command) -> Result<Child> {
        let gone = || MachineError::io("asking the starting thread", io::ErrorKind::BrokenPipe);
        let (answer, answered) = channel();
        self.requests.send((command, answer)).map_err(|_| gone())?;
        answered
            .recv()
            .map_err(|_| gone())?
            .map_err(|error| MachineError::Unavailable {
                backend: "firecracker",
                cause: format!("it cannot be started ({error}); check that it is a program"),
            })
    }
}
