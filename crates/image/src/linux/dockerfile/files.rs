//! Files of an image: what COPY reads below the Dockerfile's folder, as a tar that is the same for the same files.

use super::super::EPOCH;
use crate::{ImageError, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Most bytes and files of all COPY lines.
const MAX_BYTES: u64 = 256 << 20;
const MAX_FILES: usize = 10_000;
/// Most folders within one another.
const MAX_DEPTH: usize = 64;
/// User and group whose files they are: the one programs are.
const USER: u64 = 1000;

enum Node {
    Folder,
    File {
        content: Vec<u8>,
        is_program: bool,
        owner: u64,
    },
}

/// Files by their path in the image, without the `/` it begins with.
pub(super) struct Files<'a> {
    folder: &'a Path,
    nodes: BTreeMap<String, Node>,
    bytes: u64,
}

impl<'a> Files<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            nodes: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Makes a folder, and those above it.
    pub(super) fn folder(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            if end > 0 {
                self.nodes
                    .entry(path[..end].to_owned())
                    .or_insert(Node::Folder);
            }
        }
    }

    /// Puts a file of ours there, which programs cannot change.
    pub(super) fn own(&mut self, path: &str, content: &str) {
        let node = Node::File {
            content: content.into(),
            is_program: false,
            owner: 0,
        };
        self.nodes.insert(path.to_owned(), node);
    }

    /// A file that was copied.
    pub(super) fn content(&self, path: &str, workdir: &str) -> Option<&[u8]> {
        let path = target(path, workdir).ok()?;
        match self.nodes.get(path.trim_start_matches('/'))? {
            Node::File { content, .. } => Some(content),
            Node::Folder => None,
        }
    }

    /// Copies files, and what is in folders, to `to`.
    pub(super) fn copy(&mut self, sources: &[String], to: &str, workdir: &str) -> Result<()> {
        let place = target(to, workdir)?;
        let is_known = matches!(self.nodes.get(&place[1..]), Some(Node::Folder)) || place == "/";
        let is_folder = to.ends_with('/') || to.ends_with('.') || is_known || sources.len() > 1;
        for source in sources {
            let (path, name) = self.source(source)?;
            let metadata =
                fs::symlink_metadata(&path).map_err(|error| ImageError::file(&path, error))?;
            if metadata.is_dir() {
                if self.folder.join(".dockerignore").exists() {
                    return Err(refused(
                        source,
                        "there is a .dockerignore, which is not understood: copy file by file",
                    ));
                }
                self.folder(&place);
                self.copy_folder(&path, &place, 0)?;
            } else if is_folder {
                self.folder(&place);
                self.copy_file(&path, &format!("{}/{name}", place.trim_end_matches('/')))?;
            } else {
                if let Some((above, _)) = place.rsplit_once('/') {
                    self.folder(above);
                }
                self.copy_file(&path, &place)?;
            }
        }
        Ok(())
    }

    /// A path below the folder, none of whose parts is a link; and its last part.
    fn source(&self, source: &str) -> Result<(PathBuf, String)> {
        if source.contains(['*', '?', '[']) {
            return Err(refused(source, "patterns are not supported"));
        }
        let mut path = self.folder.to_path_buf();
        let mut name = String::new();
        for part in Path::new(source).components() {
            match part {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(part) => {
                    path.push(part);
                    name = part.to_string_lossy().into_owned();
                }
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(refused(
                        source,
                        "only what is below the Dockerfile's folder can be copied",
                    ));
                }
            }
            if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
                return Err(refused(source, "links are not followed"));
            }
        }
        Ok((path, name))
    }

    fn copy_folder(&mut self, folder: &Path, to: &str, depth: usize) -> Result<()> {
        let failed = |error| ImageError::file(folder, error);
        if depth > MAX_DEPTH {
            return Err(refused(&folder.display().to_string(), "it is too deep"));
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| refused(&folder.display().to_string(), "a name in it is no text"))?;
            let to = format!("{}/{name}", to.trim_end_matches('/'));
            if entry.file_type().map_err(failed)?.is_dir() {
                self.folder(&to);
                self.copy_folder(&entry.path(), &to, depth + 1)?;
            } else {
                self.copy_file(&entry.path(), &to)?;
            }
        }
        Ok(())
    }

    fn copy_file(&mut self, path: &Path, to: &str) -> Result<()> {
        let failed = |error| ImageError::file(path, error);
        let shown = || path.display().to_string();
        let metadata = fs::symlink_metadata(path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(refused(&shown(), "it is neither a file nor a folder"));
        }
        let is_room = self.bytes.saturating_add(metadata.len()) <= MAX_BYTES;
        if !is_room || self.nodes.len() >= MAX_FILES {
            return Err(refused(
                &shown(),
                "files of an image are at most 10000, of 256 MiB",
            ));
        }
        let content = fs::read(path).map_err(failed)?;
        self.bytes += content.len() as u64;
        let node = Node::File {
            content,
            is_program: metadata.permissions().mode() & 0o100 != 0,
            owner: USER,
        };
        self.nodes
            .insert(to.trim_start_matches('/').to_owned(), node);
        Ok(())
    }

    /// The archive, if there is anything in it.
    pub(super) fn tar(self) -> Result<Option<Vec<u8>>> {
        if self.nodes.is_empty() {
            return Ok(None);
        }
        let failed = |error| ImageError::file("the archive of files".as_ref(), error);
        let mut archive = tar::Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(EPOCH.parse().unwrap_or_default());
            let (content, owner, mode, kind) = match node {
                Node::Folder => (&[][..], USER, 0o755, tar::EntryType::Directory),
                Node::File {
                    content,
                    is_program,
                    owner,
                } => {
                    let mode = if *is_program { 0o755 } else { 0o644 };
                    (&content[..], *owner, mode, tar::EntryType::Regular)
                }
            };
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(owner);
            header.set_gid(owner);
            header.set_size(content.len() as u64);
            archive
                .append_data(&mut header, path, content)
                .map_err(failed)?;
        }
        archive.into_inner().map(Some).map_err(failed)
    }
}

/// An absolute path in the image, seen from `workdir`.
pub(super) fn target(path: &str, workdir: &str) -> Result<String> {
    let mut parts: Vec<&str> = Vec::new();
    let from = if path.starts_with('/') { "" } else { workdir };
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => return Err(refused(path, "`..` is not supported")),
            part => parts.push(part),
        }
    }
    let whole = format!("/{}", parts.join("/"));
    if whole.len() > 4000
        || whole.contains('\0')
        || whole == "/etc/ukernel"
        || whole.starts_with("/etc/ukernel/")
    {
        return Err(refused(path, "nothing can be put there"));
    }
    Ok(whole)
}

fn refused(path: &str, why: &str) -> ImageError {
    let path: String = path.escape_debug().take(120).collect();
    ImageError::BadFile {
        path,
        why: why.to_owned(),
    }
}
