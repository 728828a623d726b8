//! Building a component with componentize-py, made deterministic. What it is built from, the adapter says.
//!
//! Everything comes from the Python registry by exact version and hash. The tool is run with
//! a shim that takes randomness, time and file identities away (`determinism.rs`), on
//! paths that do not depend on where the project lies, so that two builds are equal to the
//! last bit.

use crate::adapter::{Adapter, FOLDER};
use crate::{ImageError, Progress, Result, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Name of the component in its entry.
pub(crate) const COMPONENT_FILE: &str = "component.wasm";

/// Names inside the folder everything is built in: the tool's packages, and its shim.
const TOOL: &str = "tool";
const SHIM: &str = "determinism.so";

/// World of the component.
const WORLD: &str = "adapter";

/// How pip is run here, whatever it installs.
const QUIETLY: [&str; 4] = [
    "--no-cache-dir",
    "--root-user-action=ignore",
    "--no-warn-script-location",
    "--no-warn-conflicts",
];

/// Builds into `folder`, which is also where everything temporary goes.
pub(crate) fn build(
    adapter: &Adapter,
    source_root: &Path,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let Adapter {
        language, build, ..
    } = adapter;
    let files = source_root.join(FOLDER);
    let work = folder.join("work");
    fs::create_dir(&work).map_err(|error| ImageError::file(&work, error))?;

    progress.step(&format!(
        "fetching componentize-py and the {language} packages"
    ));
    install(&files.join(&build.tool), &work.join(TOOL), &[])?;
    install(
        &files.join(&build.packages),
        &work.join("packages"),
        &build.packages_for,
    )?;
    remove_compiled(&work.join("packages"))?;

    progress.step(&format!("building the {language} component"));
    let shim = work.join(SHIM);
    compile_shim(&files.join(&build.shim), &shim)?;
    copy_folder(&files.join(&build.sources), &work.join("src"))?;
    copy_folder(&source_root.join("crates/abi/wit"), &work.join("wit"))?;
    componentize(&files.join(&build.driver), &build.module, &work)?;

    let built = work.join(COMPONENT_FILE);
    let component = folder.join(COMPONENT_FILE);
    fs::rename(&built, &component).map_err(|error| ImageError::file(&built, error))?;
    fs::remove_dir_all(&work).map_err(|error| ImageError::file(&work, error))
}

/// Installs exactly what the file names, by hash, and nothing that has to be compiled.
fn install(requirements: &Path, folder: &Path, platform: &[String]) -> Result<()> {
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
    .args(QUIETLY)
    .args(platform);
    tool::run("fetching packages", folder, &mut pip).map(|_| ())
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

fn componentize(driver: &Path, module: &str, work: &Path) -> Result<()> {
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
            module,
        ])
        .current_dir(work)
        .env_clear()
        // Relative too: these two are lists, split at spaces and colons a folder's name may have.
        .env("LD_PRELOAD", Path::new(".").join(SHIM))
        .env("PYTHONPATH", TOOL)
        .env("PYTHONHASHSEED", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TMPDIR", work);
    tool::run("building the component", work, &mut python).map(|_| ())
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
