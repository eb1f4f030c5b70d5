//! Inodes and directory entries: the tree itself, without the rules of who may change it.
//!
//! Every change of an inode goes through here, so that the hash follows it. Ids grow and are never used again: a block
//! of a file that is gone can never be taken for one of a later file.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::hash::SetHash;
use super::path::{FsPath, valid_name};
use crate::stack::wire::{BlockId, FileInfo, FsError, FsResult, InodeId, UfsRef};

/// `/`.
pub(super) const ROOT: InodeId = InodeId(0);

/// One file or directory.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub id: InodeId,
    /// Of the root, itself.
    pub parent: InodeId,
    /// Shared with the entry in the parent.
    pub name: Arc<str>,
    /// Journal index of the last change.
    pub version: u64,
    pub mtime_ms: u64,
    pub ufs: Option<Box<UfsRef>>,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Dir {
        children: BTreeMap<Arc<str>, InodeId>,
        /// Whether its under-store's listing is in, or there is none.
        loaded: bool,
    },
    File {
        length: u64,
        block_size: u64,
        completed: bool,
    },
}

impl Kind {
    /// A directory without entries.
    pub fn dir(loaded: bool) -> Self {
        Self::Dir { children: BTreeMap::new(), loaded }
    }
}

impl Inode {
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir { .. })
    }

    /// Entries of a directory; none of a file.
    pub fn children(&self) -> Option<&BTreeMap<Arc<str>, InodeId>> {
        match &self.kind {
            Kind::Dir { children, .. } => Some(children),
            Kind::File { .. } => None,
        }
    }

    /// A directory with entries.
    pub fn has_children(&self) -> bool {
        self.children().is_some_and(|children| !children.is_empty())
    }

    /// What `stat` tells.
    pub fn info(&self) -> FileInfo {
        let (length, block_size, completed) = match self.kind {
            Kind::Dir { .. } => (0, 0, true),
            Kind::File { length, block_size, completed } => (length, block_size, completed),
        };
        FileInfo {
            id: self.id,
            name: self.name.as_ref().into(),
            dir: self.is_dir(),
            length,
            block_size,
            completed,
            version: self.version,
            mtime_ms: self.mtime_ms,
            ufs: self.ufs.as_deref().cloned(),
        }
    }
}

/// Everything but the entries, which their inodes hash as parent and name.
impl Hash for Inode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.id, self.parent, &self.name, self.version, self.mtime_ms, &self.ufs).hash(state);
        match self.kind {
            Kind::Dir { loaded, .. } => (0u8, loaded).hash(state),
            Kind::File { length, block_size, completed } => (1u8, length, block_size, completed).hash(state),
        }
    }
}

/// When a change happened: its journal index and the proposing leader's wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub index: u64,
    pub wall_ms: u64,
}

/// All inodes.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    inodes: BTreeMap<InodeId, Inode>,
    next: u64,
    hash: SetHash,
}

impl Tree {
    /// Only a root.
    pub fn new() -> Self {
        let mut tree = Self::bare(ROOT.0 + 1);
        let name = Arc::from("");
        tree.put(Inode { id: ROOT, parent: ROOT, name, version: 0, mtime_ms: 0, ufs: None, kind: Kind::dir(true) });
        tree
    }

    /// Nothing at all, for decoding: inodes are put in, then linked.
    pub fn bare(next: u64) -> Self {
        Self { inodes: BTreeMap::new(), next, hash: SetHash::default() }
    }

    /// Puts an inode in without an entry in its parent. False if its id is taken.
    pub fn put(&mut self, inode: Inode) -> bool {
        if self.inodes.contains_key(&inode.id) {
            return false;
        }
        self.hash.add(&inode);
        self.inodes.insert(inode.id, inode);
        true
    }

    /// Makes the entries of all inodes that were put in. False if one has no directory to be in or its name is taken.
    pub fn link_all(&mut self) -> bool {
        let links: Vec<_> = self.iter().filter(|i| i.id != ROOT).map(|i| (i.parent, i.name.clone(), i.id)).collect();
        links.into_iter().all(|(parent, name, id)| match self.inodes.get_mut(&parent).map(|i| &mut i.kind) {
            Some(Kind::Dir { children, .. }) => children.insert(name, id).is_none(),
            _ => false,
        })
    }

    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    pub fn next(&self) -> u64 {
        self.next
    }

    /// By id.
    pub fn iter(&self) -> impl Iterator<Item = &Inode> {
        self.inodes.values()
    }

    pub fn get(&self, id: InodeId) -> Option<&Inode> {
        self.inodes.get(&id)
    }

    /// Follows `path` as far as it exists: the last inode found, and what remains of the path below it, empty if nothing
    /// does. `NotADirectory` if that inode is a file and something remains.
    pub fn descend<'p>(&self, path: FsPath<'p>) -> FsResult<(&Inode, &'p str)> {
        let mut at = self.root();
        let mut rest = &path.as_str()[1..];
        while !rest.is_empty() {
            let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
            let Some(children) = at.children() else {
                let end = path.as_str().len() - rest.len() - 1;
                return Err(FsError::NotADirectory(path.as_str()[..end].into()));
            };
            let Some(child) = children.get(name).and_then(|id| self.inodes.get(id)) else {
                break;
            };
            at = child;
            rest = below;
        }
        Ok((at, rest))
    }

    /// The inode at `path`: `NotFound` or `NotADirectory` if there is none.
    pub fn walk(&self, path: FsPath<'_>) -> FsResult<&Inode> {
        match self.descend(path)? {
            (inode, "") => Ok(inode),
            _ => Err(FsError::NotFound(path.as_str().into())),
        }
    }

    /// `/`.
    pub fn root(&self) -> &Inode {
        match self.inodes.get(&ROOT) {
            Some(root) => root,
            None => unreachable!("the root is there from the start and nothing removes it"),
        }
    }

    /// The path of an inode, for messages.
    pub fn path_of(&self, id: InodeId) -> String {
        let mut names = Vec::new();
        let mut at = self.inodes.get(&id);
        while let Some(inode) = at
            && inode.id != ROOT
        {
            names.push(inode.name.as_ref());
            at = self.inodes.get(&inode.parent);
        }
        names.iter().rev().fold(String::new(), |path, name| path + "/" + name)
    }

    /// Whether `count` more inodes can be made.
    pub fn room_for(&self, count: u64) -> FsResult<()> {
        match self.next.checked_add(count) {
            Some(next) if next <= BlockId::FILE_MAX => Ok(()),
            _ => Err(FsError::NoSpace("inode ids are used up".into())),
        }
    }

    /// Makes an inode in a directory that has no such entry; [`Tree::room_for`] was asked.
    pub fn create(&mut self, parent: InodeId, name: &str, ufs: Option<UfsRef>, kind: Kind, at: Stamp) -> InodeId {
        let id = InodeId(self.next);
        self.next += 1;
        let (name, ufs) = (Arc::from(name), ufs.map(Box::new));
        self.enter(parent, &name, id);
        self.put(Inode { id, parent, name, version: at.index, mtime_ms: at.wall_ms, ufs, kind });
        id
    }

    /// Moves an inode to a directory that has no such entry.
    pub fn relocate(&mut self, id: InodeId, parent: InodeId, name: &str, at: Stamp) {
        let name: Arc<str> = Arc::from(name);
        self.leave(id);
        self.enter(parent, &name, id);
        self.edit(id, |inode| {
            inode.parent = parent;
            inode.name = name;
            inode.version = at.index;
        });
    }

    /// Removes an inode and all below; hands each file to `removed`.
    pub fn remove(&mut self, id: InodeId, mut removed: impl FnMut(InodeId)) {
        self.leave(id);
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            let Some(inode) = self.inodes.remove(&id) else { continue };
            self.hash.remove(&inode);
            match inode.kind {
                Kind::Dir { children, .. } => stack.extend(children.into_values()),
                Kind::File { .. } => removed(id),
            }
        }
    }

    /// Notes that the entries of a directory changed.
    pub fn touch(&mut self, id: InodeId, at: Stamp) {
        self.edit(id, |inode| {
            inode.version = at.index;
            inode.mtime_ms = at.wall_ms;
        });
    }

    /// Changes anything but id and entries.
    pub fn edit(&mut self, id: InodeId, change: impl FnOnce(&mut Inode)) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            self.hash.remove(inode);
            change(inode);
            self.hash.add(inode);
        }
    }

    fn enter(&mut self, parent: InodeId, name: &Arc<str>, id: InodeId) {
        if let Some(Kind::Dir { children, .. }) = self.inodes.get_mut(&parent).map(|inode| &mut inode.kind) {
            children.insert(name.clone(), id);
        }
    }

    fn leave(&mut self, id: InodeId) {
        let Some((parent, name)) = self.inodes.get(&id).map(|inode| (inode.parent, inode.name.clone())) else { return };
        if let Some(Kind::Dir { children, .. }) = self.inodes.get_mut(&parent).map(|inode| &mut inode.kind) {
            children.remove(&name);
        }
    }

    pub fn hash(&self) -> u128 {
        self.hash.get()
    }

    /// Every inode counts as changed at `index`.
    pub fn stamp_all(&mut self, index: u64) {
        for id in self.inodes.keys().copied().collect::<Vec<_>>() {
            self.edit(id, |inode| inode.version = index);
        }
    }

    /// 1. the root is a directory, its own parent, without a name;
    /// 2. names are valid, ids below the next one, versions up to `applied`;
    /// 3. files have a block size, and a length only when completed;
    /// 4. every entry names an inode that names it back;
    /// 5. every inode is reached from the root, once;
    /// 6. the hash is right.
    pub fn check(&self, applied: u64) -> Result<(), String> {
        match self.inodes.get(&ROOT) {
            Some(root) if root.is_dir() && root.parent == ROOT && root.name.is_empty() => {}
            _ => return Err("the root is not a nameless directory of its own".into()),
        }
        let mut hash = SetHash::default();
        for (id, inode) in &self.inodes {
            let named = *id == ROOT || valid_name(&inode.name);
            if !named
                || inode.id != *id
                || id.0 >= self.next
                || self.next > BlockId::FILE_MAX
                || inode.version > applied
            {
                return Err(format!("inode {} has a wrong name, id or version", id.0));
            }
            if let Kind::File { length, block_size, completed } = inode.kind
                && (block_size == 0 || (!completed && length > 0) || !blocks_fit(length, block_size))
            {
                return Err(format!("file {} has {length} bytes in blocks of {block_size}", id.0));
            }
            hash.add(inode);
        }
        self.check_reach()?;
        if hash != self.hash { Err("tree: hash differs from its content".into()) } else { Ok(()) }
    }

    fn check_reach(&self) -> Result<(), String> {
        let mut reached = 1;
        let mut stack = vec![ROOT];
        while let Some(id) = stack.pop() {
            for (name, child) in self.get(id).and_then(Inode::children).into_iter().flatten() {
                let Some(inode) = self.get(*child) else {
                    return Err(format!("entry {name:?} of directory {} has no inode", id.0));
                };
                if inode.parent != id || inode.name != *name {
                    return Err(format!("entry {name:?} of directory {} has an inode elsewhere", id.0));
                }
                reached += 1;
                stack.push(*child);
            }
        }
        if reached != self.len() { Err(format!("{} orphans", self.len().abs_diff(reached))) } else { Ok(()) }
    }
}

/// Number of blocks of a file; the last one may be short.
pub(super) fn block_count(length: u64, block_size: u64) -> u64 {
    length.div_ceil(block_size.max(1))
}

/// Whether the blocks of such a file can be numbered.
pub(super) fn blocks_fit(length: u64, block_size: u64) -> bool {
    block_size > 0 && block_count(length, block_size) <= BlockId::SEQUENCE_MAX + 1
}

/// Bytes of the `sequence`-th block of a file; 0 behind its end.
pub(super) fn block_length(length: u64, block_size: u64, sequence: u64) -> u64 {
    length.saturating_sub(sequence.saturating_mul(block_size)).min(block_size)
}
