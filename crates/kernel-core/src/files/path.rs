//! Paths: from a folder and a text to a node, or to a folder and a name in it.

use super::tree::{Kind, NodeId, Tree};
use super::{FileError, MAX_LINKS, MAX_NAME_BYTES};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ukernel_abi::message::MAX_PATH_BYTES;

/// Where the last part of a path points: a name in a folder, there or not.
pub(super) struct Place {
    pub(super) folder: NodeId,
    pub(super) name: String,
}

enum Target {
    Node(NodeId),
    Place(Place),
}

impl Tree {
    /// The node at `path`; its last part's symbolic link is followed if `follow`.
    pub fn find(&self, from: NodeId, path: &str, follow: bool) -> Result<NodeId, FileError> {
        match self.walk(from, path, follow)? {
            Target::Node(node) => Ok(node),
            Target::Place(place) => self
                .child(place.folder, &place.name)?
                .ok_or(FileError::NotFound),
        }
    }

    /// The folder and name at `path`, for making, renaming or removing something there.
    pub(super) fn place(&self, from: NodeId, path: &str, follow: bool) -> Result<Place, FileError> {
        match self.walk(from, path, follow)? {
            Target::Place(place) => Ok(place),
            Target::Node(_) => Err(FileError::Exists),
        }
    }

    fn walk(&self, from: NodeId, path: &str, follow: bool) -> Result<Target, FileError> {
        if path.is_empty() || path.contains('\0') {
            return Err(FileError::Invalid);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(FileError::NameTooLong);
        }
        let mut at = if path.starts_with('/') {
            Tree::ROOT
        } else {
            from
        };
        let mut links = 0;
        // Parts still to go, last first.
        let mut parts: Vec<String> = split(path);
        let wants_folder = path.ends_with('/');
        while let Some(part) = parts.pop() {
            if self.status(at)?.kind != Kind::Directory {
                return Err(FileError::NotDirectory);
            }
            if part == ".." {
                at = self.parent(at);
                continue;
            }
            if part.len() > MAX_NAME_BYTES {
                return Err(FileError::NameTooLong);
            }
            let last = parts.is_empty();
            let Some(child) = self.child(at, &part)? else {
                return if last {
                    Ok(Target::Place(Place {
                        folder: at,
                        name: part,
                    }))
                } else {
                    Err(FileError::NotFound)
                };
            };
            match self.link_target(child) {
                Some(target) if !last || follow || wants_folder => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(FileError::TooManyLinks);
                    }
                    let target = target.to_string();
                    if target.starts_with('/') {
                        at = Tree::ROOT;
                    }
                    parts.extend(split(&target));
                }
                _ if last => {
                    return Ok(Target::Place(Place {
                        folder: at,
                        name: part,
                    }));
                }
                _ => at = child,
            }
        }
        Ok(Target::Node(at))
    }
}

fn split(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .rev()
        .map(ToString::to_string)
        .collect()
}
