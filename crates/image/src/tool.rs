//! Running the programs a build needs.

use crate::{ImageError, Result};
use std::path::Path;
use std::process::{Command, Stdio};

/// Bytes of a failed program's output that are shown.
const SHOWN_BYTES: usize = 2000;

/// Runs a program, which writes to `folder`, to its end.
pub(crate) fn run(step: &str, folder: &Path, command: &mut Command) -> Result<Vec<u8>> {
    run_with(step, folder, command, Stdio::null())
}

/// The same, with something to read.
pub(crate) fn run_with(
    step: &str,
    folder: &Path,
    command: &mut Command,
    input: impl Into<Stdio>,
) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(input)
        .output()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ImageError::ToolMissing {
                program: program.clone(),
            },
            _ => ImageError::file(program.as_ref(), error),
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    let tail: String = {
        let skip = text.chars().count().saturating_sub(SHOWN_BYTES);
        text.chars().skip(skip).collect()
    };
    if tail.contains("No space left on device") {
        return Err(ImageError::DiskFull {
            path: folder.to_path_buf(),
        });
    }
    Err(ImageError::Tool {
        step: step.to_owned(),
        status: output.status.to_string(),
        output: tail.trim().to_owned(),
    })
}
