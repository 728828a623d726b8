//! What every backend has to do, tried on every backend this host has.
//!
//! One list of behaviours, one test per behaviour and backend. What the host lacks is
//! listed as ignored, with the reason.
//!
//! Read from the environment: `UKERNEL_TEST_KERNEL` and `UKERNEL_TEST_IMAGE` (built where
//! they are not given), `UKERNEL_FIRECRACKER` (else found on `PATH`).

mod calls;
mod ending;
mod execution;
mod files;
mod ground;
mod hostile;
mod lifecycle;
mod limits;
mod shell;
mod snapshots;
mod templates;

use ground::{Artifacts, Ground};
use libtest_mimic::{Arguments, Failed, Trial};
use std::sync::Arc;
use ukernel_machine::BackendKind;

type Behaviour = (&'static str, fn(&Ground));

fn behaviours() -> impl Iterator<Item = Behaviour> {
    [
        execution::BEHAVIOURS,
        calls::BEHAVIOURS,
        files::BEHAVIOURS,
        lifecycle::BEHAVIOURS,
        ending::BEHAVIOURS,
        hostile::BEHAVIOURS,
        shell::BEHAVIOURS,
        templates::BEHAVIOURS,
        limits::BEHAVIOURS,
        snapshots::BEHAVIOURS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

fn main() {
    let arguments = Arguments::from_args();
    let artifacts = Artifacts::find(&arguments);
    let mut skipped = 0;
    let mut trials = Vec::new();
    for kind in BackendKind::ALL {
        let lack = match &artifacts {
            Ok(_) => ground::lack_of(kind),
            Err(why) => Some(why.clone()),
        };
        if let Some(why) = &lack {
            eprintln!("SKIPPED: {}: {why}", kind.name());
        }
        for (name, behaviour) in behaviours() {
            skipped += usize::from(lack.is_some());
            let artifacts = artifacts.clone().ok();
            let why = lack.clone().unwrap_or_default();
            let run = move || match artifacts {
                Some(artifacts) if why.is_empty() => try_out(kind, artifacts, behaviour),
                _ => Err(Failed::from(why)),
            };
            let trial = Trial::test(format!("{}::{name}", kind.name()), run);
            trials.push(trial.with_ignored_flag(lack.is_some()));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if skipped > 0 {
        eprintln!("SKIPPED: {skipped} of the tests above, which this host cannot run");
    }
    conclusion.exit();
}

fn try_out(
    kind: BackendKind,
    artifacts: Arc<Artifacts>,
    behaviour: fn(&Ground),
) -> Result<(), Failed> {
    let ground = Ground::new(kind, artifacts)?;
    behaviour(&ground);
    ground.is_clean()
}
