//! The images users have made: their recipes, by name.
//!
//! ```text
//!   images/NAME/recipe.json     what it is made from
//!               files.tar       files that go into it
//!   images/.NAME.new/           the same while it is made; the lock `.NAME.lock` says whether somebody is at it
//! ```

use super::name::{BASE, ImageName};
use super::recipe::Recipe;
use crate::{ImageError, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const RECIPE_FILE: &str = "recipe.json";
const FILES_FILE: &str = "files.tar";

/// The folder of recipes.
#[derive(Clone, Debug)]
pub(crate) struct Shelf(PathBuf);

/// An image that is being made. Others that want the same name wait.
pub(crate) struct Making {
    name: ImageName,
    place: PathBuf,
    fresh: PathBuf,
    _lock: File,
}

impl Shelf {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The recipe of a name; of none, the guest's own.
    pub(crate) fn recipe(&self, name: Option<&ImageName>) -> Result<Recipe> {
        let Some(name) = name.filter(|name| name.as_str() != BASE) else {
            return Ok(Recipe::default());
        };
        let folder = self.0.join(name.as_str());
        let path = folder.join(RECIPE_FILE);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ImageError::NoImage(name.clone()),
            _ => ImageError::file(&path, error),
        })?;
        let mut recipe: Recipe =
            serde_json::from_str(&text).map_err(|error| ImageError::file(&path, error.into()))?;
        recipe.files_path = recipe.files.as_ref().map(|_| folder.join(FILES_FILE));
        Ok(recipe)
    }

    /// Names and recipes, by name.
    pub(crate) fn list(&self) -> Result<Vec<(ImageName, Recipe)>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| ImageError::file(&self.0, error))?,
        };
        let mut names: Vec<ImageName> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        names
            .into_iter()
            .map(|name| Ok((name.clone(), self.recipe(Some(&name))?)))
            .collect()
    }

    /// Begins to make an image, after those who are at one of this name.
    pub(crate) fn begin(&self, name: &ImageName) -> Result<Making> {
        if name.as_str() == BASE {
            return Err(ImageError::ImageTaken(name.clone()));
        }
        fs::create_dir_all(&self.0).map_err(|error| ImageError::file(&self.0, error))?;
        let path = self.0.join(format!(".{name}.lock"));
        let failed = |error| ImageError::file(&path, error);
        let lock = File::create(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let fresh = self.0.join(format!(".{name}.new"));
        clear(&fresh)?;
        fs::create_dir(&fresh).map_err(|error| ImageError::file(&fresh, error))?;
        Ok(Making {
            name: name.clone(),
            place: self.0.join(name.as_str()),
            fresh,
            _lock: lock,
        })
    }

    /// Removes the recipe of this name.
    pub(crate) fn remove(&self, name: &ImageName) -> Result<()> {
        self.recipe(Some(name))?;
        let making = self.begin(name)?;
        let gone = making.fresh.join("gone");
        fs::rename(&making.place, &gone).map_err(|error| ImageError::file(&making.place, error))
    }
}

impl Making {
    /// Gives the recipe its files.
    pub(crate) fn keep_files(&self, recipe: &mut Recipe, tar: &[u8]) -> Result<()> {
        let path = self.fresh.join(FILES_FILE);
        fs::write(&path, tar).map_err(|error| ImageError::file(&path, error))?;
        recipe.files = Some(blake3::hash(tar).to_hex().to_string());
        recipe.files_path = Some(path);
        Ok(())
    }

    /// Gives the name to the recipe. The same recipe may have it already.
    pub(crate) fn finish(&self, recipe: &Recipe) -> Result<()> {
        let path = self.fresh.join(RECIPE_FILE);
        let text = serde_json::to_vec_pretty(recipe)
            .map_err(|error| ImageError::file(&path, error.into()))?;
        fs::write(&path, text).map_err(|error| ImageError::file(&path, error))?;
        if self.place.exists() {
            return Ok(());
        }
        fs::rename(&self.fresh, &self.place).map_err(|error| ImageError::file(&self.place, error))
    }

    /// Refuses a name that another recipe has.
    pub(crate) fn check(&self, shelf: &Shelf, recipe: &Recipe) -> Result<()> {
        let of_another = |known: &Recipe| {
            let mut known = known.clone();
            known.files_path.clone_from(&recipe.files_path);
            known != *recipe
        };
        match shelf.recipe(Some(&self.name)) {
            Err(ImageError::NoImage(_)) => Ok(()),
            Ok(known) if of_another(&known) => Err(ImageError::ImageTaken(self.name.clone())),
            known => known.map(|_| ()),
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // What stays is cleared by the next one.
        let _ = clear(&self.fresh);
    }
}

fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ImageError::file(folder, error))
        }
        _ => Ok(()),
    }
}
