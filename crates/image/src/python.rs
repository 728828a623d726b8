//! Building the Python component: componentize-py over the adapter, made deterministic.
//!
//! Everything comes from the Python registry by exact version and hash. The tool is run with
//! a shim that takes randomness, time and file identities away (`adapters/python/build`), on
//! paths that do not depend on where the project lies, so that two builds are equal to the
//! last bit.

use crate::{ImageError, Progress, Result, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Name of the component in its entry.
pub(crate) const COMPONENT_FILE: &str = "python.wasm";

/// Name of the image in its entry.
pub(crate) const IMAGE_FILE: &str = "python.image";

/// Names inside the folder everything is built in: the tool's packages, and its shim.
const TOOL: &str = "tool";
const SHIM: &str = "determinism.so";

/// World of the component, and its main module.
const WORLD: &str = "adapter";
const MAIN_MODULE: &str = "app";

/// Makes pip take the same wheels on every host, whatever its Python is.
const FOR_CPYTHON_3_14: [&str; 12] = [
    "--python-version=3.14",
    "--implementation=cp",
    "--abi=cp314",
    "--abi=abi3",
    "--abi=none",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
    "--no-cache-dir",
    "--root-user-action=ignore",
    "--no-warn-script-location",
    "--no-warn-conflicts",
];

/// Builds into `folder`, which is also where everything temporary goes.
pub(crate) fn build(source_root: &Path, folder: &Path, progress: &dyn Progress) -> Result<()> {
    let adapter = source_root.join("adapters/python");
    let work = folder.join("work");
    fs::create_dir(&work).map_err(|error| ImageError::file(&work, error))?;

    progress.step("fetching componentize-py and the Python packages");
    install(
        &adapter.join("build/tool-requirements.txt"),
        &work.join(TOOL),
        &[],
    )?;
    install(
        &adapter.join("build/requirements.txt"),
        &work.join("packages"),
        &FOR_CPYTHON_3_14,
    )?;
    remove_compiled(&work.join("packages"))?;

    progress.step("building the Python component");
    let shim = work.join(SHIM);
    compile_shim(&adapter.join("build/determinism.rs"), &shim)?;
    copy_folder(&adapter.join("src"), &work.join("src"))?;
    copy_folder(&source_root.join("crates/abi/wit"), &work.join("wit"))?;
    componentize(&adapter.join("build/componentize.py"), &work)?;

    let built = work.join(COMPONENT_FILE);
    let component = folder.join(COMPONENT_FILE);
    fs::rename(&built, &component).map_err(|error| ImageError::file(&built, error))?;
    fs::remove_dir_all(&work).map_err(|error| ImageError::file(&work, error))
}

/// Installs exactly what the file names, by hash, and nothing that has to be compiled.
fn install(requirements: &Path, folder: &Path, platform: &[&str]) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ])
    .args([
        "--no-deps",
        "--no-compile",
        "--require-hashes",
        "--only-binary=:all:",
        "--target",
    ])
    .arg(folder)
    .arg("--requirement")
    .arg(requirements)
    .args(platform);
    tool::run("fetching Python packages", folder, &mut pip).map(|_| ())
}

/// Removes what was compiled for other machines: its absence makes packages use their Python.
fn remove_compiled(folder: &Path) -> Result<()> {
    let failed = |error| ImageError::file(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            remove_compiled(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "so") {
            fs::remove_file(&path).map_err(|error| ImageError::file(&path, error))?;
        }
    }
    Ok(())
}

fn compile_shim(source: &Path, shim: &Path) -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "cdylib",
            "-O",
            "-C",
            "panic=abort",
            "-o",
        ])
        .arg(shim)
        .arg(source);
    tool::run("compiling the determinism shim", shim, &mut rustc).map(|_| ())
}

fn componentize(driver: &Path, work: &Path) -> Result<()> {
    let mut python = Command::new(interpreter(work)?);
    // Relative paths only: absolute ones would end up in the component.
    python
        .arg(driver)
        .args(["--wit-path", "wit", "--world", WORLD, "componentize"])
        .args([
            "--python-path",
            "src",
            "--python-path",
            "packages",
            "--output",
            COMPONENT_FILE,
            MAIN_MODULE,
        ])
        .current_dir(work)
        .env_clear()
        // Relative too: these two are lists, split at spaces and colons a folder's name may have.
        .env("LD_PRELOAD", Path::new(".").join(SHIM))
        .env("PYTHONPATH", TOOL)
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TMPDIR", work);
    tool::run("building the Python component", work, &mut python).map(|_| ())
}

/// The interpreter itself: the shim must not go through a wrapper that executes it.
fn interpreter(work: &Path) -> Result<String> {
    let mut python = Command::new("python3");
    python.args(["-c", "import sys; print(sys.executable)"]);
    let output = tool::run("asking python3 where it is", work, &mut python)?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| ImageError::file(from, error);
    fs::create_dir(to).map_err(|error| ImageError::file(to, error))?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(failed)?.is_dir() {
            if entry.file_name() != "__pycache__" {
                copy_folder(&from, &to)?;
            }
        } else {
            fs::copy(&from, &to).map_err(|error| ImageError::file(&from, error))?;
        }
    }
    Ok(())
}
