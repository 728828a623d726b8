//! Where state lives, and the only place that reads the environment for it.

use crate::failure::Failure;
use std::path::PathBuf;
use ukernel_machine::probe::ProbeConfig;

/// Folder of everything ukernel keeps: `$UKERNEL_HOME`, else `$XDG_CACHE_HOME/ukernel`, else
/// `~/.cache/ukernel`. All of it can be built again, images of users' own by the commands that made them.
pub fn home() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if std::env::var_os("UKERNEL_HOME").is_some() {
        return absolute("UKERNEL_HOME").ok_or_else(|| {
            Failure::usage(
                "UKERNEL_HOME is not an absolute path",
                "set it to an absolute path",
            )
        });
    }
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("ukernel"))
        .ok_or_else(|| {
            Failure::usage(
                "there is no home folder",
                "set UKERNEL_HOME to an absolute path",
            )
        })
}

/// Folder of what cannot be built again, sessions above all: `$UKERNEL_HOME`, else
/// `$XDG_STATE_HOME/ukernel`, else `~/.local/state/ukernel`.
pub fn state() -> Result<PathBuf, Failure> {
    if std::env::var_os("UKERNEL_HOME").is_some() {
        return home();
    }
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("ukernel"))
        .ok_or_else(|| {
            Failure::usage(
                "there is no home folder",
                "set UKERNEL_HOME to an absolute path",
            )
        })
}

/// The project's sources, from which kernel and images are built: `$UKERNEL_SOURCE`, else
/// where this program was built.
pub fn source() -> PathBuf {
    std::env::var_os("UKERNEL_SOURCE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")),
        PathBuf::from,
    )
}

/// What the probe is told about this environment.
pub fn probe_config() -> Result<ProbeConfig, Failure> {
    Ok(ProbeConfig {
        path: std::env::var_os("PATH").unwrap_or_default(),
        firecracker: std::env::var_os("UKERNEL_FIRECRACKER").map(PathBuf::from),
        state_dir: home()?,
    })
}

/// A program on `PATH`.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
