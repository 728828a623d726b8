//! The probe on this host, whatever it has.

use std::time::{Duration, Instant};
use ukernel_machine::BackendKind;
use ukernel_machine::probe::{Probe, ProbeConfig, choose, choose_quick};

fn config() -> ProbeConfig {
    ProbeConfig {
        path: std::env::var_os("PATH").unwrap_or_default(),
        firecracker: std::env::var_os("UKERNEL_FIRECRACKER").map(Into::into),
        state_dir: std::env::temp_dir().join("ukernel-state"),
    }
}

#[test]
fn the_report_is_whole_and_comes_in_time() {
    let began = Instant::now();
    let report = Probe::run(&config());
    let took = began.elapsed();
    let json = serde_json::to_value(&report).expect("JSON");
    println!("{json:#}\nin {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    let parts = "kvm firecracker qemu linux_tools docker cgroups landlock userfaultfd disk";
    for part in parts.split(' ') {
        let status = json[part]["status"].as_str().expect(part);
        if status != "ok" {
            assert!(matches!(status, "missing" | "denied"), "{status}");
            for field in ["reason", "hint"] {
                assert!(
                    !json[part][field].as_str().expect(field).is_empty(),
                    "{part}"
                );
            }
        }
    }
    match choose(&report, None) {
        Ok((kind, why)) => println!("{}: {why}", kind.name()),
        Err(error) => assert!(report.kvm.ok().is_none(), "{error}"),
    }
}

#[test]
fn the_quick_choice_agrees_with_the_measured_one() {
    let config = config();
    let report = Probe::run(&config);
    for explicit in [None, Some(BackendKind::Kvm), Some(BackendKind::Firecracker)] {
        let began = Instant::now();
        let quick = choose_quick(&config, explicit);
        println!("{explicit:?}: {quick:?} in {:?}", began.elapsed());
        let measured = choose(&report, explicit);
        assert_eq!(
            quick.map(|(kind, _)| kind).ok(),
            measured.map(|(kind, _)| kind).ok()
        );
    }
}
