//! One file system: a tree of names over files, what is visible, and which changes of names are not durable yet.
//!
//! Rule: a change of names (create, remove, rename) is one [`NameChange`], durable whole or not at all. What concerns the
//! same file becomes durable in order, so that no crash leaves a file under two names; a moved directory waits for
//! everything before it, so that no crash leaves a directory inside itself. Paths here are relative to the root.

use std::collections::BTreeMap;
use std::io;

use super::crash::Survival;
use super::file::FileData;
use crate::rt::backend::{FileKind, Metadata};

/// Index of a file or directory; never reused.
pub(super) type Inode = usize;

pub(super) const ROOT: Inode = 0;

/// One binding that a change replaces.
#[derive(Debug, Clone)]
struct Binding {
    dir: Inode,
    name: String,
    before: Option<Inode>,
    after: Option<Inode>,
}

#[derive(Debug, Clone)]
struct NameChange {
    seq: u64,
    bindings: Vec<Binding>,
    /// Needs everything before it.
    ordered: bool,
}

impl NameChange {
    fn inodes(&self) -> impl Iterator<Item = Inode> + '_ {
        self.bindings.iter().flat_map(|b| [b.before, b.after]).flatten()
    }

    fn needs(&self, earlier: &Self) -> bool {
        self.ordered || self.inodes().any(|inode| earlier.inodes().any(|other| other == inode))
    }
}

#[derive(Debug, Clone, Default)]
struct Directory {
    entries: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
}

#[derive(Debug, Clone)]
enum Kind {
    File(FileData),
    Dir(Directory),
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    /// Visible names.
    links: u32,
    /// Open handles.
    opens: u32,
    /// Durable names and unsynced changes that mention it: a crash may bring it back.
    memory: u32,
    /// Whether its length counts as used space: until the last name and the last handle are gone.
    charged: bool,
}

/// A file system with its page cache.
#[derive(Debug, Clone)]
pub struct FileSystem {
    nodes: Vec<Option<Box<Node>>>,
    changes: Vec<NameChange>,
    seq: u64,
    used: u64,
    capacity: u64,
}

pub(super) fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

impl FileSystem {
    /// An empty file system of `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        let root = Node { kind: Kind::Dir(Directory::default()), links: 1, opens: 0, memory: 1, charged: true };
        Self { nodes: vec![Some(Box::new(root))], changes: Vec::new(), seq: 0, used: 0, capacity }
    }

    /// Bytes taken by file contents, deleted but open files included.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Size in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    /// Counts changes: whoever saw this number before has nothing new to see.
    pub fn changes(&self) -> u64 {
        self.seq
    }

    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn node(&self, inode: Inode) -> Option<&Node> {
        self.nodes.get(inode)?.as_deref()
    }

    fn node_mut(&mut self, inode: Inode) -> Option<&mut Node> {
        self.nodes.get_mut(inode)?.as_deref_mut()
    }

    fn dir(&self, inode: Inode) -> io::Result<&Directory> {
        match self.node(inode).map(|n| &n.kind) {
            Some(Kind::Dir(dir)) => Ok(dir),
            Some(Kind::File(_)) => Err(errno(libc::ENOTDIR)),
            None => Err(errno(libc::ENOENT)),
        }
    }

    fn dir_mut(&mut self, inode: Inode) -> Option<&mut Directory> {
        match self.node_mut(inode).map(|n| &mut n.kind) {
            Some(Kind::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn file(&self, inode: Inode) -> io::Result<&FileData> {
        match self.node(inode).map(|n| &n.kind) {
            Some(Kind::File(file)) => Ok(file),
            Some(Kind::Dir(_)) => Err(errno(libc::EISDIR)),
            None => Err(errno(libc::EBADF)),
        }
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> io::Result<&mut FileData> {
        match self.node_mut(inode).map(|n| &mut n.kind) {
            Some(Kind::File(file)) => Ok(file),
            Some(Kind::Dir(_)) => Err(errno(libc::EISDIR)),
            None => Err(errno(libc::EBADF)),
        }
    }

    /// The file or directory at `path`.
    pub(super) fn lookup(&self, path: &str) -> io::Result<Inode> {
        let mut at = ROOT;
        for part in parts(path) {
            at = *self.dir(at)?.entries.get(part).ok_or_else(|| errno(libc::ENOENT))?;
        }
        Ok(at)
    }

    /// The directory that holds `path`, and the last name.
    fn parent<'p>(&self, path: &'p str) -> io::Result<(Inode, &'p str)> {
        let mut at = ROOT;
        let mut walk = parts(path).peekable();
        while let Some(part) = walk.next() {
            if part == ".." {
                return Err(errno(libc::EINVAL));
            }
            if walk.peek().is_none() {
                self.dir(at)?;
                return Ok((at, part));
            }
            at = *self.dir(at)?.entries.get(part).ok_or_else(|| errno(libc::ENOENT))?;
        }
        Err(errno(libc::EBUSY))
    }

    /// The name's file: made anew if it is missing and `create`.
    pub(super) fn open(&mut self, path: &str, create: bool, create_new: bool) -> io::Result<Inode> {
        match self.lookup(path) {
            Ok(_) if create_new => Err(errno(libc::EEXIST)),
            Ok(inode) => self.file(inode).map(|_| inode),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) && (create || create_new) => {
                let (dir, name) = self.parent(path)?;
                Ok(self.make(dir, name, Kind::File(FileData::default())))
            }
            Err(e) => Err(e),
        }
    }

    /// `mkdir`.
    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        if self.lookup(path).is_ok() {
            return Err(errno(libc::EEXIST));
        }
        let (dir, name) = self.parent(path)?;
        self.make(dir, name, Kind::Dir(Directory::default()));
        Ok(())
    }

    fn make(&mut self, dir: Inode, name: &str, kind: Kind) -> Inode {
        let inode = self.nodes.len();
        self.nodes.push(Some(Box::new(Node { kind, links: 0, opens: 0, memory: 0, charged: true })));
        self.change(vec![Binding { dir, name: name.into(), before: None, after: Some(inode) }], false);
        inode
    }

    /// `unlink`. The file lives on while it is open.
    pub(super) fn remove_file(&mut self, path: &str) -> io::Result<()> {
        let inode = self.lookup(path)?;
        self.file(inode)?;
        self.unbind(path, inode)
    }

    /// `rmdir`.
    pub(super) fn remove_dir(&mut self, path: &str) -> io::Result<()> {
        let inode = self.lookup(path)?;
        if !self.dir(inode)?.entries.is_empty() {
            return Err(errno(libc::ENOTEMPTY));
        }
        self.unbind(path, inode)
    }

    fn unbind(&mut self, path: &str, inode: Inode) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        self.change(vec![Binding { dir, name: name.into(), before: Some(inode), after: None }], false);
        Ok(())
    }

    /// `rename(2)`.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let moved = self.lookup(from)?;
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let replaced = self.dir(to_dir)?.entries.get(to_name).copied();
        let is_dir = self.dir(moved).is_ok();
        if replaced == Some(moved) {
            return Ok(());
        }
        if is_dir && parts(to).zip(parts(from)).filter(|(a, b)| a == b).count() == parts(from).count() {
            return Err(errno(libc::EINVAL));
        }
        match replaced.map(|inode| self.dir(inode)) {
            Some(Ok(_)) if !is_dir => return Err(errno(libc::EISDIR)),
            Some(Ok(dir)) if !dir.entries.is_empty() => return Err(errno(libc::ENOTEMPTY)),
            Some(Err(_)) if is_dir => return Err(errno(libc::ENOTDIR)),
            _ => {}
        }
        let unbind = Binding { dir: from_dir, name: from_name.into(), before: Some(moved), after: None };
        let bind = Binding { dir: to_dir, name: to_name.into(), before: replaced, after: Some(moved) };
        self.change(vec![unbind, bind], is_dir);
        Ok(())
    }

    /// Makes a change of names visible and remembers it until it is synced.
    fn change(&mut self, bindings: Vec<Binding>, ordered: bool) {
        for Binding { dir, name, before, after } in &bindings {
            if let Some(dir) = self.dir_mut(*dir) {
                match after {
                    Some(inode) => dir.entries.insert(name.clone(), *inode),
                    None => dir.entries.remove(name),
                };
            }
            self.count(*after, |node| (node.links, node.memory) = (node.links + 1, node.memory + 1));
            self.count(*before, |node| (node.links, node.memory) = (node.links.saturating_sub(1), node.memory + 1));
        }
        let seq = self.next_seq();
        let gone: Vec<Inode> = bindings.iter().filter_map(|b| b.before).collect();
        self.changes.push(NameChange { seq, bindings, ordered });
        gone.into_iter().for_each(|inode| self.release(inode));
    }

    fn count(&mut self, inode: Option<Inode>, f: impl FnOnce(&mut Node)) {
        if let Some(node) = inode.and_then(|inode| self.node_mut(inode)) {
            f(node);
        }
    }

    /// Gives back the space of a file that has neither name nor handle, and forgets it when no crash can bring it back.
    fn release(&mut self, inode: Inode) {
        let Some(node) = self.nodes.get_mut(inode).and_then(Option::as_mut) else { return };
        if node.links > 0 || node.opens > 0 {
            return;
        }
        if let Kind::File(file) = &node.kind
            && std::mem::take(&mut node.charged)
        {
            self.used = self.used.saturating_sub(file.len() as u64);
        }
        if node.memory == 0 {
            self.nodes[inode] = None;
        }
    }

    pub(super) fn opened(&mut self, inode: Inode) {
        self.count(Some(inode), |node| node.opens += 1);
    }

    pub(super) fn closed(&mut self, inode: Inode) {
        self.count(Some(inode), |node| node.opens = node.opens.saturating_sub(1));
        self.release(inode);
    }

    /// Writes what fits; gives how many bytes. `ENOSPC` if not one fits.
    pub(super) fn write_at(&mut self, inode: Inode, offset: u64, bytes: &[u8], free: u64) -> io::Result<usize> {
        let len = self.file(inode)?.len() as u64;
        let free = free.min(self.capacity.saturating_sub(self.used));
        let limit = len.checked_add(free).ok_or_else(|| errno(libc::EFBIG))?;
        let n = bytes.len().min(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        if n == 0 && !bytes.is_empty() {
            return Err(errno(libc::ENOSPC));
        }
        if n > 0 {
            let seq = self.next_seq();
            let start = usize::try_from(offset).map_err(|_| errno(libc::EFBIG))?;
            let file = self.file_mut(inode)?;
            file.write_at(seq, start, &bytes[..n]);
            self.used += file.len() as u64 - len;
        }
        Ok(n)
    }

    /// `ftruncate`. `ENOSPC` if the growth does not fit.
    pub(super) fn set_len(&mut self, inode: Inode, new: u64, free: u64) -> io::Result<()> {
        let len = self.file(inode)?.len() as u64;
        if new.saturating_sub(len) > free.min(self.capacity.saturating_sub(self.used)) {
            return Err(errno(libc::ENOSPC));
        }
        let seq = self.next_seq();
        let size = usize::try_from(new).map_err(|_| errno(libc::EFBIG))?;
        self.file_mut(inode)?.set_len(seq, size);
        self.used = self.used - len + new;
        Ok(())
    }

    /// Names of a directory, sorted.
    pub(super) fn read_dir(&self, path: &str) -> io::Result<Vec<(String, FileKind)>> {
        let dir = self.dir(self.lookup(path)?)?;
        Ok(dir.entries.iter().map(|(name, inode)| (name.clone(), self.kind(*inode))).collect())
    }

    fn kind(&self, inode: Inode) -> FileKind {
        if self.dir(inode).is_ok() { FileKind::Dir } else { FileKind::File }
    }

    /// `stat`.
    pub(super) fn metadata(&self, path: &str) -> io::Result<Metadata> {
        let inode = self.lookup(path)?;
        let len = self.file(inode).map_or(0, |file| file.len() as u64);
        Ok(Metadata { kind: self.kind(inode), len })
    }

    /// Content of a file, and nothing of its history.
    pub fn contents(&self, path: &str) -> io::Result<&[u8]> {
        self.file(self.lookup(path)?).map(FileData::bytes)
    }

    /// The files of a directory, by name; none if there is no such directory.
    pub fn files_of(&self, dir: &str) -> impl Iterator<Item = (&str, &[u8])> {
        let entries = self.lookup(dir).and_then(|inode| self.dir(inode)).map(|dir| &dir.entries);
        entries.into_iter().flatten().filter_map(|(name, inode)| Some((name.as_str(), self.file(*inode).ok()?.bytes())))
    }

    /// All files with their contents and all directories (`None`), by absolute path.
    pub fn walk(&self) -> BTreeMap<String, Option<&[u8]>> {
        let mut found = BTreeMap::new();
        let mut todo = vec![(String::new(), ROOT)];
        while let Some((path, inode)) = todo.pop() {
            if let Ok(dir) = self.dir(inode) {
                todo.extend(dir.entries.iter().map(|(name, inode)| (format!("{path}/{name}"), *inode)));
            }
            found.insert(path, self.file(inode).ok().map(FileData::bytes));
        }
        found
    }

    /// The directory's entries as of `seq` are durable, and what they need with them.
    pub(super) fn persist_dir(&mut self, dir: Inode, seq: u64) {
        let mut chosen: Vec<bool> =
            self.changes.iter().map(|c| c.seq <= seq && c.bindings.iter().any(|b| b.dir == dir)).collect();
        for at in (0..chosen.len()).rev().filter(|at| chosen[*at]).collect::<Vec<_>>() {
            self.choose_needs(at, &mut chosen);
        }
        let mut keep = Vec::new();
        for (change, chosen) in std::mem::take(&mut self.changes).into_iter().zip(chosen) {
            if chosen {
                self.make_durable(change);
            } else {
                keep.push(change);
            }
        }
        self.changes = keep;
    }

    fn choose_needs(&self, at: usize, chosen: &mut [bool]) {
        for earlier in (0..at).rev() {
            if !chosen[earlier] && self.changes[at].needs(&self.changes[earlier]) {
                chosen[earlier] = true;
                self.choose_needs(earlier, chosen);
            }
        }
    }

    fn make_durable(&mut self, change: NameChange) {
        for Binding { dir, name, before, after } in change.bindings {
            let replaced = self.dir_mut(dir).and_then(|dir| match after {
                Some(inode) => dir.durable.insert(name, inode),
                None => dir.durable.remove(&name),
            });
            self.count(after, |node| node.memory += 1);
            for inode in [before, after, replaced].into_iter().flatten() {
                self.count(Some(inode), |node| node.memory = node.memory.saturating_sub(1));
                self.release(inode);
            }
        }
    }

    /// Everything is on the platter: what a clean unmount leaves.
    pub fn sync_all(&mut self) {
        self.write_back(self.seq);
    }

    /// Everything up to `seq` is on the platter.
    pub(super) fn write_back(&mut self, seq: u64) {
        let n = self.changes.partition_point(|change| change.seq <= seq);
        for change in self.changes.drain(..n).collect::<Vec<_>>() {
            self.make_durable(change);
        }
        for node in self.nodes.iter_mut().flatten() {
            if let Kind::File(file) = &mut node.kind {
                file.persist(seq);
            }
        }
    }

    /// The power goes. All handles must be forgotten by the caller.
    pub fn crash(&mut self, survival: &mut dyn Survival) {
        let changes = std::mem::take(&mut self.changes);
        let mut chosen = vec![false; changes.len()];
        for at in 0..changes.len() {
            let possible = (0..at).all(|earlier| chosen[earlier] || !changes[at].needs(&changes[earlier]));
            chosen[at] = possible && survival.pick(&[0, changes[at].seq]) > 0;
        }
        for (change, chosen) in changes.into_iter().zip(chosen) {
            if chosen {
                self.make_durable(change);
            }
        }
        self.forget_cache(survival);
    }

    /// What is durable becomes what is visible; what no name reaches is gone.
    fn forget_cache(&mut self, survival: &mut dyn Survival) {
        let mut old = std::mem::take(&mut self.nodes);
        self.nodes.resize_with(old.len(), || None);
        self.used = 0;
        let mut todo = vec![ROOT];
        while let Some(inode) = todo.pop() {
            let Some(mut node) = old.get_mut(inode).and_then(Option::take) else { continue };
            (node.links, node.opens, node.memory, node.charged) = (1, 0, 1, true);
            match &mut node.kind {
                Kind::Dir(dir) => {
                    dir.entries = dir.durable.clone();
                    todo.extend(dir.durable.values().rev());
                }
                Kind::File(file) => {
                    file.crash(survival);
                    self.used += file.len() as u64;
                }
            }
            self.nodes[inode] = Some(node);
        }
    }

    /// Removes a name behind everybody's back, from the platter too: file system damage.
    pub(super) fn lose_entry(&mut self, path: &str) -> io::Result<()> {
        let inode = self.lookup(path)?;
        let (dir, name) = self.parent(path)?;
        self.unbind(path, inode)?;
        let (seq, name) = (self.seq, name.to_owned());
        self.persist_dir(dir, seq);
        debug_assert!(self.dir(dir).is_ok_and(|dir| !dir.durable.contains_key(&name)));
        Ok(())
    }
}
