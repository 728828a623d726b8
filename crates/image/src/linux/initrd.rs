//! Archives of the initial file system, in the format `newc` of cpio(5), as the kernel unpacks it.

use crate::{ImageError, Result};
use cpio::newc::{Builder, ModeFileType};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Drivers the first process needs to find root and host, in the order they are loaded in: what one needs comes before.
const DRIVERS: [&str; 7] = [
    "virtio_ring",
    "virtio",
    "virtio_mmio",
    "virtio_blk",
    "virtio_console",
    "squashfs",
    "overlay",
];

/// The drivers below `folder`, and their order.
pub(super) fn modules(folder: &Path) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    find(folder, &mut files)?;
    let mut archive = Vec::new();
    add(&mut archive, "modules", ModeFileType::Directory, 0o755, b"")?;
    let mut order = String::new();
    for name in DRIVERS {
        let file = format!("{name}.ko");
        let path = files.iter().find(|path| path.ends_with(&file));
        let path = path.ok_or_else(|| {
            ImageError::file(&folder.join(&file), std::io::ErrorKind::NotFound.into())
        })?;
        let content = fs::read(path).map_err(|error| ImageError::file(path, error))?;
        let name = format!("modules/{file}");
        add(&mut archive, &name, ModeFileType::Regular, 0o644, &content)?;
        order.push_str(&file);
        order.push('\n');
    }
    add(
        &mut archive,
        "modules/order",
        ModeFileType::Regular,
        0o644,
        order.as_bytes(),
    )?;
    end(archive)
}

/// The first process.
pub(super) fn program(program: &[u8]) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    add(&mut archive, "dev", ModeFileType::Directory, 0o755, b"")?;
    add(&mut archive, "init", ModeFileType::Regular, 0o755, program)?;
    end(archive)
}

fn add(
    archive: &mut Vec<u8>,
    name: &str,
    kind: ModeFileType,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let length = u32::try_from(content.len()).map_err(|_| too_large())?;
    let entry = Builder::new(name).mode(mode).set_mode_file_type(kind);
    let mut writer = entry.write(archive, length);
    writer
        .write_all(content)
        .and_then(|()| writer.finish().map(|_| ()))
        .map_err(|error| ImageError::file(name.as_ref(), error))
}

fn end(archive: Vec<u8>) -> Result<Vec<u8>> {
    cpio::newc::trailer(archive).map_err(|error| ImageError::file("the archive".as_ref(), error))
}

fn too_large() -> ImageError {
    ImageError::file(
        "the archive".as_ref(),
        std::io::ErrorKind::FileTooLarge.into(),
    )
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |error| ImageError::file(folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            find(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
