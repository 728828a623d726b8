//! What the host can do with a VM process, whatever its guest does.

mod small_guest;

use small_guest::{boot, launcher, round_trip};
use std::time::{Duration, Instant};
use ukernel_vmm::{ExitReason, VmProcess};

#[test]
fn the_jail_is_complete_when_started_as_root() {
    let Some(launcher) = launcher() else { return };
    let mut vm = VmProcess::spawn(&launcher).expect("spawn");
    let report = vm.wait_ready().expect("ready");
    println!("jail: {report}");
    if rustix::process::geteuid().is_root() {
        assert!(report.is_complete(), "{report}");
    }
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
