//! What the host can do with a VM process, whatever its guest does.

mod small_guest;

use small_guest::{boot, eventually, launcher, round_trip};
use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use ukernel_vmm::jail::Measure;
use ukernel_vmm::{ExitReason, VmProcess};

#[test]
fn the_jail_is_complete_when_started_as_root() {
    let Some(launcher) = launcher() else { return };
    let mut vm = VmProcess::spawn(&launcher).expect("spawn");
    let report = vm.wait_ready().expect("ready");
    println!("jail: {report}");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let version: Vec<u32> = release.split('.').map_while(|n| n.parse().ok()).collect();
    if version >= vec![6, 12] {
        assert!(report.is_complete(), "{report}");
    } else {
        // Older kernels lack rights that the jail asks Landlock for.
        let mut missing = report.missing.iter().map(|(measure, _)| *measure);
        assert!(
            missing.all(|measure| measure == Measure::Landlock),
            "{report}"
        );
    }
}

#[test]
fn the_kernel_sees_the_process_confined() {
    let Some(launcher) = launcher() else { return };
    let (vm, _host) = boot(&launcher, &small_guest::spin());
    let status = std::fs::read_to_string(format!("/proc/{}/status", vm.id())).expect("status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a field of status").trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    if rustix::process::geteuid().is_root() {
        assert_eq!(field("CapBnd:"), "0000000000000000");
        assert_eq!(field("Uid:"), "65534\t65534\t65534\t65534");
        assert_eq!(field("Groups:"), "");
        let files = std::fs::read_dir(format!("/proc/{}/fd", vm.id())).expect("fd");
        // Streams, control, VM, vCPU, page map, usage, and the memory and channel of the VM.
        assert!(files.count() <= 12);
    }
}

/// Not a test: a host for the test below, which kills it.
#[test]
#[ignore = "started by the_death_of_the_host_is_the_death_of_its_vms"]
fn host_to_be_killed() {
    let Some(launcher) = launcher() else { return };
    let (vm, _host) = boot(&launcher, &small_guest::spin());
    println!("\nVM {}", vm.id());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn the_death_of_the_host_is_the_death_of_its_vms() {
    use std::io::{BufRead, BufReader};
    if launcher().is_none() {
        return;
    }
    let mut host = std::process::Command::new(std::env::current_exe().expect("a program"))
        .args(["--exact", "host_to_be_killed", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a host");
    let output = BufReader::new(host.stdout.take().expect("piped"));
    let id = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("VM ")?.parse().ok())
        .and_then(rustix::process::Pid::from_raw)
        .expect("a VM");
    host.kill().expect("kill");
    host.wait().expect("wait");
    eventually("the end of the VM", || {
        rustix::process::test_kill_process(id)
            .is_err()
            .then_some(())
    });
}

#[test]
fn what_a_vm_process_writes_to_standard_error_is_its_last_words() {
    let says = |script: &str| {
        // It takes what it is told first, as a VM process does.
        let script = format!("head -c 1 > /dev/null; {script}");
        let words = ["-c", &script].map(Into::into);
        let options = ukernel_vmm::LauncherOptions::new("/bin/sh", words);
        let launcher = ukernel_vmm::Launcher::new(options).ok()?;
        let mut process = VmProcess::spawn(&launcher).expect("spawn");
        let ending = process.wait_ending(Duration::from_secs(20));
        Some(ending.expect("asked").expect("it ends").to_string())
    };
    let Some(ending) = says("echo one >&2; echo two >&2; exit 3") else {
        println!("SKIPPED: there is no KVM");
        return;
    };
    assert_eq!(ending, "VMM failed: exit status: 3: one; two");
    // Nobody has to read it: what does not fit is lost, and the process goes on.
    let ending = says("head -c 10000000 /dev/zero >&2; exit 4").expect("KVM is there");
    assert!(
        ending.starts_with("VMM failed: exit status: 4: "),
        "{ending}"
    );
    assert!(ending.len() < 8000, "{}", ending.len());
    assert_eq!(says("exit 5").expect("KVM"), "process exited with status 5");
}

#[test]
fn a_vm_joins_the_control_group_it_is_given() {
    if launcher().is_none() {
        return;
    }
    let name = format!("ukernel-vmm-test-{}", std::process::id());
    let Some(group) = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"]
        .iter()
        .map(std::path::Path::new)
        .filter(|root| root.join("cgroup.procs").exists())
        .map(|root| root.join(&name))
        .find(|group| std::fs::create_dir(group).is_ok())
    else {
        println!("SKIPPED: no control group can be made here");
        return;
    };
    let mut options = ukernel_vmm::LauncherOptions::new(env!("CARGO_BIN_EXE_ukernel-vm"), []);
    options.cgroup = Some(group.clone());
    let launcher = ukernel_vmm::Launcher::new(options).expect("launcher");
    let vm = VmProcess::spawn(&launcher).expect("spawn");
    let members = std::fs::read_to_string(group.join("cgroup.procs")).expect("members");
    assert_eq!(members.trim(), vm.id().to_string());
    drop(vm);
    eventually("the end of the group", || std::fs::remove_dir(&group).ok());
}

#[test]
fn the_channel_echoes() {
    let Some(launcher) = launcher() else { return };
    let (_vm, mut host) = boot(&launcher, &small_guest::echo());
    for length in [1, 100, 4052, 4053, 20_000] {
        let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        round_trip(&mut host, &bytes);
    }
}

#[test]
fn an_endless_loop_is_paused_and_killed_at_once() {
    let Some(launcher) = launcher() else { return };
    let (mut vm, _host) = boot(&launcher, &small_guest::spin());
    std::thread::sleep(Duration::from_millis(20));
    for _ in 0..20 {
        let started = Instant::now();
        vm.pause().expect("pause");
        println!("paused after {:?}", started.elapsed());
        vm.resume().expect("resume");
    }
    let started = Instant::now();
    let ending = vm.kill().expect("kill");
    println!("killed after {:?}", started.elapsed());
    assert_eq!(
        ending.reason,
        ExitReason::Killed {
            signal: Some(9),
            status: None
        }
    );
}

/// Boots `kernel` and waits for its end.
fn ending_of(kernel: &File) -> Option<ukernel_vmm::Ending> {
    let launcher = launcher()?;
    let (mut vm, _host) = boot(&launcher, kernel);
    let ending = vm.wait_ending(Duration::from_secs(20)).expect("no error");
    Some(ending.expect("it ends by itself"))
}

#[test]
fn a_guest_speaks_idles_and_exits() {
    let Some(ending) = ending_of(&small_guest::speak_and_exit()) else {
        return;
    };
    assert!(ending.reason.is_shutdown(), "{ending}");
    assert_eq!(ending.serial_tail, b"hi");
    assert!(ending.registers.is_some());
}

#[test]
fn a_guest_reaches_all_of_its_memory() {
    let Some(ending) = ending_of(&small_guest::reach_far()) else {
        return;
    };
    assert!(ending.reason.is_shutdown(), "{ending}");
}

#[test]
fn a_guest_reaches_its_memory_with_instructions_kvm_does_not_decode() {
    let speed = ukernel_vmm::speed::measure();
    if speed.is_ok_and(|speed| speed.supervisor_minstr_per_s < 50.0) {
        println!("SKIPPED: this KVM interprets supervisor mode, and cannot run the instruction");
        return;
    }
    let Some(ending) = ending_of(&small_guest::reach_far_with_sse()) else {
        return;
    };
    assert!(ending.reason.is_shutdown(), "{ending}");
}

#[test]
fn a_triple_fault_is_reported() {
    let Some(ending) = ending_of(&small_guest::triple_fault()) else {
        return;
    };
    assert!(
        matches!(ending.reason, ExitReason::CpuFailure { .. }),
        "{ending}"
    );
}

#[test]
fn a_guest_that_breaks_the_device_contract_is_ended() {
    for kernel in [
        small_guest::garbage_packet(),
        small_guest::chain_outside_ram(),
        small_guest::looping_chain(),
        small_guest::rings_outside_ram(),
    ] {
        let Some(ending) = ending_of(&kernel) else {
            return;
        };
        println!("{ending}");
        assert!(
            matches!(ending.reason, ExitReason::ProtocolViolation { .. }),
            "{ending}"
        );
    }
}

#[test]
fn a_halted_guest_costs_nothing_and_still_obeys() {
    let Some(launcher) = launcher() else { return };
    let (mut vm, _host) = boot(&launcher, &small_guest::halt());
    std::thread::sleep(Duration::from_millis(50));
    let stats = vm.stats().expect("stats");
    assert!(stats.counters.exits < 20, "{stats:?}");
    vm.pause().expect("pause");
    vm.resume().expect("resume");
}

#[test]
fn a_closed_channel_can_be_followed_by_another() {
    let Some(launcher) = launcher() else { return };
    let (mut vm, host) = boot(&launcher, &small_guest::echo());
    let mut host = host;
    for _ in 0..5 {
        round_trip(&mut host, b"over this one");
        drop(host);
        let (near, far) = std::os::unix::net::UnixStream::pair().expect("pair");
        near.set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        eventually("the end of the channel", || {
            let far = far.as_fd().try_clone_to_owned().expect("dup");
            vm.attach_channel(far).ok()
        });
        drop(far);
        host = near;
    }
    round_trip(&mut host, b"over the last");
}

#[test]
fn data_for_a_computing_guest_arrives_without_its_help() {
    let Some(launcher) = launcher() else { return };
    let (mut vm, mut host) = boot(&launcher, &small_guest::echo());
    round_trip(&mut host, b"connected");
    let before = vm.stats().expect("stats").counters;
    round_trip(&mut host, b"again");
    let after = vm.stats().expect("stats").counters;
    assert!(after.exits > before.exits);
}

#[test]
fn commands_at_the_wrong_moment_are_refused_and_harm_nothing() {
    let Some(launcher) = launcher() else { return };
    let mut blank = VmProcess::spawn(&launcher).expect("spawn");
    assert!(blank.pause().is_err());
    assert!(blank.stats().is_err());
    let (mut vm, mut host) = boot(&launcher, &small_guest::echo());
    round_trip(&mut host, b"before");
    assert!(vm.snapshot(None).is_err(), "it runs");
    vm.pause().expect("pause");
    let error = vm.snapshot(None).expect_err("the channel is open");
    println!("{error}");
    vm.resume().expect("resume");
    round_trip(&mut host, b"after");
}

#[test]
fn a_dropped_vm_is_gone() {
    let Some(launcher) = launcher() else { return };
    let (vm, _host) = boot(&launcher, &small_guest::spin());
    let id = i32::try_from(vm.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    drop(vm);
    let error = rustix::process::test_kill_process(id.expect("a pid"));
    assert_eq!(error, Err(rustix::io::Errno::SRCH));
}

#[test]
fn a_vm_outlives_the_thread_that_asked_for_it() {
    let Some(launcher) = launcher() else { return };
    let thread = std::thread::spawn(move || boot(&launcher, &small_guest::echo()));
    let (_vm, mut host) = thread.join().expect("boots");
    std::thread::sleep(Duration::from_millis(50));
    round_trip(&mut host, b"still here");
}
