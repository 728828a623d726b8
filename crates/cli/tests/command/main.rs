//! The command as a user meets it: what goes in, what comes out, which exit code.
//!
//! Real VMs throughout. State is kept in the target folder, so kernel and image are built
//! once. What the host lacks is listed as ignored, with the reason.

mod daemon;
mod desk;
mod files;
mod ground;
mod host;
mod images;
mod input;
mod linux;
mod mcp;
mod programs;
mod rlm;
mod rlm_live;
mod sessions;
mod store;
mod usage;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let no_kvm = ukernel_vmm::open_kvm().err().map(|error| error.to_string());
    let no_mounts = no_kvm.clone().or_else(host::lack);
    let no_linux = no_kvm.clone().or_else(linux::lack);
    let groups: [(&str, Option<String>, &[ground::Behaviour]); 17] = [
        ("usage", None, usage::BEHAVIOURS),
        (
            "usage",
            usage::reads_everything(),
            usage::FOR_OTHERS_THAN_ROOT,
        ),
        ("programs", no_kvm.clone(), programs::BEHAVIOURS),
        ("sessions", no_kvm.clone(), sessions::BEHAVIOURS),
        ("daemon", no_kvm.clone(), daemon::BEHAVIOURS),
        ("input", no_kvm.clone(), input::BEHAVIOURS),
        ("files", no_kvm.clone(), files::BEHAVIOURS),
        ("rlm", None, rlm::WITHOUT_VMS),
        ("rlm", no_kvm.clone(), rlm::BEHAVIOURS),
        ("rlm", no_kvm.clone(), rlm_live::BEHAVIOURS),
        ("mcp", None, mcp::WITHOUT_VMS),
        ("mcp", no_kvm.clone(), mcp::BEHAVIOURS),
        ("store", no_kvm.clone(), store::BEHAVIOURS),
        ("linux", no_linux.clone(), linux::BEHAVIOURS),
        ("images", linux::lack(), images::WITHOUT_VMS),
        ("images", no_linux, images::BEHAVIOURS),
        ("host", no_mounts, host::BEHAVIOURS),
    ];
    let mut trials = Vec::new();
    let mut skipped = Vec::new();
    for (group, lack, behaviours) in groups {
        for (name, behaviour) in behaviours {
            let behaviour = *behaviour;
            let trial = Trial::test(format!("{group}::{name}"), move || {
                behaviour();
                Ok(())
            });
            trials.push(trial.with_ignored_flag(lack.is_some()));
            skipped.extend(lack.as_ref().map(|why| format!("{group}::{name}: {why}")));
        }
    }
    if no_kvm.is_none() && !arguments.list {
        // Building under a test's clock would look like the test's own slowness.
        ground::build_once();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for test in &skipped {
        eprintln!("SKIPPED: {test}");
    }
    conclusion.exit();
}
