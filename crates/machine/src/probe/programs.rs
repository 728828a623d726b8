//! Programs machines may be run with: found, and heard saying their version.

use super::program::{find, first_line};
use super::{Finding, ProbeConfig};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program may take to say its version.
const VERSION: Duration = Duration::from_secs(2);
/// How long Docker's engine may take to answer.
const ENGINE: Duration = Duration::from_secs(3);

/// What the Linux guest's root is built with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinuxTools {
    /// The programs.
    pub tools: Vec<String>,
}

/// A program that starts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Installed {
    /// Where it is.
    pub path: PathBuf,
    /// What it says its version is.
    pub version: String,
}

/// Docker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Docker {
    /// The client.
    pub client: Installed,
    /// Version of the engine, if one answers.
    pub engine: Finding<Engine>,
}

/// An engine that answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Engine {
    /// Its version.
    pub version: String,
}

pub(super) fn firecracker(config: &ProbeConfig) -> Finding<Installed> {
    match config.find_firecracker().map(installed) {
        Some(Finding::Ok(found)) if is_too_old(&found.version) => Finding::missing(
            format!("{} is {}", found.path.display(), found.version),
            "install Firecracker 1.16 or later",
        ),
        Some(found) => found,
        None => Finding::missing(
            "no `firecracker` on PATH",
            "install Firecracker 1.16 or later, or set UKERNEL_FIRECRACKER to it",
        ),
    }
}

/// Whether a version, like `Firecracker v1.16.1`, is before the first that can give every
/// fork a vsock socket of its own. What cannot be read is not refused for it.
fn is_too_old(version: &str) -> bool {
    let mut numbers = version
        .rsplit('v')
        .next()
        .unwrap_or_default()
        .split('.')
        .map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < (1, 16),
        _ => false,
    }
}

const QEMU: &str = "qemu-system-x86_64";
const QEMU_HINT: &str = "install QEMU for x86-64, on Debian: apt install qemu-system-x86";

pub(super) fn qemu(path: &OsStr) -> Finding<Installed> {
    on_path(path, QEMU, QEMU_HINT)
}

/// Where QEMU is, without starting it.
pub(super) fn find_qemu(path: &OsStr) -> Finding<PathBuf> {
    match find(path, QEMU) {
        Some(program) => Finding::Ok(program),
        None => Finding::missing(format!("no `{QEMU}` on PATH"), QEMU_HINT),
    }
}

/// The first of the programs the Linux guest's root is built with that is missing.
pub(super) fn linux_tools(path: &OsStr) -> Finding<LinuxTools> {
    const TOOLS: [&str; 3] = ["mmdebstrap", "tar2sqfs", "dpkg-deb"];
    match TOOLS.iter().find(|name| find(path, name).is_none()) {
        None => Finding::Ok(LinuxTools {
            tools: TOOLS.map(str::to_owned).to_vec(),
        }),
        Some(name) => Finding::missing(
            format!("no `{name}` on PATH"),
            "install it, on Debian: apt install mmdebstrap squashfs-tools-ng",
        ),
    }
}

pub(super) fn docker(path: &OsStr) -> Finding<Docker> {
    let client = match on_path(path, "docker", "install Docker") {
        Finding::Ok(client) => client,
        Finding::Missing { reason, hint } => return Finding::Missing { reason, hint },
        Finding::Denied { reason, hint } => return Finding::Denied { reason, hint },
    };
    let args = ["version", "--format", "{{.Server.Version}}"];
    let engine = match first_line(&client.path, &args, ENGINE) {
        Ok(version) => Finding::Ok(Engine { version }),
        Err(error) => Finding::missing(
            format!("the engine does not answer ({error})"),
            "start the Docker service, and let this user talk to it",
        ),
    };
    Finding::Ok(Docker { client, engine })
}

fn on_path(path: &OsStr, name: &str, hint: &str) -> Finding<Installed> {
    match find(path, name) {
        Some(program) => installed(program),
        None => Finding::missing(format!("no `{name}` on PATH"), hint),
    }
}

fn installed(path: PathBuf) -> Finding<Installed> {
    match first_line(&path, &["--version"], VERSION) {
        Ok(version) => Finding::Ok(Installed { path, version }),
        Err(error) => unusable(&path, &error),
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Finding<Installed> {
    let reason = format!("{} does not say its version ({error})", path.display());
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Finding::denied(reason, "make it executable for this user")
        }
        _ => Finding::missing(reason, "check that it is the program it should be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(firecracker: Option<&str>) -> ProbeConfig {
        ProbeConfig {
            path: "/nowhere".into(),
            firecracker: firecracker.map(Into::into),
            state_dir: "/".into(),
        }
    }

    #[test]
    fn what_is_not_installed_is_missing() {
        assert!(
            firecracker(&config(None))
                .trouble()
                .contains("UKERNEL_FIRECRACKER")
        );
        assert!(
            firecracker(&config(Some("/nowhere/firecracker")))
                .ok()
                .is_none()
        );
        assert!(qemu(OsStr::new("")).ok().is_none());
        assert!(docker(OsStr::new("")).ok().is_none());
    }

    #[test]
    fn old_releases_are_told() {
        assert!(is_too_old("Firecracker v1.9.1"));
        assert!(is_too_old("Firecracker v0.25.2"));
        for version in ["Firecracker v1.16.1", "Firecracker v2.0.0", "own build"] {
            assert!(!is_too_old(version), "{version}");
        }
    }

    #[test]
    fn a_file_that_is_no_program_is_told() {
        let finding = firecracker(&config(Some("/etc/passwd")));
        assert!(matches!(finding, Finding::Denied { .. }), "{finding:?}");
    }
}
