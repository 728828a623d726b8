//! A file or folder of the host as an archive. Only regular files are opened, and no link is
//! followed but one the user named.

use std::fs::{self, File, FileType};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use ukernel_machine::file;
use ukernel_sandbox::session::Moved;

/// Bytes of the archive written at once.
const PIECE_BYTES: usize = 64 << 10;

/// What is put into a session.
pub enum Source {
    /// A file.
    File(File),
    /// What is in a folder.
    Folder(PathBuf),
}

/// Opens what the user named; `-` is standard input, kept in a temporary file because an archive
/// says lengths first.
pub fn open(source: &Path) -> io::Result<Source> {
    if source == Path::new("-") {
        let mut kept = tempfile::tempfile()?;
        io::copy(&mut io::stdin().lock(), &mut kept)?;
        kept.rewind()?;
        return Ok(Source::File(kept));
    }
    if fs::metadata(source)?.is_dir() {
        return Ok(Source::Folder(source.to_owned()));
    }
    file::open(&fs::canonicalize(source)?).map(Source::File)
}

/// Writes the archive, and says what was left out of it.
pub fn pack(source: Source, out: impl Write) -> io::Result<Moved> {
    let mut archive = Builder::new(BufWriter::with_capacity(PIECE_BYTES, out));
    let mut moved = Moved::default();
    match source {
        Source::File(file) => {
            let bytes = file.metadata()?.len();
            add_file(&mut archive, ".", &file, bytes, &mut moved)?;
        }
        Source::Folder(path) => add_folder(&mut archive, path, &mut moved)?,
    }
    archive.into_inner()?.flush()?;
    Ok(moved)
}

fn add_folder(
    archive: &mut Builder<impl Write>,
    path: PathBuf,
    moved: &mut Moved,
) -> io::Result<()> {
    let mut folders = vec![(path, ".".to_owned())];
    let mut is_root = true;
    while let Some((path, name)) = folders.pop() {
        let mut entries =
            match fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(entries) => entries,
                Err(error) if is_root => return Err(error),
                Err(error) => {
                    moved.leave_out(&name, &error.to_string());
                    continue;
                }
            };
        is_root = false;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut header = header(EntryType::Directory, 0, 0o755);
        archive.append_data(&mut header, &name, io::empty())?;
        for entry in entries {
            let Ok(own_name) = entry.file_name().into_string() else {
                moved.leave_out(
                    &entry.file_name().to_string_lossy(),
                    "its name is not UTF-8",
                );
                continue;
            };
            let name = format!("{name}/{own_name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((entry.path(), name));
            } else if kind.is_file() {
                let opened = file::open(&entry.path());
                match opened.and_then(|file| Ok((file.metadata()?.len(), file))) {
                    Ok((bytes, file)) => add_file(archive, &name, &file, bytes, moved)?,
                    Err(error) => moved.leave_out(&name, &error.to_string()),
                }
            } else {
                moved.leave_out(&name, what(kind));
            }
        }
    }
    Ok(())
}

/// Adds a file of `bytes` bytes. One that has another length by now is cut, or filled with
/// zeros, and named.
fn add_file(
    archive: &mut Builder<impl Write>,
    name: &str,
    mut file: &File,
    bytes: u64,
    moved: &mut Moved,
) -> io::Result<()> {
    let mut header = header(EntryType::Regular, bytes, 0o644);
    let content = file.take(bytes).chain(io::repeat(0)).take(bytes);
    archive.append_data(&mut header, name, content)?;
    if file.stream_position()? < bytes || file.read(&mut [0])? > 0 {
        moved.leave_out(name, "changed while it was read");
    }
    Ok(())
}

fn header(kind: EntryType, bytes: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(mode);
    header
}

/// What it is, for people.
fn what(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "a link"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_file_that_changes_is_named() {
        for (promised, is_named) in [(4, false), (3, true), (5, true), (0, true)] {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(b"four").expect("written");
            file.rewind().expect("rewound");
            let mut archive = Builder::new(Vec::new());
            let mut moved = Moved::default();
            add_file(&mut archive, "f", &file, promised, &mut moved).expect("added");
            assert_eq!(moved.left_out == 1, is_named, "{promised}");
            let bytes = archive.into_inner().expect("an archive");
            let mut archive = tar::Archive::new(&bytes[..]);
            let mut entries = archive.entries().expect("entries");
            let entry = entries.next().expect("an entry").expect("readable");
            assert_eq!(entry.size(), promised);
        }
    }

    #[test]
    fn what_is_no_file_is_named_and_nothing_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).expect("made");
        fs::write(path("sub/file"), "1").expect("written");
        std::os::unix::fs::symlink("/etc", path("link")).expect("linked");
        let mode = rustix::fs::Mode::RUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), fifo, mode, 0).expect("a pipe");
        let _socket = UnixListener::bind(path("socket")).expect("a socket");
        assert!(open(&path("pipe")).is_err());
        let source = open(folder.path()).expect("a folder");
        let mut bytes = Vec::new();
        let moved = pack(source, &mut bytes).expect("packed");
        assert_eq!(moved.left_out, 3, "{moved:?}");
        let mut archive = tar::Archive::new(&bytes[..]);
        let names: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| entry.expect("readable").path_bytes().into_owned())
            .collect();
        assert_eq!(names, [&b"."[..], b"sub", b"sub/file"]);
    }
}
