//! Templates, forks, and snapshots of forks.

mod small_guest;

use small_guest::{boot, eventually, launcher, memfd, round_trip};
use std::fs::File;
use std::io::Seek;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use ukernel_vmm::{ForkConfig, Launcher, SnapshotMemory, Template, VmProcess};

/// A template of an echo guest that has served one connection.
fn template(launcher: &Launcher) -> Template {
    let (mut vm, mut host) = boot(launcher, &small_guest::echo());
    round_trip(&mut host, b"once");
    drop(host);
    pause_without_channel(&mut vm, None);
    Template::from_vm(vm, None).expect("template")
}

/// Waits for the end of the channel the host has just closed and leaves `vm` paused.
fn pause_without_channel(vm: &mut VmProcess, pages: Option<&File>) -> Vec<u8> {
    eventually("the end of the channel", || {
        vm.pause().expect("pause");
        if let Some(pages) = pages {
            pages.set_len(0).expect("empty");
        }
        let mut rewound = pages;
        if let Some(pages) = &mut rewound {
            pages.rewind().expect("rewind");
        }
        match vm.snapshot(pages) {
            Ok(snapshot) => Some(snapshot.state),
            Err(_) => {
                vm.resume().expect("resume");
                None
            }
        }
    })
}

fn fork(
    launcher: &Launcher,
    template: &Template,
    snapshot: Option<(&File, &[u8])>,
) -> (VmProcess, UnixStream) {
    let (host, guest) = UnixStream::pair().expect("pair");
    host.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("timeout");
    let mut vm = VmProcess::spawn(launcher).expect("spawn");
    vm.restore(ForkConfig {
        template,
        snapshot,
        channel: Some(guest.into()),
        paused: false,
    })
    .expect("restore");
    (vm, host)
}

#[test]
fn forks_of_one_template_live_side_by_side() {
    let Some(launcher) = launcher() else { return };
    let template = template(&launcher);
    let mut forks: Vec<_> = (0..8).map(|_| fork(&launcher, &template, None)).collect();
    for round in 0..3 {
        for (_, host) in &mut forks {
            round_trip(host, format!("round {round}").as_bytes());
        }
    }
    for (vm, _) in &mut forks {
        let stats = vm.stats().expect("stats");
        println!("{stats:?}");
        assert!(
            stats.pss_bytes.is_none_or(|bytes| bytes < 4 << 20),
            "{stats:?}"
        );
    }
}

#[test]
fn a_template_s_memory_is_sealed() {
    let Some(launcher) = launcher() else { return };
    let template = template(&launcher);
    let error = template.memory().write_at(b"x", 0).expect_err("sealed");
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::PERM.raw_os_error())
    );
    assert!(template.memory().set_len(0).is_err());
}

#[test]
fn a_template_survives_in_files() {
    let Some(launcher) = launcher() else { return };
    let live = template(&launcher);
    let memory = memfd();
    live.save_memory(&memory).expect("save");
    let stored = Template::from_parts(memory, None, live.state().to_vec()).expect("parts");
    let (_vm, mut host) = fork(&launcher, &stored, None);
    round_trip(&mut host, b"from a file");
}

#[test]
fn a_snapshot_of_a_fork_holds_only_what_it_wrote() {
    let Some(launcher) = launcher() else { return };
    let template = template(&launcher);
    let (mut vm, mut host) = fork(&launcher, &template, None);
    round_trip(&mut host, b"some state");
    drop(host);
    let pages = memfd();
    let state = pause_without_channel(&mut vm, Some(&pages));
    let mut rewound = &pages;
    rewound.rewind().expect("rewind");
    let snapshot = vm.snapshot(Some(&pages)).expect("a second time");
    let SnapshotMemory::Pages { count } = snapshot.memory else {
        panic!("a fork's memory is its written pages");
    };
    println!("{count} pages");
    assert!((1..100).contains(&count));
    assert_eq!(snapshot.state.len(), state.len());
    drop(vm);
    for _ in 0..2 {
        rewound.rewind().expect("rewind");
        let (_vm, mut host) = fork(&launcher, &template, Some((&pages, &snapshot.state)));
        round_trip(&mut host, b"from a snapshot of a fork");
    }
}

#[test]
fn a_working_set_changes_nothing_but_time() {
    let Some(launcher) = launcher() else { return };
    let mut template = template(&launcher);
    let (mut trial, mut host) = fork(&launcher, &template, None);
    round_trip(&mut host, b"trial");
    let set = trial.working_set().expect("working set");
    assert!(!set.written.is_empty());
    template.set_working_set(set);
    let (_vm, mut host) = fork(&launcher, &template, None);
    round_trip(&mut host, b"with a working set");
}

#[test]
fn a_damaged_state_is_refused() {
    let Some(launcher) = launcher() else { return };
    let template = template(&launcher);
    let mut state = template.state().to_vec();
    state.truncate(state.len() / 2);
    let mut vm = VmProcess::spawn(&launcher).expect("spawn");
    let result = vm.restore(ForkConfig {
        template: &template,
        snapshot: Some((&memfd(), &state)),
        channel: None,
        paused: false,
    });
    println!("{}", result.expect_err("refused"));
}
