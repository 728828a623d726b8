//! An archive from a session as a file or folder of the host, not under its name yet.
//!
//! The names come from a guest, which may be hostile. Only regular files and folders are made,
//! in a folder where nothing was before, so there is no link that could be followed.

use crate::target::Staged;
use std::fs::{self, File};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, EntryType};

/// Unpacks beside `target`; a file for `-` goes to standard output. `None`: the archive is empty,
/// or the file has been written to standard output.
pub fn unpack(archive: impl Read, target: &Path) -> io::Result<Option<Staged>> {
    let mut archive = Archive::new(archive);
    let is_stdout = target == Path::new("-");
    let mut staged = None;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = relative(&entry.path_bytes())?;
        let bytes = entry.size();
        let is_root = name.as_os_str().is_empty();
        match (entry.header().entry_type(), &staged) {
            (EntryType::Regular, None) if is_root && is_stdout => {
                let mut stdout = io::stdout().lock();
                copy(&mut entry, &mut stdout, bytes)?;
                stdout.flush()?;
            }
            (EntryType::Regular, None) if is_root => {
                let (file, kept) = Staged::file(target)?;
                copy(&mut entry, &mut &file, bytes)?;
                staged = Some(kept);
            }
            (EntryType::Directory, None) if is_root && is_stdout => {
                let what = "a folder cannot go to standard output";
                return Err(Error::new(ErrorKind::IsADirectory, what));
            }
            (EntryType::Directory, None) if is_root => staged = Some(Staged::folder(target)?),
            (EntryType::Directory, Some(Staged::Folder(folder))) if !is_root => {
                fs::create_dir(folder.path().join(name))?;
            }
            (EntryType::Regular, Some(Staged::Folder(folder))) if !is_root => {
                let mut file = File::create_new(folder.path().join(name))?;
                copy(&mut entry, &mut file, bytes)?;
            }
            _ => return Err(refused(&name)),
        }
    }
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(staged)
}

/// Copies the content of an entry, all of it.
fn copy(entry: &mut impl Read, out: &mut impl Write, bytes: u64) -> io::Result<()> {
    if io::copy(entry, out)? < bytes {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The name of an entry, which may not lead out of the folder.
fn relative(name: &[u8]) -> io::Result<PathBuf> {
    let shown = PathBuf::from(String::from_utf8_lossy(name).into_owned());
    let name = std::str::from_utf8(name).map_err(|_| refused(&shown))?;
    Path::new(name)
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| match component {
            Component::Normal(part) => Ok(part),
            _ => Err(refused(&shown)),
        })
        .collect()
}

fn refused(name: &Path) -> Error {
    let what = format!("the archive holds {name:?}, which may not be made here");
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    /// An archive as a hostile guest would have it: `tar` itself refuses such names.
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_link_name("/etc/passwd").expect("a link");
            header.set_cksum();
            archive.append(&header, content.as_bytes()).expect("added");
        }
        archive.into_inner().expect("an archive")
    }

    const ROOT: (&str, EntryType, &str) = (".", EntryType::Directory, "");

    #[test]
    fn hostile_archives_make_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("here");
        let outside = folder.path().join("outside");
        let outside = outside.to_str().expect("text");
        for entries in [
            &[ROOT, ("../x", EntryType::Regular, "1")][..],
            &[ROOT, ("a/../../x", EntryType::Regular, "1")],
            &[ROOT, (outside, EntryType::Regular, "1")],
            &[ROOT, ("..", EntryType::Directory, "")],
            &[ROOT, ("l", EntryType::Symlink, "")],
            &[ROOT, ("l", EntryType::Link, "")],
            &[ROOT, ("p", EntryType::Fifo, "")],
            &[ROOT, ("d", EntryType::Block, "")],
            &[ROOT, ROOT],
            &[ROOT, (".", EntryType::Regular, "1")],
            &[
                ROOT,
                ("f", EntryType::Regular, "1"),
                ("f", EntryType::Regular, "2"),
            ],
            &[
                ROOT,
                ("f", EntryType::Regular, "1"),
                ("f/g", EntryType::Regular, "2"),
            ],
            &[
                ROOT,
                ("f", EntryType::Regular, "1"),
                ("f", EntryType::Directory, ""),
            ],
            &[ROOT, ("absent/f", EntryType::Regular, "1")],
            &[("f", EntryType::Regular, "1")],
            &[
                (".", EntryType::Regular, "1"),
                ("f", EntryType::Regular, "2"),
            ],
            &[(".", EntryType::Symlink, "")],
        ] {
            let unpacked = unpack(&archive(entries)[..], &target);
            assert!(unpacked.is_err(), "{entries:?}");
        }
        let left = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "nothing temporary is left");
    }

    #[test]
    fn an_archive_that_breaks_off_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("here");
        let whole = archive(&[ROOT, ("f", EntryType::Regular, "content")]);
        assert!(unpack(&whole[..], &target).expect("unpacked").is_some());
        for length in [100, 600, 1024 + 3] {
            assert!(unpack(&whole[..length], &target).is_err(), "{length}");
        }
    }
}
