//! Python packages of an image, as wheels: archives that are unpacked, so that nothing of theirs runs on the host.

use super::lock::Lock;
use crate::{ImageError, Result, tool};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The newest C library that wheels may need: the guest's, 2.36.
const LIBC_MINOR: u32 = 36;

/// Downloads the wheels of these requirements into `folder`, and what they depend on unless `are_pinned`; says what came.
pub(super) fn download(requirements: &[String], are_pinned: bool, folder: &Path) -> Result<Lock> {
    fs::create_dir(folder).map_err(|error| ImageError::file(folder, error))?;
    let mut pip = pip("download");
    pip.args([
        "--quiet",
        "--only-binary",
        ":all:",
        "--python-version",
        "3.11",
    ])
    .args(["--implementation", "cp"])
    .args(["--abi", "cp311", "--abi", "abi3", "--abi", "none"]);
    let old = ["manylinux1", "manylinux2010", "manylinux2014"].map(str::to_owned);
    let new = (5..=LIBC_MINOR)
        .rev()
        .map(|minor| format!("manylinux_2_{minor}"));
    for platform in new.chain(old) {
        pip.arg("--platform").arg(format!("{platform}_x86_64"));
    }
    if are_pinned {
        pip.arg("--no-deps");
    }
    pip.arg("--dest").arg(folder).args(requirements);
    tool::run("downloading Python packages", folder, &mut pip)?;
    digests(folder)
}

/// Names, versions and digests of the wheels in a folder.
fn digests(folder: &Path) -> Result<Lock> {
    let failed = |error| ImageError::file(folder, error);
    let mut names: Vec<OsString> = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<_>>()
        .map_err(failed)?;
    names.sort();
    let mut lock = Lock::default();
    for name in names {
        let mut hash = pip("hash");
        hash.args(["--algorithm", "sha256"]).arg(folder.join(&name));
        let said = tool::run("reading a wheel's digest", folder, &mut hash)?;
        let said = String::from_utf8_lossy(&said);
        let sha256 = said
            .lines()
            .find_map(|line| line.strip_prefix("--hash=sha256:"));
        let name = name.to_string_lossy();
        // Name, version, maybe a build, and three tags; none of them has a `-` in it.
        let parts: Vec<&str> = name.trim_end_matches(".whl").split('-').collect();
        let (Some(sha256), [project, version, .., python, abi, platform]) = (sha256, &parts[..])
        else {
            return Err(ImageError::Tool {
                step: "reading a wheel's digest".to_owned(),
                status: name.into_owned(),
                output: said.into_owned(),
            });
        };
        let tags = format!("{python}-{abi}-{platform}");
        lock.add("pip", project, version, &tags, sha256.trim());
    }
    Ok(lock)
}

fn pip(command: &str) -> Command {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "--no-input",
        "--disable-pip-version-check",
        command,
    ]);
    pip
}
