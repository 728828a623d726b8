//! The `ukernel` command: a thin door. It parses, reads the environment, and hands on.
//!
//! The same program is also every VM process: the embedded VMM runs it again with
//! [`VM_ARGUMENT`], long before any of the command's own code.
#![forbid(unsafe_code)]

mod args;
mod audit;
mod bench;
mod cancel;
mod daemon;
mod doctor;
mod engine;
mod failure;
mod home;
mod image;
mod mcp;
mod post_mortem;
mod progress;
mod rlm;
mod run;
mod session;
mod settings;
mod target;
mod trace;

use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

/// First argument of a process that is to become a VM.
const VM_ARGUMENT: &str = "__vm";

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == VM_ARGUMENT)
    {
        ukernel_vmm::vm_main();
    }
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors; everything else is wrong usage. Printing can
            // fail only where there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                failure::USAGE
            } else {
                0
            });
        }
    };
    let result = match args.command {
        args::Command::Run(run) => run::run(&run),
        args::Command::Session(session) => session::session(&session),
        args::Command::Image(image) => image::image(&image),
        args::Command::Serve(serve) => daemon::serve(&serve),
        args::Command::Rlm(rlm) => rlm::rlm(&rlm),
        args::Command::Mcp(mcp) => mcp::mcp(&mcp),
        args::Command::Trace(trace) => trace::trace(&trace),
        args::Command::Doctor(doctor) => doctor::doctor(&doctor),
        args::Command::Audit(audit) => audit::audit(&audit),
        args::Command::Bench(bench) => bench::bench(&bench),
        args::Command::Completions(completions) => args::completions(&completions),
        args::Command::Man => args::man(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("{failure}");
    ExitCode::from(failure.code())
}
