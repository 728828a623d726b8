//! Sizes on disk.

use super::Setting;
use super::figure::Figure;
use crate::failure::Failure;
use std::path::Path;

/// The kernel and the Python image.
pub fn sizes(setting: &Setting<'_>) -> Result<Vec<Figure>, Failure> {
    let spec = setting.engine.spec(crate::args::DEFAULT_MEMORY_MIB)?;
    Ok(vec![
        Figure::new("size: kernel ELF", "MiB", &[mib(&spec.kernel)?]).goals(1.5, None),
        Figure::new("size: Python image", "MiB", &[mib(&spec.image)?]).goals(60.0, None),
    ])
}

fn mib(file: &Path) -> Result<f64, Failure> {
    let metadata = std::fs::metadata(file).map_err(|error| {
        Failure::host(
            format!("{}: {error}", file.display()),
            "run `ukernel run` once",
        )
    })?;
    Ok(metadata.len() as f64 / f64::from(1 << 20))
}
