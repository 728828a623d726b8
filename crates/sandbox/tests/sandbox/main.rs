//! What sessions promise, tried on real VMs: state, snapshots, limits, faults, and a model.
//!
//! Read from the environment: `UKERNEL_TEST_BACKEND`, the backend to try (`kvm`).

mod commands;
mod faults;
mod files;
mod ground;
mod lifetime;
mod limits;
mod model;
mod pool;
mod restart;
mod sessions;
mod snapshots;

use ground::Ground;
use libtest_mimic::{Arguments, Failed, Trial};

type Behaviour = (&'static str, fn(&Ground));

fn behaviours() -> impl Iterator<Item = Behaviour> {
    [
        sessions::BEHAVIOURS,
        commands::BEHAVIOURS,
        snapshots::BEHAVIOURS,
        files::BEHAVIOURS,
        limits::BEHAVIOURS,
        lifetime::BEHAVIOURS,
        pool::BEHAVIOURS,
        faults::BEHAVIOURS,
        restart::BEHAVIOURS,
        model::BEHAVIOURS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

fn main() {
    let arguments = Arguments::from_args();
    let lack = if arguments.list {
        None
    } else {
        ground::prepare().err()
    };
    if let Some(why) = &lack {
        eprintln!("SKIPPED: all of these: {why}");
    }
    let trials = behaviours()
        .map(|(name, behaviour)| {
            let run = move || -> Result<(), Failed> {
                let ground = Ground::new()?;
                behaviour(&ground);
                Ok(())
            };
            Trial::test(name, run).with_ignored_flag(lack.is_some())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
