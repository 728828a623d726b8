//! Limits and sizes of sessions: flags, then `UKERNEL_*`, then the file, then the defaults.

use crate::failure::Failure;
use std::path::{Path, PathBuf};
use ukernel_sandbox::SandboxConfig;
use ukernel_sandbox::backends::BackendType;

/// A configuration is small; what is larger is none.
const MAX_BYTES: u64 = 1 << 20;

/// The configuration, from `file` or `$UKERNEL_CONFIG`, for `backend` or `$UKERNEL_BACKEND`.
pub fn sandbox(file: Option<&Path>, backend: Option<&str>) -> Result<SandboxConfig, Failure> {
    let from_environment = std::env::var_os("UKERNEL_CONFIG").map(PathBuf::from);
    let mut config = match file.or(from_environment.as_deref()) {
        Some(path) => read(path)?,
        None => SandboxConfig::default(),
    };
    let from_environment = std::env::var("UKERNEL_BACKEND").ok();
    match backend.or(from_environment.as_deref()) {
        None | Some("auto") => {}
        Some(name) => config.backend_preference = vec![named(name)?],
    }
    match config.problem() {
        None => Ok(config),
        Some(problem) => Err(Failure::usage(problem, "change the configuration")),
    }
}

fn named(name: &str) -> Result<BackendType, Failure> {
    BackendType::DEFAULT_ORDER
        .into_iter()
        .find(|backend| backend.name() == name)
        .ok_or_else(|| {
            let names = BackendType::DEFAULT_ORDER.map(BackendType::name);
            Failure::usage(
                format!("there is no backend {name}"),
                format!("one of: auto, {}", names.join(", ")),
            )
        })
}

fn read(path: &Path) -> Result<SandboxConfig, Failure> {
    let bad = |cause: String| {
        Failure::usage(
            format!("{}: {cause}", path.display()),
            "docs/sandbox.md lists the settings",
        )
    };
    let length = std::fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    if length > MAX_BYTES {
        return Err(bad("it is too large".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    toml::from_str(&text).map_err(|error| bad(error.to_string()))
}
