//! Hosts that cannot do it: exit code 3 and what to do. Where the host is changed for a
//! test, that is in a mount namespace of its own.

use crate::ground::{Behaviour, Ran, Script, home};
use std::process::{Command, Stdio};

pub const BEHAVIOURS: &[Behaviour] = &[
    ("no_kvm_is_said", no_kvm_is_said),
    ("both_guests_run_without_kvm", without_kvm),
    (
        "kvm_without_permission_is_said",
        kvm_without_permission_is_said,
    ),
    (
        "a_full_disk_is_said_and_leaves_nothing",
        a_full_disk_is_said_and_leaves_nothing,
    ),
];

/// Why these tests cannot run, if they cannot: they change mounts.
pub fn lack() -> Option<String> {
    let possible = Command::new("unshare")
        .args(["--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    (!possible).then(|| "this user may not mount".to_owned())
}

/// Runs a shell script as root of a mount namespace.
fn in_own_mounts(script: &str, words: &[&str]) -> Ran {
    let ran = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-ec",
            script,
            env!("CARGO_BIN_EXE_ukernel"),
        ])
        .args(words)
        .env("UKERNEL_HOME", home())
        .stdin(Stdio::null())
        .output();
    ran.expect("unshare runs").into()
}

fn no_kvm_is_said() {
    let script = Script::new("print(1)");
    let hidden = "mount -t tmpfs tmpfs /dev; exec \"$0\" \"$@\"";
    let ran = in_own_mounts(hidden, &["run", &script.path(), "--backend", "kvm"]);
    let ran = ran.expect(3);
    assert!(
        ran.stderr.contains("/dev/kvm") && ran.stderr.contains("hint: "),
        "{}",
        ran.stderr
    );
}

/// Without KVM a host runs both guests, more slowly, and doctor says so.
fn without_kvm() {
    if let Some(lack) = crate::linux::lack() {
        println!("SKIPPED: {lack}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = Script::new("print(sum(range(10)))");
    let script = format!(
        "mount --bind /dev/null /dev/kvm; export UKERNEL_HOME={1}; ln -s {0}/store {1}/store; \
         \"$0\" doctor | grep 'auto picks' >&2; \"$0\" run {2}; \
         \"$0\" session create --guest linux --name full >&2; \"$0\" session exec full 'print(6 * 7)'; \
         \"$0\" session create --name small >&2; \"$0\" session exec small 'x = 7'; \
         \"$0\" session snapshot small a >&2; \"$0\" session exec small 'x = 8'; \
         \"$0\" session rollback small a >&2; \"$0\" session exec small 'print(x)'; \"$0\" serve --stop",
        home().display(),
        folder.path().display(),
        program.path()
    );
    let ran = in_own_mounts(&script, &[]).expect(0);
    assert_eq!(ran.text(), "45\n42\n7\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("qemu: QEMU emulates"), "{}", ran.stderr);
}

fn kvm_without_permission_is_said() {
    let script = Script::new("print(1)");
    // A device node this namespace does not let anybody open.
    let denied = "mount -t tmpfs -o nodev tmpfs /mnt; mknod /mnt/kvm c 10 232; mount --bind /mnt/kvm /dev/kvm; exec \"$0\" \"$@\"";
    let ran = in_own_mounts(denied, &["run", &script.path(), "--backend", "kvm"]);
    let ran = ran.expect(3);
    assert!(
        ran.stderr.contains("/dev/kvm") && ran.stderr.contains("hint: "),
        "{}",
        ran.stderr
    );
}

fn a_full_disk_is_said_and_leaves_nothing() {
    let script = Script::new("print(1)");
    // Room for the kernel and the component, not for the image.
    let small = format!(
        "mount -t tmpfs -o size=60m tmpfs /mnt; mkdir -p /mnt/store; \
         cp -a {0}/store/kernel {0}/store/component /mnt/store/; \
         UKERNEL_HOME=/mnt \"$0\" \"$@\" && exit 99; code=$?; \
         find /mnt/store/image -mindepth 1 -not -name '*.lock' | sed 's/^/left: /' >&2; exit $code",
        home().display()
    );
    let ran = in_own_mounts(&small, &["run", &script.path()]);
    let ran = ran.expect(3);
    assert!(ran.stderr.contains("no space left"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("left: "), "{}", ran.stderr);
}
