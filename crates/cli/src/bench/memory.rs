//! Memory of VMs of a session's size: as their processes have it, and as the host loses it.

use super::Setting;
use super::figure::Figure;
use super::host::meminfo_kib;
use super::machines::first_result;
use crate::failure::Failure;
use std::time::Duration;
use ukernel_machine::Limits;
use ukernel_sandbox::SandboxConfig;

/// Forks alive at once.
const FORKS: usize = 100;

/// How often they are made and ended.
const ROUNDS: usize = 3;

/// Time in which the kernel frees what VMs had that have ended.
const SETTLE: Duration = Duration::from_secs(2);

/// Memory of idle forks that have printed something.
///
/// The proportional set size (PSS) leaves out what the host's kernel spends on a VM: page tables, KVM's structures.
/// `MemAvailable` has it all, but also changes with what other processes do meanwhile.
pub fn memory(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let template = setting
        .engine
        .live_template(SandboxConfig::default().machine_mib())?;
    let count = setting.runs(FORKS);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (mut pss, mut private, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    // The first fork also pays for what all share.
    first_result(template.fork(Limits::NONE)?.as_mut())?;
    for _ in 0..ROUNDS {
        let before = available_kib()?;
        let mut machines = Vec::new();
        for _ in 0..count {
            let mut machine = template.fork(Limits::NONE)?;
            let guest = first_result(machine.as_mut())?;
            machines.push((machine, guest));
        }
        let with = available_kib()?;
        for (machine, _) in &mut machines {
            let stats = machine.stats()?;
            pss.extend(stats.pss_bytes.map(mib));
            private.extend(stats.private_bytes.map(mib));
        }
        drop(machines);
        // Between the two, what others took or gave back meanwhile shows least.
        let without = f64::midpoint(before, available_kib()?);
        lost.push((without - with) / count as f64 / 1024.0);
    }
    Ok(vec![
        Figure::new("memory: idle fork, whole process (PSS)", "MiB", &pss).goals(4.0, None),
        Figure::new("memory: idle fork, private part", "MiB", &private),
        Figure::new(
            format!("memory: idle fork, MemAvailable by {count}"),
            "MiB",
            &lost,
        )
        .goals(5.0, None),
    ])
}

/// What the host could give to a new process, in KiB, once it has come to rest.
pub fn available_kib() -> Result<f64, Failure> {
    std::thread::sleep(SETTLE);
    meminfo_kib("MemAvailable")
        .map(|kib| kib as f64)
        .ok_or_else(|| Failure::host("/proc/meminfo has no MemAvailable", "mount /proc"))
}
