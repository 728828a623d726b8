//! The command as a user meets it: what goes in, what comes out, which exit code.
//!
//! Real VMs throughout. State is kept in the target folder, so kernel and image are built
//! once. What the host lacks is listed as ignored, with the reason.

mod ground;
mod host;
mod programs;
mod store;
mod usage;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let lack = ukernel_vmm::open_kvm().err().map(|error| error.to_string());
    let mut skipped = 0;
    let mut trials = Vec::new();
    let groups: [(&str, bool, &[ground::Behaviour]); 4] = [
        ("usage", false, usage::BEHAVIOURS),
        ("programs", true, programs::BEHAVIOURS),
        ("store", true, store::BEHAVIOURS),
        ("host", true, host::BEHAVIOURS),
    ];
    for (group, needs_kvm, behaviours) in groups {
        for (name, behaviour) in behaviours {
            let lack = lack.as_ref().filter(|_| needs_kvm);
            skipped += usize::from(lack.is_some());
            let behaviour = *behaviour;
            let trial = Trial::test(format!("{group}::{name}"), move || {
                behaviour();
                Ok(())
            });
            trials.push(trial.with_ignored_flag(lack.is_some()));
        }
    }
    if lack.is_none() && !arguments.list {
        // Building under a test's clock would look like the test's own slowness.
        ground::build_once();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(why) = lack {
        eprintln!("SKIPPED: {skipped} of the tests above: {why}");
    }
    conclusion.exit();
}
