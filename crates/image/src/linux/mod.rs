//! Building the Linux guest: kernel, initial file system, root.
//!
//! ```text
//!   packages.txt ── mmdebstrap ──> tar ── tar2sqfs ──> root.squashfs     read-only, one for all VMs
//!   kernel's package ───────────────────────────────> vmlinuz
//!                └── drivers ──────── cpio ─────────> modules.cpio ─┐
//!   crates/agent ── cargo ── cpio ──────────────────────────────────┴─> initrd
//! ```
//! Times, orders and users are fixed: the same packages give the same bytes, and `packages.lock` says which they were.
//! An image of a user's own has more packages, wheels and files: its [`Recipe`].

pub(crate) mod dockerfile;
mod initrd;
pub(crate) mod lock;
pub(crate) mod name;
pub(crate) mod recipe;
pub(crate) mod shelf;
mod wheels;

use crate::{ImageError, Result, kernel, tool};
use lock::Lock;
use recipe::Recipe;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of the entry that comes from packages.
pub(crate) const KERNEL_FILE: &str = "vmlinuz";
pub(crate) const ROOT_FILE: &str = "root.squashfs";
const MODULES_FILE: &str = "modules.cpio";
/// What root and kernel are made from.
pub(crate) const LOCK_FILE: &str = "packages.lock";
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
pub(crate) const RECIPE: [&str; 4] = [
    include_str!("mod.rs"),
    include_str!("initrd.rs"),
    include_str!("wheels.rs"),
    PACKAGES,
];

/// Where pip puts what it installs for all users.
const SITE: &str = "/usr/local/lib/python3.11/dist-packages";

/// Builds root and kernel from packages.
pub(crate) fn build_root(recipe: &Recipe, folder: &Path) -> Result<()> {
    let scratch = folder.join("scratch");
    fs::create_dir(&scratch).map_err(|error| ImageError::file(&scratch, error))?;
    let locked = recipe.locked()?;
    let wheels = fetch_wheels(recipe, locked.as_ref(), &scratch)?;
    check_files(recipe)?;
    tool::run(
        "building the Linux root",
        folder,
        &mut bootstrap(recipe, &scratch),
    )?;
    let found = found(wheels, &scratch)?;
    let differences = locked.map_or(Vec::new(), |locked| locked.differences(&found));
    if !differences.is_empty() {
        return Err(ImageError::Locked { differences });
    }
    write(&folder.join(LOCK_FILE), found.to_string().as_bytes())?;
    let tar = scratch.join("root.tar");
    let mut pack = Command::new("tar2sqfs");
    // Not sqfstar: on a busy host that of squashfs-tools 4.5.1 writes other bytes each time, and blocks that do
    // not unpack, with one processor too.
    pack.args(["--compressor", "lz4", "--quiet"])
        .arg(folder.join(ROOT_FILE))
        .env("SOURCE_DATE_EPOCH", EPOCH);
    let input = File::open(&tar).map_err(|error| ImageError::file(&tar, error))?;
    tool::run_with("packing the Linux root", folder, &mut pack, input)?;
    let kernel = scratch.join("kernel");
    let mut unpack = Command::new("dpkg-deb");
    unpack
        .arg("--extract")
        .arg(scratch.join("kernel.deb"))
        .arg(&kernel);
    tool::run("unpacking the kernel's package", folder, &mut unpack)?;
    let image = one_of(&kernel.join("boot"), "vmlinuz-")?;
    fs::copy(&image, folder.join(KERNEL_FILE)).map_err(|error| ImageError::file(&image, error))?;
    let modules = one_of(&kernel.join("lib/modules"), "")?;
    write(&folder.join(MODULES_FILE), &initrd::modules(&modules)?)?;
    fs::remove_dir_all(&scratch).map_err(|error| ImageError::file(&scratch, error))
}

/// Downloads the wheels of a recipe, if it has any: those of the lock, if there is one.
fn fetch_wheels(recipe: &Recipe, locked: Option<&Lock>, scratch: &Path) -> Result<Option<Lock>> {
    if recipe.pip.is_empty() {
        return Ok(None);
    }
    let pins = locked.map(|lock| {
        let pins = lock.of_kind("pip");
        pins.map(|(name, version)| format!("{name}=={version}"))
            .collect::<Vec<_>>()
    });
    let pins = pins.filter(|pins| !pins.is_empty());
    let wanted = pins.as_ref().unwrap_or(&recipe.pip);
    wheels::download(wanted, pins.is_some(), &scratch.join("wheels")).map(Some)
}

/// Whether the files are those of the recipe.
fn check_files(recipe: &Recipe) -> Result<()> {
    let (Some(digest), Some(path)) = (&recipe.files, &recipe.files_path) else {
        return Ok(());
    };
    let content = fs::read(path).map_err(|error| ImageError::file(path, error))?;
    if blake3::hash(&content).to_hex().as_str() == digest {
        return Ok(());
    }
    Err(ImageError::file(
        path,
        std::io::ErrorKind::InvalidData.into(),
    ))
}

/// What the root was made from, as index, pip and root say.
fn found(wheels: Option<Lock>, scratch: &Path) -> Result<Lock> {
    let read = |name: &str| {
        let path = scratch.join(name);
        fs::read_to_string(&path).map_err(|error| ImageError::file(&path, error))
    };
    let mut found = lock::of_index("deb", &read("index")?)?;
    found.extend(lock::of_index("kernel", &read("kernel-index")?)?);
    if let Some(mut wheels) = wheels {
        // What Debian's packages offer already is not installed again.
        let site = read("site")?.to_lowercase();
        wheels.retain("pip", |name, version| {
            let folder = format!("{name}-{version}.dist-info").to_lowercase();
            site.lines().any(|line| line == folder)
        });
        found.extend(wheels);
    }
    Ok(found)
}

/// The command that makes a tar of the root in `scratch`, and puts the kernel's package and what the index says beside it.
fn bootstrap(recipe: &Recipe, scratch: &Path) -> Command {
    let packages: Vec<_> = PACKAGES
        .lines()
        .chain(recipe.packages.iter().map(String::as_str))
        .collect();
    let kernel = format!(
        r#"export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" &&
        name=$(apt-cache depends {KERNEL_PACKAGE} | sed -n 's/^ *Depends: //p' | head -n 1) &&
        cd "$1/tmp" && apt-get -qq download "$name" && mv linux-image-*.deb kernel.deb &&
        apt-cache show --no-all-versions "$name" >kernel-index &&
        apt-cache show --no-all-versions $(chroot "$1" dpkg-query --show --showformat '${{Package}}=${{Version}} ') >index"#
    );
    let user = r#"chroot "$1" useradd --uid 1000 --create-home --shell /bin/bash user"#;
    let names = r#"rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id" && : >"$1/etc/machine-id""#;
    let download = |name: &str| {
        let to = quoted(&scratch.join(name));
        format!("download /tmp/{name} {to}")
    };
    let mut hooks = vec![
        kernel,
        user.to_owned(),
        names.to_owned(),
        download("kernel.deb"),
        download("index"),
        download("kernel-index"),
        r#"rm "$1/tmp/kernel.deb" "$1/tmp/index" "$1/tmp/kernel-index""#.to_owned(),
    ];
    if let Some(path) = &recipe.files_path {
        hooks.push(format!("upload {} /tmp/files.tar", quoted(path)));
        hooks.push(r#"chroot "$1" tar --extract --no-overwrite-dir --file=/tmp/files.tar --directory=/ && rm "$1/tmp/files.tar""#.to_owned());
    }
    if !recipe.pip.is_empty() {
        // Last, and in one go: nothing starts Python in this root after packages of strangers are in it.
        let wanted: Vec<_> = recipe.pip.iter().map(|word| format!("'{word}'")).collect();
        hooks.push(format!("copy-in {} /tmp", quoted(&scratch.join("wheels"))));
        hooks.push(format!(
            r#"chroot "$1" env SOURCE_DATE_EPOCH={EPOCH} PYTHONHASHSEED=0 pip install --quiet --no-index --no-cache-dir --find-links=/tmp/wheels --only-binary=:all: --break-system-packages --root-user-action=ignore {} && rm -r "$1/tmp/wheels" && ls "$1{SITE}" >"$1/tmp/site""#,
            wanted.join(" ")
        ));
        hooks.push(download("site"));
        hooks.push(r#"rm "$1/tmp/site""#.to_owned());
    }
    let mut command = Command::new("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .args(["--quiet", "--variant=minbase", "--format=tar"])
        .arg(format!("--include={}", packages.join(",")))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .args(LEFT_OUT.map(|folder| format!("--dpkgopt=path-exclude=/usr/share/{folder}/*")));
    for hook in hooks {
        command.arg(format!("--customize-hook={hook}"));
    }
    command.arg(SUITE).arg(scratch.join("root.tar"));
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
