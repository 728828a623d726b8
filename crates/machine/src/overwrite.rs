//! Files written over, which costs less than making them anew.

use crate::{MachineError, Result};
use std::fs::File;
use std::io::Seek;
use std::path::Path;

/// Opens a file to be written from its start and then [`cut`]. Cutting it first would have file
/// systems write it to the disk when it is closed.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| MachineError::io(format!("opening {}", path.display()), error))
}

/// Cuts a file where it stands.
pub(crate) fn cut(file: &mut File, path: &Path) -> Result<()> {
    file.stream_position()
        .and_then(|end| file.set_len(end))
        .map_err(|error| MachineError::io(format!("cutting {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn nothing_of_before_is_left() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("f");
        for content in ["long content", "short", "longer again"] {
            let mut file = open(&path).expect("opened");
            file.write_all(content.as_bytes()).expect("written");
            cut(&mut file, &path).expect("cut");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), content);
        }
    }
}
