//! Building the µkernel, with the cargo that built this.

use crate::{ImageError, Result, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Name of the kernel in its entry.
pub(crate) const FILE: &str = "kernel.elf";

pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds into `folder`, using `cache` for what cargo keeps.
pub(crate) fn build(source_root: &Path, cache: &Path, folder: &Path) -> Result<()> {
    // The kernel's own flags stand in its folder.
    let mut cargo = cargo(&source_root.join("crates/kernel"), cache);
    tool::run("building the kernel", cache, &mut cargo)?;
    let built = cache.join(TARGET).join("release/ukernel-kernel");
    fs::copy(&built, folder.join(FILE)).map_err(|error| ImageError::file(&built, error))?;
    Ok(())
}

/// A build of what runs in VMs, from the workspace of `folder`.
pub(crate) fn cargo(folder: &Path, cache: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(cache)
        .current_dir(folder);
    // Flags and wrappers for the host's build do not fit.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign =
            text.starts_with("CARGO_") && text != "CARGO_HOME" && text != "CARGO_HTTP_CAINFO"
                || text.ends_with("RUSTFLAGS")
                || text == "RUSTC_WORKSPACE_WRAPPER";
        if foreign {
            cargo.env_remove(name);
        }
    }
    cargo
}
