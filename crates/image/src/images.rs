//! The kernel and the images, from the store or from their sources.

use crate::adapter::adapter;
use crate::linux::lock::Lock;
use crate::linux::name::ImageName;
use crate::linux::recipe::Recipe;
use crate::linux::shelf::Shelf;
use crate::store::{Key, Store};
use crate::{ImageError, Progress, Result, aot, componentize, inputs, kernel, linux};
use std::fs;
use std::path::PathBuf;

/// Digests of the sources, taken when this crate was compiled (`build.rs`): a warm start
/// reads no sources.
const KERNEL_SOURCES: &str = env!("UKERNEL_KERNEL_SOURCES");
const AGENT_SOURCES: &str = env!("UKERNEL_AGENT_SOURCES");
const COMPONENT_SOURCES: &str = env!("UKERNEL_COMPONENT_SOURCES");

/// About how long each build takes, in seconds: measured on two busy cores.
const KERNEL_S: u32 = 100;
const COMPONENT_S: u32 = 30;
const IMAGE_S: u32 = 20;
const LINUX_ROOT_S: u32 = 240;

/// Something built.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The file.
    pub path: PathBuf,
    /// Names what it was built from.
    pub key: Key,
}

/// The parts of the Linux guest.
#[derive(Clone, Debug)]
pub struct LinuxImage {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial file system, with the agent.
    pub initrd: PathBuf,
    /// The root, a squashfs.
    pub root: PathBuf,
    /// Names what all three were built from.
    pub key: Key,
}

/// Kinds of entries of the store.
const KERNEL: &str = "kernel";
const COMPONENT: &str = "component";
const IMAGE: &str = "image";
const LINUX_ROOT: &str = "linux-root";
const LINUX_INITRD: &str = "linux-initrd";

/// Name of the image in its entry.
const IMAGE_FILE: &str = "image";

fn kernel_key() -> Key {
    Key::of([KERNEL_SOURCES.as_bytes()])
}

fn component_key() -> Key {
    Key::of([COMPONENT_SOURCES.as_bytes()])
}

fn image_key() -> Key {
    Key::of([
        component_key().bytes(),
        aot::settings().as_bytes(),
        // Finds what the header says of the component.
        include_bytes!("cpython.rs"),
    ])
}

/// Names the Linux guest of a recipe.
fn parts_key(recipe: &Recipe) -> Key {
    let root = recipe.key(&linux::RECIPE);
    Key::of([root.bytes(), AGENT_SOURCES.as_bytes()])
}

/// Builds and keeps what VMs boot.
#[derive(Clone, Debug)]
pub struct Images {
    store: Store,
    cache: PathBuf,
    source_root: PathBuf,
    shelf: Shelf,
}

impl Images {
    /// Keeps everything under `root`; builds from the project's sources at `source_root`.
    #[must_use]
    pub fn new(root: PathBuf, source_root: PathBuf) -> Self {
        Self {
            store: Store::new(root.join("store")),
            cache: root.join("build"),
            shelf: Shelf::new(root.join("images")),
            source_root,
        }
    }

    /// The store, for what else is built from these.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Says what of kernel and image is to be built, and about how long that takes, if anything is.
    pub fn announce(&self, progress: &dyn Progress) {
        let has_image = self.store.has(IMAGE, image_key());
        let language = &adapter().language;
        let parts = [
            (
                "kernel".to_owned(),
                self.store.has(KERNEL, kernel_key()),
                KERNEL_S,
            ),
            (
                format!("{language} component"),
                has_image || self.store.has(COMPONENT, component_key()),
                COMPONENT_S,
            ),
            (format!("{language} image"), has_image, IMAGE_S),
        ];
        let missing: Vec<_> = parts.iter().filter(|(_, is_there, _)| !is_there).collect();
        if missing.is_empty() {
            return;
        }
        let names: Vec<_> = missing.iter().map(|(name, _, _)| name.as_str()).collect();
        let seconds: u32 = missing.iter().map(|(_, _, seconds)| seconds).sum();
        let time = match seconds {
            0..60 => format!("{seconds} seconds"),
            60..90 => "a minute".to_owned(),
            _ => format!("{} minutes", (seconds + 30) / 60),
        };
        progress.step(&format!(
            "building once for this release, in about {time}: {} (kept in {})",
            names.join(", "),
            self.store.root().display()
        ));
    }

    /// The µkernel.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn kernel(&self, progress: &dyn Progress) -> Result<Artifact> {
        let key = kernel_key();
        let entry = self.store.get_or_build(KERNEL, key, progress, |folder| {
            self.check_sources(&inputs::KERNEL, KERNEL_SOURCES)?;
            progress.step("building the kernel");
            kernel::build(&self.source_root, &self.cache.join("kernel"), folder)
        })?;
        Ok(Artifact {
            path: entry.join(kernel::FILE),
            key,
        })
    }

    /// The image of the language.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn image(&self, progress: &dyn Progress) -> Result<Artifact> {
        let key = image_key();
        let entry = self.store.get_or_build(IMAGE, key, progress, |folder| {
            let component =
                self.store
                    .get_or_build(COMPONENT, component_key(), progress, |folder| {
                        self.check_sources(&inputs::COMPONENT, COMPONENT_SOURCES)?;
                        componentize::build(adapter(), &self.source_root, folder, progress)
                    })?;
            let path = component.join(componentize::COMPONENT_FILE);
            let component = fs::read(&path).map_err(|error| ImageError::file(&path, error))?;
            progress.step(&format!("compiling {} ahead of time", adapter().language));
            let path = folder.join(IMAGE_FILE);
            fs::write(&path, aot::image(adapter(), &component)?)
                .map_err(|error| ImageError::file(&path, error))
        })?;
        Ok(Artifact {
            path: entry.join(IMAGE_FILE),
            key,
        })
    }

    /// The Linux guest, as its own image or the user's of this name.
    ///
    /// # Errors
    /// [`ImageError::NoImage`]; see [`ImageError`].
    pub fn linux(&self, image: Option<&ImageName>, progress: &dyn Progress) -> Result<LinuxImage> {
        self.linux_of(&self.shelf.recipe(image)?, progress)
    }

    /// The key of [`Self::linux`]: names what kernel, initial file system and root are made from. Builds nothing.
    ///
    /// # Errors
    /// [`ImageError::NoImage`].
    pub fn linux_parts_key(&self, image: Option<&ImageName>) -> Result<Key> {
        Ok(parts_key(&self.shelf.recipe(image)?))
    }

    /// What the image was made from, to the digest. It is built first if it is not there.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn lock(&self, image: Option<&ImageName>, progress: &dyn Progress) -> Result<String> {
        let root = self.root_of(&self.shelf.recipe(image)?, progress)?;
        let path = root.join(linux::LOCK_FILE);
        fs::read_to_string(&path).map_err(|error| ImageError::file(&path, error))
    }

    /// The images users have made, by name.
    ///
    /// # Errors
    /// [`ImageError::File`].
    pub fn list(&self) -> Result<Vec<(ImageName, Recipe)>> {
        self.shelf.list()
    }

    /// Builds an image and gives it a name, which may be this recipe's already. `files` is a tar of what goes into it.
    /// Whoever adds the same name meanwhile waits.
    ///
    /// # Errors
    /// [`ImageError::ImageTaken`], [`ImageError::Locked`]; see [`ImageError`].
    pub fn add(
        &self,
        name: &ImageName,
        mut recipe: Recipe,
        files: Option<&[u8]>,
        progress: &dyn Progress,
    ) -> Result<()> {
        if let Some(lock) = &recipe.lock {
            lock.parse::<Lock>()?;
        }
        let making = self.shelf.begin(name)?;
        if let Some(files) = files {
            making.keep_files(&mut recipe, files)?;
        }
        making.check(&self.shelf, &recipe)?;
        self.linux_of(&recipe, progress)?;
        making.finish(&recipe)
    }

    /// Takes the name from an image, and what was built of it away, unless another name has it as well.
    ///
    /// # Errors
    /// [`ImageError::NoImage`], [`ImageError::File`].
    ///
    /// # Returns
    /// Whether it was the last of its kind, so that what was built is gone.
    pub fn remove(&self, name: &ImageName) -> Result<bool> {
        let recipe = self.shelf.recipe(Some(name))?;
        self.shelf.remove(name)?;
        let root_key = |recipe: &Recipe| recipe.key(&linux::RECIPE);
        let key = root_key(&recipe);
        let is_used = self.list()?.iter().any(|(_, other)| root_key(other) == key);
        if is_used || key == root_key(&Recipe::default()) {
            return Ok(false);
        }
        self.store.remove(LINUX_INITRD, parts_key(&recipe))?;
        self.store.remove(LINUX_ROOT, key)?;
        Ok(true)
    }

    fn root_of(&self, recipe: &Recipe, progress: &dyn Progress) -> Result<PathBuf> {
        let key = recipe.key(&linux::RECIPE);
        self.store.get_or_build(LINUX_ROOT, key, progress, |folder| {
            progress.step(&format!(
                "building the Linux guest's root from Debian's packages, once, in about {} minutes: some 1.3 GB (kept in {})",
                LINUX_ROOT_S.div_ceil(60),
                self.store.root().display()
            ));
            linux::build_root(recipe, folder)
        })
    }

    fn linux_of(&self, recipe: &Recipe, progress: &dyn Progress) -> Result<LinuxImage> {
        let root = self.root_of(recipe, progress)?;
        let key = parts_key(recipe);
        let initrd = self
            .store
            .get_or_build(LINUX_INITRD, key, progress, |folder| {
                self.check_sources(&inputs::AGENT, AGENT_SOURCES)?;
                progress.step("building the Linux guest's agent");
                let cache = self.cache.join("agent");
                linux::build_initrd(&self.source_root, &cache, &root, folder)
            })?;
        Ok(LinuxImage {
            kernel: root.join(linux::KERNEL_FILE),
            initrd: initrd.join(linux::INITRD_FILE),
            root: root.join(linux::ROOT_FILE),
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
