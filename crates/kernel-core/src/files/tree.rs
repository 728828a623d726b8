//! Nodes and what can be done with them.

use super::FileError;
use super::content::Content;
use super::quota::Quota;
use crate::surroundings::{Surroundings, sparing};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ukernel_abi::message::MAX_PATH_BYTES;

/// What a node costs of the quota, whatever it holds, so that empty files end too.
const NODE_BYTES: u64 = 512;

/// Memory there must be before a name is added, beside its text: the map's nodes, which
/// cannot say that there was none.
const NAME_ROOM_BYTES: usize = 2048;

/// Names a node. Numbers of removed nodes are used again only when nothing has them open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub(super) usize);

impl NodeId {
    /// The number, for inode fields.
    pub fn number(self) -> u64 {
        self.0 as u64
    }

    /// The node of that number, if numbers go so far. Whether there is one, its use says.
    pub fn from_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().map(Self)
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Link,
}

/// What is known about a node.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What it is.
    pub kind: Kind,
    /// Length of a file, in bytes.
    pub bytes: u64,
    /// Names it has.
    pub names: u64,
    /// When it was last read, nanoseconds since 1970-01-01 UTC.
    pub accessed_ns: u64,
    /// When it was last changed, nanoseconds since 1970-01-01 UTC.
    pub modified_ns: u64,
}

enum Body {
    File(Content),
    Directory {
        entries: BTreeMap<String, NodeId>,
        parent: NodeId,
    },
    Link(String),
}

struct Node {
    body: Body,
    names: u64,
    opens: u64,
    accessed_ns: u64,
    modified_ns: u64,
}

/// The whole tree.
pub struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    quota: Quota,
    pub(crate) surroundings: &'static dyn Surroundings,
}

impl Tree {
    /// The root folder.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree without a root: [`Self::format`] makes it one.
    pub const fn empty(surroundings: &'static dyn Surroundings) -> Self {
        Self {
            surroundings,
            nodes: Vec::new(),
            free: Vec::new(),
            quota: Quota::new(0),
        }
    }

    /// Makes the root and the folders every program expects.
    pub fn format(&mut self, quota_bytes: u64) {
        self.quota = Quota::new(quota_bytes);
        self.nodes.clear();
        let root = Body::Directory {
            entries: BTreeMap::new(),
            parent: Self::ROOT,
        };
        let now = self.surroundings.wall_ns();
        self.nodes.push(Some(Node::new(root, now)));
        for folder in ["tmp", "home"] {
            // A fresh tree with a quota has room for two folders.
            let _ = self.make_folder(Self::ROOT, folder);
        }
    }

    /// Bytes of the quota in use.
    #[cfg(test)]
    pub fn used_bytes(&self) -> u64 {
        self.quota.used()
    }

    /// The quota of the moment.
    #[cfg(test)]
    pub fn quota_bytes(&self) -> u64 {
        self.quota.limit()
    }

    /// What the tree may hold from now on, in bytes: `quota`, doubling up to `max`.
    pub fn set_quota(&mut self, quota: u64, max: u64) {
        self.quota.set(quota, max);
    }

    /// The quotas it has doubled to since this was last asked, in bytes.
    pub fn take_grown(&mut self) -> Vec<u64> {
        self.quota.take_grown()
    }

    fn node(&self, id: NodeId) -> Result<&Node, FileError> {
        self.nodes
            .get(id.0)
            .and_then(Option::as_ref)
            .ok_or(FileError::NotFound)
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, FileError> {
        self.nodes
            .get_mut(id.0)
            .and_then(Option::as_mut)
            .ok_or(FileError::NotFound)
    }

    fn entries(&self, id: NodeId) -> Result<&BTreeMap<String, NodeId>, FileError> {
        match &self.node(id)?.body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => Err(FileError::NotDirectory),
        }
    }

    fn entries_mut(&mut self, id: NodeId) -> Result<&mut BTreeMap<String, NodeId>, FileError> {
        let now = self.surroundings.wall_ns();
        let node = self.node_mut(id)?;
        node.modified_ns = now;
        match &mut node.body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => Err(FileError::NotDirectory),
        }
    }

    pub(super) fn child(&self, folder: NodeId, name: &str) -> Result<Option<NodeId>, FileError> {
        Ok(self.entries(folder)?.get(name).copied())
    }

    pub(super) fn parent(&self, id: NodeId) -> NodeId {
        match self.node(id).map(|node| &node.body) {
            Ok(Body::Directory { parent, .. }) => *parent,
            _ => Self::ROOT,
        }
    }

    pub(super) fn link_target(&self, id: NodeId) -> Option<&str> {
        match self.node(id).map(|node| &node.body) {
            Ok(Body::Link(target)) => Some(target),
            _ => None,
        }
    }

    fn add(&mut self, folder: NodeId, name: &str, body: Body) -> Result<NodeId, FileError> {
        if self.entries(folder)?.contains_key(name) {
            return Err(FileError::Exists);
        }
        let more = usize::from(self.free.is_empty());
        sparing(self.surroundings, || self.nodes.try_reserve(more))
            .map_err(|_| FileError::Quota)?;
        self.pay_for_name()?;
        let node = Some(Node::new(body, self.surroundings.wall_ns()));
        let id = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                NodeId(at)
            }
            None => {
                self.nodes.push(node);
                NodeId(self.nodes.len() - 1)
            }
        };
        self.entries_mut(folder)?.insert(name.to_string(), id);
        Ok(id)
    }

    /// Makes sure of the memory a name needs, and counts it.
    fn pay_for_name(&mut self) -> Result<(), FileError> {
        let mut room: Vec<u8> = Vec::new();
        let there = sparing(self.surroundings, || {
            room.try_reserve_exact(NAME_ROOM_BYTES + MAX_PATH_BYTES)
        });
        there.map_err(|_| FileError::Quota)?;
        self.quota.take(NODE_BYTES)
    }

    /// Makes an empty file; the one there is if there is one and it may be.
    pub fn make_file(
        &mut self,
        from: NodeId,
        path: &str,
        exclusive: bool,
    ) -> Result<NodeId, FileError> {
        match self.find(from, path, true) {
            Ok(_) if exclusive => Err(FileError::Exists),
            Ok(node) => Ok(node),
            Err(FileError::NotFound) => {
                let place = self.place(from, path, true)?;
                self.add(place.folder, &place.name, Body::File(Content::default()))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a folder.
    pub fn make_folder(&mut self, from: NodeId, path: &str) -> Result<NodeId, FileError> {
        let place = self.place(from, path, false)?;
        let body = Body::Directory {
            entries: BTreeMap::new(),
            parent: place.folder,
        };
        self.add(place.folder, &place.name, body)
    }

    /// Makes the folders above the last part of `path`, as far as they are missing.
    pub fn make_folders_above(&mut self, path: &str) -> Result<(), FileError> {
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            match self.make_folder(Self::ROOT, &path[..at]) {
                Ok(_) | Err(FileError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes a symbolic link to `target`, which need not exist.
    pub fn make_link(&mut self, from: NodeId, path: &str, target: &str) -> Result<(), FileError> {
        let place = self.place(from, path, false)?;
        self.add(place.folder, &place.name, Body::Link(target.to_string()))
            .map(|_| ())
    }

    /// Gives a file a second name.
    pub fn add_name(&mut self, node: NodeId, from: NodeId, path: &str) -> Result<(), FileError> {
        if self.status(node)?.kind == Kind::Directory {
            return Err(FileError::IsDirectory);
        }
        let place = self.place(from, path, false)?;
        if self.child(place.folder, &place.name)?.is_some() {
            return Err(FileError::Exists);
        }
        self.pay_for_name()?;
        self.entries_mut(place.folder)?.insert(place.name, node);
        self.node_mut(node)?.names += 1;
        Ok(())
    }

    /// Removes a file's name.
    pub fn unlink(&mut self, from: NodeId, path: &str) -> Result<(), FileError> {
        let place = self.place(from, path, false)?;
        let node = self
            .child(place.folder, &place.name)?
            .ok_or(FileError::NotFound)?;
        if self.status(node)?.kind == Kind::Directory {
            return Err(FileError::IsDirectory);
        }
        self.entries_mut(place.folder)?.remove(&place.name);
        self.drop_name(node)
    }

    /// Removes an empty folder.
    pub fn remove_folder(&mut self, from: NodeId, path: &str) -> Result<(), FileError> {
        let place = self
            .place(from, path, false)
            .map_err(|_| FileError::Invalid)?;
        let node = self
            .child(place.folder, &place.name)?
            .ok_or(FileError::NotFound)?;
        if !self.entries(node)?.is_empty() {
            return Err(FileError::NotEmpty);
        }
        self.entries_mut(place.folder)?.remove(&place.name);
        self.drop_name(node)
    }

    /// Gives what `old` names the name `new`, in place of what was there (rename(2)).
    pub fn rename(
        &mut self,
        old_from: NodeId,
        old: &str,
        new_from: NodeId,
        new: &str,
    ) -> Result<(), FileError> {
        let old = self
            .place(old_from, old, false)
            .map_err(|_| FileError::Invalid)?;
        let new = self
            .place(new_from, new, false)
            .map_err(|_| FileError::Invalid)?;
        let node = self
            .child(old.folder, &old.name)?
            .ok_or(FileError::NotFound)?;
        let is_folder = self.status(node)?.kind == Kind::Directory;
        if is_folder && self.is_inside(new.folder, node) {
            return Err(FileError::Invalid);
        }
        let replaced = self.child(new.folder, &new.name)?;
        if let Some(replaced) = replaced {
            if replaced == node {
                return Ok(());
            }
            let folder_there = self.status(replaced)?.kind == Kind::Directory;
            match (is_folder, folder_there) {
                (true, false) => return Err(FileError::NotDirectory),
                (false, true) => return Err(FileError::IsDirectory),
                (true, true) if !self.entries(replaced)?.is_empty() => {
                    return Err(FileError::NotEmpty);
                }
                _ => {}
            }
        }
        self.entries_mut(old.folder)?.remove(&old.name);
        self.entries_mut(new.folder)?.insert(new.name, node);
        if let Body::Directory { parent, .. } = &mut self.node_mut(node)?.body {
            *parent = new.folder;
        }
        replaced.map_or(Ok(()), |replaced| self.drop_name(replaced))
    }

    fn is_inside(&self, mut folder: NodeId, ancestor: NodeId) -> bool {
        loop {
            if folder == ancestor {
                return true;
            }
            if folder == Self::ROOT {
                return false;
            }
            folder = self.parent(folder);
        }
    }

    /// Keeps a node alive until [`Self::close`].
    pub fn open(&mut self, node: NodeId) -> Result<(), FileError> {
        self.node_mut(node)?.opens += 1;
        Ok(())
    }

    /// Lets go of a node.
    pub fn close(&mut self, node: NodeId) {
        if let Ok(found) = self.node_mut(node) {
            found.opens = found.opens.saturating_sub(1);
            self.collect(node);
        }
    }

    fn drop_name(&mut self, node: NodeId) -> Result<(), FileError> {
        let found = self.node_mut(node)?;
        found.names -= 1;
        if found.names > 0 {
            self.quota.give_back(NODE_BYTES);
        }
        self.collect(node);
        Ok(())
    }

    fn collect(&mut self, id: NodeId) {
        let unused = self
            .node(id)
            .is_ok_and(|node| node.names == 0 && node.opens == 0);
        if unused && let Some(mut node) = self.nodes[id.0].take() {
            if let Body::File(content) = &mut node.body {
                // Shrinking to nothing cannot fail.
                let _ = content.resize(0, &mut self.quota);
            }
            self.quota.give_back(NODE_BYTES);
            self.free.push(id.0);
        }
    }

    /// What is known about a node.
    pub fn status(&self, id: NodeId) -> Result<Status, FileError> {
        let node = self.node(id)?;
        let (kind, bytes) = match &node.body {
            Body::File(content) => (Kind::File, content.length()),
            Body::Directory { .. } => (Kind::Directory, 0),
            Body::Link(target) => (Kind::Link, target.len() as u64),
        };
        Ok(Status {
            kind,
            bytes,
            names: node.names,
            accessed_ns: node.accessed_ns,
            modified_ns: node.modified_ns,
        })
    }

    /// Sets the times that are given.
    pub fn set_times(
        &mut self,
        id: NodeId,
        accessed_ns: Option<u64>,
        modified_ns: Option<u64>,
    ) -> Result<(), FileError> {
        let node = self.node_mut(id)?;
        node.accessed_ns = accessed_ns.unwrap_or(node.accessed_ns);
        node.modified_ns = modified_ns.unwrap_or(node.modified_ns);
        Ok(())
    }

    /// Names and nodes in a folder, in order of the names.
    pub fn list(&self, folder: NodeId) -> Result<Vec<(String, NodeId)>, FileError> {
        Ok(self
            .entries(folder)?
            .iter()
            .map(|(name, node)| (name.clone(), *node))
            .collect())
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, node: NodeId) -> Result<String, FileError> {
        self.link_target(node)
            .map(ToString::to_string)
            .ok_or(FileError::Invalid)
    }

    /// Reads a file from `offset` on; fewer bytes than asked for at its end.
    pub fn read(&self, id: NodeId, offset: u64, max_bytes: usize) -> Result<Vec<u8>, FileError> {
        match &self.node(id)?.body {
            Body::File(content) => content.read(offset, max_bytes, self.surroundings),
            Body::Directory { .. } => Err(FileError::IsDirectory),
            Body::Link(_) => Err(FileError::Invalid),
        }
    }

    /// Writes to a file, all or nothing.
    pub fn write(&mut self, id: NodeId, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let surroundings = self.surroundings;
        self.change(id, |content, quota| {
            content.write(offset, bytes, quota, surroundings)
        })
    }

    /// Cuts a file off or extends it with zeros.
    pub fn resize(&mut self, id: NodeId, length: u64) -> Result<(), FileError> {
        self.change(id, |content, quota| content.resize(length, quota))
    }

    fn change(
        &mut self,
        id: NodeId,
        change: impl FnOnce(&mut Content, &mut Quota) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let now = self.surroundings.wall_ns();
        let node = self
            .nodes
            .get_mut(id.0)
            .and_then(Option::as_mut)
            .ok_or(FileError::NotFound)?;
        node.modified_ns = now;
        match &mut node.body {
            Body::File(content) => change(content, &mut self.quota),
            Body::Directory { .. } => Err(FileError::IsDirectory),
            Body::Link(_) => Err(FileError::Invalid),
        }
    }
}

impl Node {
    fn new(body: Body, now: u64) -> Self {
        Self {
            body,
            names: 1,
            opens: 0,
            accessed_ns: now,
            modified_ns: now,
        }
    }
}
