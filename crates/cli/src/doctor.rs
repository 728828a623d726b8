//! `ukernel doctor`: what this host can do, and which backend `auto` picks.

use crate::args::Doctor;
use crate::engine::vm_processes;
use crate::failure::{Failure, HOST};
use crate::home;
use crate::run::print_json;
use serde::Serialize;
use ukernel_machine::kvm::Kvm;
use ukernel_machine::probe::{Finding, ModeSpeed, Probe, Report, choose};
use ukernel_vmm::jail::JailReport;

/// The report, and the choice made from it.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    report: Report,
    jail: Option<JailReport>,
    backend: Choice,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Choice {
    Picked { auto: &'static str, because: String },
    None { auto: (), because: String },
}

/// `ukernel doctor`. Exit code 3 if no backend works here.
pub fn doctor(args: &Doctor) -> Result<u8, Failure> {
    let report = Probe::run(&home::probe_config()?);
    let jail = Kvm::new(vm_processes()?).and_then(|kvm| kvm.jail()).ok();
    let backend = match choose(&report, None) {
        Ok((kind, because)) => Choice::Picked {
            auto: kind.name(),
            because,
        },
        Err(error) => Choice::None {
            auto: (),
            because: error.to_string(),
        },
    };
    let code = match backend {
        Choice::Picked { .. } => 0,
        Choice::None { .. } => HOST,
    };
    if args.json {
        print_json(&Document {
            report,
            jail,
            backend,
        })?;
    } else {
        print_table(&report, jail.as_ref(), &backend);
    }
    Ok(code)
}

fn print_table(report: &Report, jail: Option<&JailReport>, backend: &Choice) {
    line("KVM", &report.kvm, |kvm| {
        format!(
            "API {}, guest user mode {}, supervisor mode {}",
            kvm.api_version,
            speed(&kvm.user),
            speed(&kvm.supervisor)
        )
    });
    if let Some(jail) = jail {
        println!("{:<12} {}", "VM processes", confinement(jail));
    }
    line("Firecracker", &report.firecracker, |found| {
        format!("{} ({})", found.version, found.path.display())
    });
    line("QEMU", &report.qemu, |found| {
        format!("{} ({})", found.version, found.path.display())
    });
    line("Docker", &report.docker, |docker| {
        match docker.engine.ok() {
            Some(engine) => format!("engine {}", engine.version),
            None => format!("client only: {}", docker.engine.trouble()),
        }
    });
    line("cgroups", &report.cgroups, |cgroups| {
        format!("v{}: {}", cgroups.version, cgroups.controllers.join(", "))
    });
    line("Landlock", &report.landlock, |landlock| {
        format!("ABI {}", landlock.abi)
    });
    line("userfaultfd", &report.userfaultfd, |found| {
        format!("through {}", found.through)
    });
    line("disk", &report.disk, |disk| {
        format!(
            "{} free of {} at {}",
            gib(disk.free_bytes),
            gib(disk.total_bytes),
            disk.path.display()
        )
    });
    let memory = report
        .resources
        .memory_bytes
        .map_or("unknown".to_owned(), gib);
    println!(
        "{:<12} {} cores, {memory} memory",
        "resources", report.resources.cores
    );
    println!("{:<12} {}", "Linux guest", linux(report));
    match backend {
        Choice::Picked { auto, because } => println!("{:<12} {auto}: {because}", "auto picks"),
        Choice::None { because, .. } => println!("{:<12} nothing: {because}", "auto picks"),
    }
}

/// What runs the Linux guest here, or what it lacks.
fn linux(report: &Report) -> String {
    if report.qemu.ok().is_none() {
        return format!("no: {}", report.qemu.trouble());
    }
    if report.linux_tools.ok().is_none() {
        return format!("no: {}", report.linux_tools.trouble());
    }
    match report.kvm.ok() {
        Some(kvm) if kvm.supervisor.native => "on QEMU with KVM".to_owned(),
        _ => "on QEMU, emulated: a host with hardware KVM computes some 14 times faster".to_owned(),
    }
}

fn line<T>(name: &str, finding: &Finding<T>, show: impl FnOnce(&T) -> String) {
    let text = match finding.ok() {
        Some(found) => show(found),
        None => format!("no: {}", finding.trouble()),
    };
    println!("{name:<12} {text}");
}

fn confinement(jail: &JailReport) -> String {
    let missing: Vec<String> = jail
        .missing
        .iter()
        .map(|(measure, why)| format!("{measure:?} ({why})"))
        .collect();
    if missing.is_empty() {
        format!("confined by all {} measures", jail.applied.len())
    } else {
        format!("confined, but without {}", missing.join(", "))
    }
}

fn speed(speed: &ModeSpeed) -> String {
    let manner = if speed.native {
        "native"
    } else {
        "interpreted"
    };
    format!("{:.0} M instructions/s ({manner})", speed.minstr_per_s)
}

fn gib(bytes: u64) -> String {
    let mib = bytes >> 20;
    format!("{}.{} GiB", mib >> 10, (mib & 1023) * 10 / 1024)
}
