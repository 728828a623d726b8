//! Limits, sizes and models: flags, then `UKERNEL_*`, then the file, then the defaults. One
//! configuration for sessions and questions.

use crate::failure::Failure;
use std::path::{Path, PathBuf};
use terraphim_rlm::RlmConfig;
use ukernel_sandbox::SandboxConfig;
use ukernel_sandbox::backends::BackendType;

/// A configuration is small; what is larger is none.
const MAX_BYTES: u64 = 1 << 20;

/// What sessions are told.
pub fn sandbox(file: Option<&Path>, backend: Option<&str>) -> Result<SandboxConfig, Failure> {
    Ok(rlm(file, backend)?.sandbox)
}

/// The configuration, from `file` or `$UKERNEL_CONFIG`, for `backend` or `$UKERNEL_BACKEND`. No
/// file is looked for where the command is run: it could send keys anywhere.
pub fn rlm(file: Option<&Path>, backend: Option<&str>) -> Result<RlmConfig, Failure> {
    let named_file = std::env::var_os("UKERNEL_CONFIG").map(PathBuf::from);
    let text = file
        .or(named_file.as_deref())
        .map(|path| read(path).map(|text| (path, text)))
        .transpose()?;
    let (path, text) = text.unzip();
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut config = RlmConfig::from_layers(text.as_deref(), environment).map_err(|error| {
        let place = path.map_or_else(String::new, |path| format!("{}: ", path.display()));
        Failure::usage(
            format!("{place}{error}"),
            "docs/sandbox.md and docs/rlm.md list the settings",
        )
    })?;
    let named = std::env::var("UKERNEL_BACKEND").ok();
    match backend.or(named.as_deref()) {
        None | Some("auto") => {}
        Some(name) => config.sandbox.backend_preference = vec![backend_of(name)?],
    }
    Ok(config)
}

fn backend_of(name: &str) -> Result<BackendType, Failure> {
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

fn read(path: &Path) -> Result<String, Failure> {
    let bad = |cause: String| {
        Failure::usage(
            format!("{}: {cause}", path.display()),
            "name a file that can be read",
        )
    };
    let length = std::fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    if length > MAX_BYTES {
        return Err(bad("it is too large".to_owned()));
    }
    std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))
}
