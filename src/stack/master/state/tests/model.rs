//! The naive model: a map from whole paths to nodes, everything looked for by scanning.
//!
//! It knows the same rules by other means, and is right by being simple.

use std::collections::BTreeMap;

use super::*;

/// A file or directory with the path as its key.
#[derive(Debug, Clone)]
pub struct Node {
    pub info: FileInfo,
    pub loaded: bool,
}

/// The model.
#[derive(Debug, Clone)]
pub struct Model {
    pub nodes: BTreeMap<String, Node>,
    pub mounts: BTreeMap<String, (String, bool)>,
    pub blocks: BTreeMap<BlockId, u64>,
    pub recorded: Vec<(OpId, Reply)>,
    pub retries: usize,
    next: u64,
}

fn split(path: &str) -> (String, String) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    (if parent.is_empty() { s("/") } else { s(parent) }, s(name))
}

/// `/a`, `/a/b`, … up to the path itself.
fn prefixes(path: &str) -> Vec<String> {
    let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    let mut all: Vec<_> = ends.map(|at| s(&path[..at])).collect();
    if path != "/" {
        all.push(s(path));
    }
    all
}

fn below(path: &str, above: &str) -> bool {
    path != "/" && path != above && (above == "/" || path.starts_with(&format!("{above}/")))
}

impl Model {
    pub fn new(retries: usize) -> Self {
        let mut model = Self {
            nodes: BTreeMap::new(),
            mounts: BTreeMap::new(),
            blocks: BTreeMap::new(),
            recorded: Vec::new(),
            retries,
            next: 0,
        };
        model.add("/", (0, 0), None, None);
        model
    }

    pub fn apply(&mut self, index: u64, command: &Command) -> Reply {
        let held = self.blocks.clone();
        let mut stray = None;
        let result = match command {
            Command::Change { op, wall_ms, change } | Command::Through { op, wall_ms, change } => {
                if let Some((_, reply)) = self.recorded.iter().find(|(other, _)| other == op) {
                    return reply.clone();
                }
                let result = self.change((index, *wall_ms), change);
                self.recorded.push((*op, Reply { index, result: result.clone(), freed: vec![] }));
                let extra = self.recorded.len().saturating_sub(self.retries);
                self.recorded.drain(..extra);
                result
            }
            Command::CommitBlock { block, length } => {
                if !self.nodes.values().any(|node| node.info.id == block.file()) {
                    stray = Some(*block);
                }
                self.commit(*block, *length)
            }
            Command::LoadUfs(listing) => self.load(index, listing),
            Command::Office { .. } => Ok(Outcome::Done),
            // Its tests stand beside it.
            Command::Restore { .. } => unreachable!("no plan of these tests holds one"),
            // No mount of the tests is that of an object store.
            Command::Persisted { file, .. } => {
                Err(NotFound(format!("file {} that is wanted in an under-store", file.0)))
            }
        };
        let alive = |block: &BlockId| self.nodes.values().any(|n| n.info.id == block.file() && !n.info.dir);
        let mut after = self.blocks.clone();
        after.retain(|block, _| alive(block));
        self.blocks = after;
        let freed = held.into_keys().filter(|block| !self.blocks.contains_key(block)).chain(stray).collect();
        Reply { index, result, freed }
    }

    fn add(
        &mut self,
        path: &str,
        (version, mtime_ms): (u64, u64),
        ufs: Option<UfsRef>,
        file: Option<(u64, u64, bool)>,
    ) {
        let (length, block_size, completed) = file.unwrap_or((0, 0, true));
        let name = if path == "/" { String::new() } else { split(path).1 };
        let id = InodeId(self.next);
        let loaded = ufs.is_none();
        let info = FileInfo { id, name, dir: file.is_none(), length, block_size, completed, version, mtime_ms, ufs };
        self.next += 1;
        self.nodes.insert(s(path), Node { info, loaded });
    }

    fn find(&self, path: &str) -> FsResult<&Node> {
        for prefix in prefixes(path) {
            match self.nodes.get(&prefix) {
                None => return Err(NotFound(s(path))),
                Some(node) if !node.info.dir && prefix != path => return Err(NotADirectory(prefix)),
                Some(_) => {}
            }
        }
        Ok(&self.nodes[path])
    }

    fn touch(&mut self, path: &str, (version, mtime_ms): (u64, u64)) {
        let info = &mut self.nodes.get_mut(path).unwrap().info;
        (info.version, info.mtime_ms) = (version, mtime_ms);
    }

    fn mount_of(&self, path: &str) -> Option<&String> {
        self.mounts.keys().filter(|point| *point == path || below(path, point)).max_by_key(|point| point.len())
    }

    fn writable(&self, path: &str) -> FsResult<()> {
        let read_only = self.mount_of(path).is_some_and(|point| self.mounts[point].1);
        if read_only { Err(ReadOnly(s(path))) } else { Ok(()) }
    }

    fn held(&self, path: &str) -> bool {
        self.mounts.keys().any(|point| point == path || below(point, path))
    }

    fn full(&self, path: &str) -> bool {
        self.nodes.keys().any(|other| below(other, path))
    }

    fn forget(&mut self, path: &str) {
        self.nodes.retain(|other, _| other != path && !below(other, path));
    }

    fn change(&mut self, at: (u64, u64), change: &Change) -> FsResult<Outcome> {
        match change {
            Change::Mkdir { path, recursive } => self.make(at, path, *recursive, None),
            Change::Create { block_size: 0, path } => {
                FsPath::parse(path)?;
                Err(Invalid(s("a block size of 0")))
            }
            Change::Create { path, block_size } => self.make(at, path, false, Some((0, *block_size, false))),
            Change::Complete { file, length } => self.complete(at, *file, *length),
            Change::Rename { from, to } => self.rename(at, from, to),
            Change::Delete { path, recursive } => self.delete(at, path, *recursive),
            Change::Mount { path, url, read_only, .. } => self.mount(at, path, url, *read_only),
            Change::Unmount { path } => self.unmount(at, path),
        }
    }

    fn make(
        &mut self,
        at: (u64, u64),
        path: &str,
        recursive: bool,
        file: Option<(u64, u64, bool)>,
    ) -> FsResult<Outcome> {
        FsPath::parse(path)?;
        match self.find(path) {
            Ok(node) if recursive && node.info.dir => return Ok(Outcome::Info(node.info.clone())),
            Ok(_) => return Err(AlreadyExists(s(path))),
            Err(NotFound(_)) => {}
            Err(other) => return Err(other),
        }
        let (parent, _) = split(path);
        if !recursive && !self.nodes.contains_key(&parent) {
            return Err(NotFound(parent));
        }
        self.writable(path)?;
        let missing: Vec<_> = prefixes(path).into_iter().filter(|prefix| !self.nodes.contains_key(prefix)).collect();
        self.touch(&split(&missing[0]).0, at);
        missing.iter().for_each(|prefix| self.add(prefix, at, None, file));
        Ok(Outcome::Info(self.nodes[path].info.clone()))
    }

    fn complete(&mut self, at: (u64, u64), file: InodeId, length: u64) -> FsResult<Outcome> {
        let Some((path, node)) = self.nodes.iter().find(|(_, node)| node.info.id == file) else {
            return Err(NotFound(format!("file {}", file.0)));
        };
        let path = path.clone();
        if node.info.dir {
            return Err(IsADirectory(if path == "/" { String::new() } else { path }));
        }
        if node.info.completed {
            return Err(Invalid(format!("{path} is already completed")));
        }
        let size = node.info.block_size;
        let want: Vec<_> =
            (0..length.div_ceil(size)).map(|n| (BlockId::new(file, n), (length - n * size).min(size))).collect();
        let have = want.iter().filter(|(block, length)| self.blocks.get(block) == Some(length)).count();
        if have < want.len() {
            return Err(Invalid(format!("{path} has {have} of {} blocks committed", want.len())));
        }
        self.blocks.retain(|block, _| block.file() != file || block.sequence() < want.len() as u64);
        self.touch(&path, at);
        let info = &mut self.nodes.get_mut(&path).unwrap().info;
        (info.length, info.completed) = (length, true);
        Ok(Outcome::Info(info.clone()))
    }

    fn rename(&mut self, at: (u64, u64), from: &str, to: &str) -> FsResult<Outcome> {
        FsPath::parse(from)?;
        FsPath::parse(to)?;
        if from == "/" || to == "/" {
            return Err(Busy(s("/")));
        }
        if let Some(point) = [from, to].into_iter().find(|path| self.held(path)) {
            return Err(Busy(s(point)));
        }
        let dir = self.find(from)?.info.dir;
        let (parent, name) = split(to);
        if !self.find(&parent)?.info.dir {
            return Err(NotADirectory(parent));
        }
        if self.mount_of(from) != self.mount_of(to) {
            return Err(CrossMount(s(to)));
        }
        self.writable(to)?;
        if from == to {
            return Ok(Outcome::Done);
        }
        if below(to, from) {
            return Err(Invalid(format!("{to} lies below {from}")));
        }
        if let Some(target) = self.nodes.get(to) {
            match (dir, target.info.dir) {
                (true, false) => return Err(NotADirectory(s(to))),
                (false, true) => return Err(IsADirectory(s(to))),
                _ if self.full(to) => return Err(NotEmpty(s(to))),
                _ => {}
            }
        }
        self.forget(to);
        let moved: Vec<_> = self.nodes.keys().filter(|path| *path == from || below(path, from)).cloned().collect();
        for path in moved {
            let node = self.nodes.remove(&path).unwrap();
            self.nodes.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        let info = &mut self.nodes.get_mut(to).unwrap().info;
        (info.name, info.version) = (name, at.0);
        self.touch(&split(from).0, at);
        self.touch(&parent, at);
        Ok(Outcome::Done)
    }

    fn delete(&mut self, at: (u64, u64), path: &str, recursive: bool) -> FsResult<Outcome> {
        FsPath::parse(path)?;
        self.find(path)?;
        if path == "/" || self.held(path) {
            return Err(Busy(s(path)));
        }
        self.writable(path)?;
        if self.full(path) && !recursive {
            return Err(NotEmpty(s(path)));
        }
        self.forget(path);
        self.touch(&split(path).0, at);
        Ok(Outcome::Done)
    }

    fn mount(&mut self, at: (u64, u64), path: &str, url: &str, read_only: bool) -> FsResult<Outcome> {
        FsPath::parse(path)?;
        if url.is_empty() {
            return Err(Invalid(s("an under-store's location of 0 bytes")));
        }
        let ufs = Some(UfsRef { url: s(url), fingerprint: String::new() });
        match self.find(path) {
            Ok(_) if self.mounts.contains_key(path) => return Err(AlreadyExists(s(path))),
            Ok(node) if !node.info.dir => return Err(NotADirectory(s(path))),
            Ok(_) if self.full(path) && path != "/" => return Err(NotEmpty(s(path))),
            Ok(_) => {
                self.touch(path, at);
                let node = self.nodes.get_mut(path).unwrap();
                (node.info.ufs, node.loaded) = (ufs, false);
            }
            Err(NotFound(_)) => {
                let (parent, _) = split(path);
                if !self.nodes.contains_key(&parent) {
                    return Err(NotFound(parent));
                }
                self.touch(&parent, at);
                self.add(path, at, ufs, None);
            }
            Err(other) => return Err(other),
        }
        self.mounts.insert(s(path), (s(url), read_only));
        Ok(Outcome::Done)
    }

    fn unmount(&mut self, at: (u64, u64), path: &str) -> FsResult<Outcome> {
        FsPath::parse(path)?;
        if path == "/" || !self.mounts.contains_key(path) {
            return Err(Invalid(format!("{path} is not a mount point that can be detached")));
        }
        if self.mounts.keys().any(|point| below(point, path)) {
            return Err(Busy(s(path)));
        }
        self.mounts.remove(path);
        self.forget(path);
        self.touch(&split(path).0, at);
        Ok(Outcome::Done)
    }

    fn commit(&mut self, block: BlockId, length: u64) -> FsResult<Outcome> {
        let Some(node) = self.nodes.values().find(|node| node.info.id == block.file()) else {
            return Err(Unknown(format!("block {}", block.0)));
        };
        let info = &node.info;
        if info.dir {
            return Err(Invalid(format!("block {} belongs to a directory", block.0)));
        }
        let start = block.sequence() * info.block_size;
        let rest = info.length.saturating_sub(start);
        let most = if info.completed { rest.min(info.block_size) } else { info.block_size };
        let fits = if info.completed { length == most && most > 0 } else { (1..=most).contains(&length) };
        if !fits {
            return Err(Invalid(format!("block {} of {length} bytes where {most} fit", block.0)));
        }
        match self.blocks.insert(block, length) {
            Some(known) if known != length => {
                self.blocks.insert(block, known);
                Err(Invalid(format!("block {} has {known} bytes, not {length}", block.0)))
            }
            _ => Ok(Outcome::Done),
        }
    }

    fn load(&mut self, index: u64, listing: &UfsListing) -> FsResult<Outcome> {
        FsPath::parse(&listing.dir)?;
        let node = self.find(&listing.dir)?;
        if !node.info.dir {
            return Err(NotADirectory(listing.dir.clone()));
        }
        if node.info.ufs.as_ref().map(|ufs| &ufs.url) != Some(&listing.url) {
            return Err(Invalid(format!("{} does not stand for the listed location", listing.dir)));
        }
        let mut changed = false;
        for entry in &listing.entries {
            let path = format!("{}/{}", listing.dir.trim_end_matches('/'), entry.name);
            let at = (index, entry.mtime_ms.unwrap_or(listing.wall_ms));
            let mut ufs = entry.ufs.clone();
            if entry.dir {
                ufs.fingerprint.clear();
            }
            let file = (!entry.dir).then_some((entry.length, listing.block_size, true));
            if let Some(node) = self.nodes.get(&path).cloned() {
                let (info, mounted) = (&node.info, self.held(&path));
                let same = info.ufs.as_ref() == Some(&ufs) && info.dir == entry.dir && info.length == entry.length;
                let same_dir = info.dir && entry.dir && info.ufs.as_ref().is_some_and(|old| old.url == ufs.url);
                if mounted || same || same_dir {
                    continue;
                }
                if info.dir && entry.dir {
                    let node = self.nodes.get_mut(&path).unwrap();
                    (node.info.ufs, node.info.version, node.loaded) = (Some(ufs), index, false);
                    changed = true;
                    continue;
                }
                if info.ufs.is_none() || self.full(&path) {
                    continue;
                }
                self.forget(&path);
            }
            self.add(&path, at, Some(ufs), file);
            changed = true;
        }
        let node = self.nodes.get_mut(&listing.dir).unwrap();
        node.loaded = true;
        if changed {
            node.info.version = index;
        }
        Ok(Outcome::Done)
    }
}
