//! Nodes and what can be done with them.

use super::FileError;
use super::content::Content;
use super::quota::Quota;
use crate::{clock, mem};
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
pub(crate) struct NodeId(pub(super) usize);

impl NodeId {
    /// The number, for inode fields.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
}

/// What is known about a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub(crate) kind: Kind,
    pub(crate) bytes: u64,
    pub(crate) names: u64,
    /// Wall clock, nanoseconds.
    pub(crate) accessed_ns: u64,
    /// Wall clock, nanoseconds.
    pub(crate) modified_ns: u64,
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
pub(crate) struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    quota: Quota,
}

impl Tree {
    /// The root folder.
    pub(crate) const ROOT: NodeId = NodeId(0);

    /// A tree without a root: [`Self::format`] makes it one.
    pub(crate) const fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            quota: Quota::new(0),
        }
    }

    /// Makes the root and the folders every program expects.
    pub(crate) fn format(&mut self, quota_bytes: u64) {
        self.quota = Quota::new(quota_bytes);
        self.nodes.clear();
        self.nodes.push(Some(Node::new(Body::Directory {
            entries: BTreeMap::new(),
            parent: Self::ROOT,
        })));
        for folder in ["tmp", "home"] {
            // A fresh tree with a quota has room for two folders.
            let _ = self.make_folder(Self::ROOT, folder);
        }
    }

    /// Bytes of the quota in use.
    #[cfg(test)]
    pub(crate) fn used_bytes(&self) -> u64 {
        self.quota.used()
    }

    /// The quota of the moment.
    #[cfg(test)]
    pub(crate) fn quota_bytes(&self) -> u64 {
        self.quota.limit()
    }

    /// What the tree may hold from now on, in bytes: `quota`, doubling up to `max`.
    pub(crate) fn set_quota(&mut self, quota: u64, max: u64) {
        self.quota.set(quota, max);
    }

    /// The quotas it has doubled to since this was last asked, in bytes.
    pub(crate) fn take_grown(&mut self) -> Vec<u64> {
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
        let node = self.node_mut(id)?;
        node.modified_ns = clock::wall_ns();
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
        mem::sparing(|| self.nodes.try_reserve(more)).map_err(|_| FileError::Quota)?;
        self.pay_for_name()?;
        let node = Some(Node::new(body));
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
        let there = mem::sparing(|| room.try_reserve_exact(NAME_ROOM_BYTES + MAX_PATH_BYTES));
        there.map_err(|_| FileError::Quota)?;
        self.quota.take(NODE_BYTES)
    }

    /// Makes an empty file; the one there is if there is one and it may be.
    pub(crate) fn make_file(
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
    pub(crate) fn make_folder(&mut self, from: NodeId, path: &str) -> Result<NodeId, FileError> {
        let place = self.place(from, path, false)?;
        let body = Body::Directory {
            entries: BTreeMap::new(),
            parent: place.folder,
        };
        self.add(place.folder, &place.name, body)
    }

    /// Makes the folders above the last part of `path`, as far as they are missing.
    pub(crate) fn make_folders_above(&mut self, path: &str) -> Result<(), FileError> {
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            match self.make_folder(Self::ROOT, &path[..at]) {
                Ok(_) | Err(FileError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes a symbolic link to `target`, which need not exist.
    pub(crate) fn make_link(
        &mut self,
        from: NodeId,
        path: &str,
        target: &str,
    ) -> Result<(), FileError> {
        let place = self.place(from, path, false)?;
        self.add(place.folder, &place.name, Body::Link(target.to_string()))
            .map(|_| ())
    }

    /// Gives a file a second name.
    pub(crate) fn add_name(
        &mut self,
        node: NodeId,
        from: NodeId,
        path: &str,
    ) -> Result<(), FileError> {
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
    pub(crate) fn unlink(&mut self, from: NodeId, path: &str) -> Result<(), FileError> {
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
    pub(crate) fn remove_folder(&mut self, from: NodeId, path: &str) -> Result<(), FileError> {
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
    pub(crate) fn rename(
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
    pub(crate) fn open(&mut self, node: NodeId) -> Result<(), FileError> {
        self.node_mut(node)?.opens += 1;
        Ok(())
    }

    /// Lets go of a node.
    pub(crate) fn close(&mut self, node: NodeId) {
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
    pub(crate) fn status(&self, id: NodeId) -> Result<Status, FileError> {
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
    pub(crate) fn set_times(
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
    pub(crate) fn list(&self, folder: NodeId) -> Result<Vec<(String, NodeId)>, FileError> {
        Ok(self
            .entries(folder)?
            .iter()
            .map(|(name, node)| (name.clone(), *node))
            .collect())
    }

    /// Where a symbolic link points.
    pub(crate) fn read_link(&self, node: NodeId) -> Result<String, FileError> {
        self.link_target(node)
            .map(ToString::to_string)
            .ok_or(FileError::Invalid)
    }

    /// Reads a file from `offset` on; fewer bytes than asked for at its end.
    pub(crate) fn read(
        &self,
        id: NodeId,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>, FileError> {
        match &self.node(id)?.body {
            Body::File(content) => content.read(offset, max_bytes),
            Body::Directory { .. } => Err(FileError::IsDirectory),
            Body::Link(_) => Err(FileError::Invalid),
        }
    }

    /// Writes to a file, all or nothing.
    pub(crate) fn write(&mut self, id: NodeId, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.change(id, |content, quota| content.write(offset, bytes, quota))
    }

    /// Cuts a file off or extends it with zeros.
    pub(crate) fn resize(&mut self, id: NodeId, length: u64) -> Result<(), FileError> {
        self.change(id, |content, quota| content.resize(length, quota))
    }

    fn change(
        &mut self,
        id: NodeId,
        change: impl FnOnce(&mut Content, &mut Quota) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let node = self
            .nodes
            .get_mut(id.0)
            .and_then(Option::as_mut)
            .ok_or(FileError::NotFound)?;
        node.modified_ns = clock::wall_ns();
        match &mut node.body {
            Body::File(content) => change(content, &mut self.quota),
            Body::Directory { .. } => Err(FileError::IsDirectory),
            Body::Link(_) => Err(FileError::Invalid),
        }
    }
}

impl Node {
    fn new(body: Body) -> Self {
        let now = clock::wall_ns();
        Self {
            body,
            names: 1,
            opens: 0,
            accessed_ns: now,
            modified_ns: now,
        }
    }
}
