//! Fetches the server and makes the model, or says why they cannot be had here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// Longest time that fetching may take. A registry that cannot be reached may just be silent.
const FETCH_LIMIT: Duration = Duration::from_secs(240);

/// What needs to be there to serve.
pub struct Installed {
    /// Holds the server's Python package.
    pub packages: PathBuf,
    /// The model, made for this run.
    pub model: PathBuf,
    _folder: TempDir,
}

impl Installed {
    /// The server, fetched if no earlier run did, and a model.
    pub fn find() -> Result<Self, String> {
        let packages = packages()?;
        let folder = tempfile::tempdir().map_err(|error| format!("no folder: {error}"))?;
        let model = folder.path().join("chains.gguf");
        run(
            "making the model",
            python().arg(script("model.py")).arg(&model),
        )?;
        Ok(Self {
            packages,
            model,
            _folder: folder,
        })
    }
}

/// Python, for programs of ours.
pub fn python() -> Command {
    Command::new("python3")
}

/// A file beside this one.
pub fn script(name: &str) -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    project.join("tests/real_server").join(name)
}

/// A folder with exactly the pinned packages, which were seen to work here.
fn packages() -> Result<PathBuf, String> {
    let digest = blake3::hash(REQUIREMENTS.as_bytes()).to_hex();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let packages = home.join(format!("real-server-{}", &digest[..16]));
    if packages.is_dir() {
        return Ok(packages);
    }
    eprintln!("fetching the server, once");
    fs::create_dir_all(home).map_err(|error| format!("no folder: {error}"))?;
    // Another run may do the same at the same time: the name is given to what is whole.
    let partial = tempfile::tempdir_in(home).map_err(|error| format!("no folder: {error}"))?;
    fetch(partial.path())?;
    let mut trial = python();
    trial.args(["-c", "import xllamacpp"]);
    run(
        "loading the server",
        trial.env("PYTHONPATH", partial.path()),
    )?;
    let partial = partial.keep();
    if let Err(error) = fs::rename(&partial, &packages) {
        let _ = fs::remove_dir_all(&partial);
        if !packages.is_dir() {
            return Err(format!("keeping what was fetched: {error}"));
        }
    }
    Ok(packages)
}

fn fetch(folder: &Path) -> Result<(), String> {
    let mut pip = python();
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["--no-deps", "--require-hashes", "--only-binary=:all:"])
        .args(["--retries", "2", "--timeout", "20"])
        .arg("--target")
        .arg(folder)
        .arg("--requirement")
        .arg(script("requirements.txt"));
    run("fetching the server", &mut pip)
}

/// Runs a program to its end. What it said last is the reason if it fails.
fn run(what: &str, command: &mut Command) -> Result<(), String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{what}: python3: {error}"))?;
    let deadline = Instant::now() + FETCH_LIMIT;
    // Of what these programs say, all fits into a pipe.
    while let Ok(None) = child.try_wait() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{what}: not done in {FETCH_LIMIT:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child
        .wait_with_output()
        .map_err(|error| format!("{what}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("it failed silently");
        return Err(format!("{what}: {last}"));
    }
    Ok(())
}
