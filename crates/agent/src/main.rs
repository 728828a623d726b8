//! The first process of the Linux guest, and the agent that speaks to the host.
//!
//! ```text
//!   kernel ── /init ──> init: drivers, overlay, /proc ... ──> agent ── launch ──> bash, python3, programs
//!                         │ reaps orphans; ends the VM when the agent ends       (user `user`, cgroup `user`)
//! ```
//! One static program in four roles; the fourth is that of the commands `query_llm` and its like. It owns the channel inside the VM and everything user code may use. It refuses to
//! trust user code: that is another user in another control group, which can end neither role.

mod bash;
mod calls;
mod commands;
mod entropy;
mod execution;
mod files;
mod individual;
mod init;
mod launch;
mod message;
mod output;
mod overlay;
mod port;
mod program;
mod python;
mod service;
mod streams;
mod terminal;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if let Some(command) = commands::named(&name) {
        return command.run(arguments);
    }
    let role = arguments.next();
    let ended = match role.as_ref().and_then(|role| role.to_str()) {
        Some("agent") => service::run(),
        Some("launch") => launch::run(arguments),
        _ if std::process::id() == 1 => init::run(),
        _ => Err(std::io::Error::other(
            "this is the first process of a VM: it does nothing elsewhere",
        )),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ukernel-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
