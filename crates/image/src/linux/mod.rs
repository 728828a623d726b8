//! Building the Linux guest: kernel, initial file system, root.
//!
//! ```text
//!   packages.txt ── mmdebstrap ──> tar ── sqfstar ──> root.squashfs     read-only, one for all VMs
//!   kernel's package ───────────────────────────────> vmlinuz
//!                └── drivers ──────── cpio ─────────> modules.cpio ─┐
//!   crates/agent ── cargo ── cpio ──────────────────────────────────┴─> initrd
//! ```
//! Times, orders and users are fixed: the same packages give the same bytes.

mod initrd;

use crate::{ImageError, Result, kernel, tool};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of the entry that comes from packages.
pub(crate) const KERNEL_FILE: &str = "vmlinuz";
pub(crate) const ROOT_FILE: &str = "root.squashfs";
const MODULES_FILE: &str = "modules.cpio";
/// What is in the root: a package, its version and architecture on each line.
const VERSIONS_FILE: &str = "packages.txt";
/// The file of the entry that comes from our sources.
pub(crate) const INITRD_FILE: &str = "initrd";

/// The packages of the root. What they depend on comes with them; what they recommend does not.
const PACKAGES: &str = include_str!("packages.txt");
/// The release of Debian.
const SUITE: &str = "bookworm";
/// Depends on the newest kernel of the release.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// The time of everything in the image, in seconds since 1970: 2025-01-01.
const EPOCH: &str = "1735689600";
/// Where hosts of this release say where they get packages from.
const HOST_SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";

/// What people read in a terminal of their own.
const LEFT_OUT: [&str; 4] = ["doc", "info", "locale", "man"];

/// What names the root: the code that makes it, and the list.
pub(crate) const RECIPE: [&str; 3] = [include_str!("mod.rs"), include_str!("initrd.rs"), PACKAGES];

/// Builds root and kernel from packages.
pub(crate) fn build_root(folder: &Path) -> Result<()> {
    let scratch = folder.join("scratch");
    fs::create_dir(&scratch).map_err(|error| ImageError::file(&scratch, error))?;
    let (tar, deb, versions) = (
        scratch.join("root.tar"),
        scratch.join("kernel.deb"),
        folder.join(VERSIONS_FILE),
    );
    tool::run(
        "building the Linux root",
        folder,
        &mut bootstrap(&tar, &deb, &versions),
    )?;
    let mut pack = Command::new("sqfstar");
    pack.args(["-comp", "lz4", "-no-progress", "-quiet"])
        .arg(folder.join(ROOT_FILE))
        .env("SOURCE_DATE_EPOCH", EPOCH);
    let input = File::open(&tar).map_err(|error| ImageError::file(&tar, error))?;
    tool::run_with("packing the Linux root", folder, &mut pack, input)?;
    let kernel = scratch.join("kernel");
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--extract").arg(&deb).arg(&kernel);
    tool::run("unpacking the kernel's package", folder, &mut unpack)?;
    let image = one_of(&kernel.join("boot"), "vmlinuz-")?;
    fs::copy(&image, folder.join(KERNEL_FILE)).map_err(|error| ImageError::file(&image, error))?;
    let modules = one_of(&kernel.join("lib/modules"), "")?;
    write(&folder.join(MODULES_FILE), &initrd::modules(&modules)?)?;
    fs::remove_dir_all(&scratch).map_err(|error| ImageError::file(&scratch, error))
}

/// The command that makes a tar of the root, and fetches the kernel's package beside it.
fn bootstrap(tar: &Path, deb: &Path, versions: &Path) -> Command {
    let packages: Vec<_> = PACKAGES.lines().collect();
    let kernel = format!(
        r#"cd "$1/tmp" && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" &&
        name=$(apt-cache depends {KERNEL_PACKAGE} | sed -n 's/^ *Depends: //p' | head -n 1) &&
        apt-get -qq download "$name" && mv linux-image-*.deb kernel.deb"#
    );
    let list = r#"chroot "$1" dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' >"$1/tmp/versions""#;
    let user = r#"chroot "$1" useradd --uid 1000 --create-home --shell /bin/bash user"#;
    let names = r#"rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id" && : >"$1/etc/machine-id""#;
    let download = |from: &str, to: &Path| format!("download {from} {}", quoted(to));
    let mut command = Command::new("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .args(["--quiet", "--variant=minbase", "--format=tar"])
        .arg(format!("--include={}", packages.join(",")))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .args(LEFT_OUT.map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*")));
    for hook in [
        kernel,
        list.to_owned(),
        user.to_owned(),
        names.to_owned(),
        download("/tmp/kernel.deb", deb),
        download("/tmp/versions", versions),
        r#"rm "$1/tmp/kernel.deb" "$1/tmp/versions""#.to_owned(),
    ] {
        command.arg(format!("--customize-hook={hook}"));
    }
    command.arg(SUITE).arg(tar);
    // What the host gets its packages from is reached from here, which mirrors need not be.
    if fs::read_to_string(HOST_SOURCES).is_ok_and(|sources| sources.contains(SUITE)) {
        command.arg(HOST_SOURCES);
    }
    command
}

/// Builds the initial file system: the agent, and the drivers of the kernel in `root`.
pub(crate) fn build_initrd(
    source_root: &Path,
    cache: &Path,
    root: &Path,
    folder: &Path,
) -> Result<()> {
    let mut cargo = kernel::cargo(source_root, cache);
    // Without shared libraries: there are none before the root is there.
    cargo
        .args(["--package", "ukernel-agent"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    tool::run("building the agent", cache, &mut cargo)?;
    let agent = cache.join(kernel::TARGET).join("release/ukernel-agent");
    let program = fs::read(&agent).map_err(|error| ImageError::file(&agent, error))?;
    let modules = root.join(MODULES_FILE);
    let mut archive = fs::read(&modules).map_err(|error| ImageError::file(&modules, error))?;
    // The kernel unpacks archives that follow one another.
    archive.extend(initrd::program(&program)?);
    write(&folder.join(INITRD_FILE), &archive)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(|error| ImageError::file(path, error))
}

/// The only entry whose name begins so.
fn one_of(folder: &Path, beginning: &str) -> Result<PathBuf> {
    let failed = |error| ImageError::file(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            return Ok(entry.path());
        }
    }
    Err(failed(std::io::ErrorKind::NotFound.into()))
}

/// A path as one word of a hook.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
