//! The kernel and the images, from the store or from their sources.

use crate::store::{Key, Store};
use crate::{ImageError, Progress, Result, aot, inputs, kernel, python};
use std::fs;
use std::path::PathBuf;

/// Digests of the sources, taken when this crate was compiled (`build.rs`): a warm start
/// reads no sources.
const KERNEL_SOURCES: &str = env!("UKERNEL_KERNEL_SOURCES");
const PYTHON_SOURCES: &str = env!("UKERNEL_PYTHON_SOURCES");

/// Something built.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The file.
    pub path: PathBuf,
    /// Names what it was built from.
    pub key: Key,
}

/// Builds and keeps what VMs boot.
#[derive(Clone, Debug)]
pub struct Images {
    store: Store,
    cache: PathBuf,
    source_root: PathBuf,
}

impl Images {
    /// Keeps everything under `root`; builds from the project's sources at `source_root`.
    #[must_use]
    pub fn new(root: PathBuf, source_root: PathBuf) -> Self {
        Self {
            store: Store::new(root.join("store")),
            cache: root.join("build"),
            source_root,
        }
    }

    /// The store, for what else is built from these.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The µkernel.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn kernel(&self, progress: &dyn Progress) -> Result<Artifact> {
        let key = Key::of([KERNEL_SOURCES.as_bytes()]);
        let entry = self.store.get_or_build("kernel", key, progress, |folder| {
            self.check_sources(&inputs::KERNEL, KERNEL_SOURCES)?;
            progress.step("building the kernel (once, about a minute)");
            kernel::build(&self.source_root, &self.cache.join("kernel"), folder)
        })?;
        Ok(Artifact {
            path: entry.join(kernel::FILE),
            key,
        })
    }

    /// The Python image.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn python(&self, progress: &dyn Progress) -> Result<Artifact> {
        let component_key = Key::of([PYTHON_SOURCES.as_bytes()]);
        let settings = aot::settings();
        let key = Key::of([component_key.bytes(), settings.as_bytes()]);
        let entry = self
            .store
            .get_or_build("python-image", key, progress, |folder| {
                let component = self.store.get_or_build(
                    "python-component",
                    component_key,
                    progress,
                    |folder| {
                        self.check_sources(&inputs::PYTHON, PYTHON_SOURCES)?;
                        python::build(&self.source_root, folder, progress)
                    },
                )?;
                let path = component.join(python::COMPONENT_FILE);
                let component = fs::read(&path).map_err(|error| ImageError::file(&path, error))?;
                progress.step("compiling Python ahead of time (once, some seconds)");
                let path = folder.join(python::IMAGE_FILE);
                fs::write(&path, aot::image("python", &component)?)
                    .map_err(|error| ImageError::file(&path, error))
            })?;
        Ok(Artifact {
            path: entry.join(python::IMAGE_FILE),
            key,
        })
    }

    /// Whether the sources are those this program was built with, whose digest is the key.
    fn check_sources(&self, places: &[&str], digest: &str) -> Result<()> {
        if inputs::digest(&self.source_root, places)? == digest {
            Ok(())
        } else {
            Err(ImageError::SourcesChanged {
                path: self.source_root.clone(),
            })
        }
    }
}
