//! What each client's change does to the namespace, with POSIX's answers.
//!
//! Each function first finds every reason to refuse, then changes: nothing is half done. The children of an under-store's
//! directory that are not loaded yet are not seen here; the leader loads them first ([`State::unloaded`]).

use super::State;
use super::command::Outcome;
use super::mounts::Mount;
use super::path::{FsPath, PATH_MAX};
use super::tree::{Kind, Stamp, block_count, block_length, blocks_fit};
use crate::stack::wire::master::Change;
use crate::stack::wire::{BlockId, FsError, FsResult, InodeId, UfsRef};

/// What a renaming does.
pub(super) struct Moving {
    /// What is moved.
    pub source: InodeId,
    /// The directory that it is moved into.
    pub target_parent: InodeId,
    /// What it replaces there.
    pub replaced: Option<InodeId>,
}

impl State {
    /// Applies `change`, adding blocks that lose their file to `freed`. An error has changed nothing.
    pub(super) fn change(&mut self, at: Stamp, change: &Change, freed: &mut Vec<BlockId>) -> FsResult<Outcome> {
        match change {
            Change::Mkdir { path, recursive } => self.mkdir(at, FsPath::parse(path)?, *recursive),
            Change::Create { path, block_size } => self.create(at, FsPath::parse(path)?, *block_size),
            Change::Complete { file, length } => self.complete(at, *file, *length, freed),
            Change::Rename { from, to } => self.rename(at, FsPath::parse(from)?, FsPath::parse(to)?, freed),
            Change::Delete { path, recursive } => self.delete(at, FsPath::parse(path)?, *recursive, freed),
            Change::Mount { path, url, read_only, options } => {
                let mount = Mount { url: url.clone(), read_only: *read_only, options: options.clone() };
                self.mount(at, FsPath::parse(path)?, mount)
            }
            Change::Unmount { path } => self.unmount(at, FsPath::parse(path)?, freed),
        }
    }

    fn mkdir(&mut self, at: Stamp, path: FsPath<'_>, recursive: bool) -> FsResult<Outcome> {
        let (found, rest) = self.tree.descend(path)?;
        if rest.is_empty() {
            return match recursive && found.is_dir() {
                true => Ok(Outcome::Info(found.info())),
                false => Err(FsError::AlreadyExists(path.as_str().into())),
            };
        }
        if !recursive {
            parent_exists(path, rest)?;
        }
        let mut parent = found.id;
        self.writable(path)?;
        self.tree.room_for(rest.split('/').count() as u64)?;
        self.tree.touch(parent, at);
        for name in rest.split('/') {
            parent = self.tree.create(parent, name, None, Kind::dir(true), at);
        }
        self.info(parent)
    }

    fn create(&mut self, at: Stamp, path: FsPath<'_>, block_size: u64) -> FsResult<Outcome> {
        if block_size == 0 {
            return Err(FsError::Invalid("a block size of 0".into()));
        }
        let (found, rest) = self.tree.descend(path)?;
        let parent = found.id;
        if rest.is_empty() {
            return Err(FsError::AlreadyExists(path.as_str().into()));
        }
        parent_exists(path, rest)?;
        self.writable(path)?;
        self.tree.room_for(1)?;
        self.tree.touch(parent, at);
        let kind = Kind::File { length: 0, block_size, completed: false };
        let id = self.tree.create(parent, rest, None, kind, at);
        self.info(id)
    }

    fn complete(&mut self, at: Stamp, file: InodeId, length: u64, freed: &mut Vec<BlockId>) -> FsResult<Outcome> {
        let Some(inode) = self.tree.get(file) else {
            return Err(FsError::NotFound(format!("file {}", file.0)));
        };
        let path = || self.tree.path_of(file);
        let Kind::File { block_size, completed, .. } = inode.kind else {
            return Err(FsError::IsADirectory(path()));
        };
        if completed {
            return Err(FsError::Invalid(format!("{} is already completed", path())));
        }
        if !blocks_fit(length, block_size) {
            return Err(FsError::Invalid(format!("{length} bytes are too many for blocks of {block_size}")));
        }
        let count = block_count(length, block_size);
        let whole = |(block, held): &(BlockId, u64)| *held == block_length(length, block_size, block.sequence());
        let committed = self.blocks.of(file, 0).take_while(|(b, _)| b.sequence() < count).filter(whole).count() as u64;
        if committed != count {
            return Err(FsError::Invalid(format!("{} has {committed} of {count} blocks committed", path())));
        }
        self.blocks.free(file, count, freed);
        self.tree.edit(file, |inode| {
            inode.kind = Kind::File { length, block_size, completed: true };
            inode.version = at.index;
            inode.mtime_ms = at.wall_ms;
        });
        self.want(file);
        self.info(file)
    }

    fn rename(&mut self, at: Stamp, from: FsPath<'_>, to: FsPath<'_>, freed: &mut Vec<BlockId>) -> FsResult<Outcome> {
        let Some(Moving { source, target_parent, replaced }) = self.may_rename(from, to)? else {
            return Ok(Outcome::Done);
        };
        let source_parent = self.tree.get(source).map_or(target_parent, |inode| inode.parent);
        let name = to.split().map_or("", |(_, name)| name);
        if let Some(target) = replaced {
            self.forget(target, freed);
        }
        self.tree.relocate(source, target_parent, name, at);
        self.tree.touch(source_parent, at);
        self.tree.touch(target_parent, at);
        Ok(Outcome::Done)
    }

    /// What a renaming moves and where to; none if it moves nothing.
    pub(super) fn may_rename(&self, from: FsPath<'_>, to: FsPath<'_>) -> FsResult<Option<Moving>> {
        let (false, Some((parent, name))) = (from.is_root(), to.split()) else {
            return Err(FsError::Busy("/".into()));
        };
        if let Some(point) = [from, to].into_iter().find(|path| self.mounts.holds(*path)) {
            return Err(FsError::Busy(point.as_str().into()));
        }
        let source = self.tree.walk(from)?;
        let (source, source_dir) = (source.id, source.is_dir());
        let target_dir = self.tree.walk(parent)?;
        if !target_dir.is_dir() {
            return Err(FsError::NotADirectory(parent.as_str().into()));
        }
        let target_parent = target_dir.id;
        if self.mounts.resolve(from).map(|(point, _)| point) != self.mounts.resolve(to).map(|(point, _)| point) {
            return Err(FsError::CrossMount(to.as_str().into()));
        }
        self.writable(to)?;
        if from == to {
            return Ok(None);
        }
        if from.contains(to) {
            return Err(FsError::Invalid(format!("{} lies below {}", to.as_str(), from.as_str())));
        }
        let replaced = target_dir.children().and_then(|children| children.get(name)).copied();
        if let Some(target) = replaced.and_then(|id| self.tree.get(id)) {
            match (source_dir, target.is_dir()) {
                (true, false) => return Err(FsError::NotADirectory(to.as_str().into())),
                (false, true) => return Err(FsError::IsADirectory(to.as_str().into())),
                _ if target.has_children() => return Err(FsError::NotEmpty(to.as_str().into())),
                _ => {}
            }
        }
        Ok(Some(Moving { source, target_parent, replaced }))
    }

    fn delete(&mut self, at: Stamp, path: FsPath<'_>, recursive: bool, freed: &mut Vec<BlockId>) -> FsResult<Outcome> {
        let id = self.may_delete(path, recursive)?;
        let parent = self.tree.get(id).map_or(id, |inode| inode.parent);
        self.forget(id, freed);
        self.tree.touch(parent, at);
        Ok(Outcome::Done)
    }

    /// What a deletion removes.
    pub(super) fn may_delete(&self, path: FsPath<'_>, recursive: bool) -> FsResult<InodeId> {
        let inode = self.tree.walk(path)?;
        if path.is_root() || self.mounts.holds(path) {
            return Err(FsError::Busy(path.as_str().into()));
        }
        self.writable(path)?;
        if inode.has_children() && !recursive {
            return Err(FsError::NotEmpty(path.as_str().into()));
        }
        Ok(inode.id)
    }

    fn mount(&mut self, at: Stamp, path: FsPath<'_>, mount: Mount) -> FsResult<Outcome> {
        let url = &mount.url;
        if url.is_empty() || url.len() > PATH_MAX {
            return Err(FsError::Invalid(format!("an under-store's location of {} bytes", url.len())));
        }
        let (found, rest) = self.tree.descend(path)?;
        let (parent, is_dir) = (found.id, found.is_dir());
        let ufs = UfsRef { url: url.clone(), fingerprint: String::new() };
        if rest.is_empty() {
            if self.mounts.get(path).is_some() {
                return Err(FsError::AlreadyExists(path.as_str().into()));
            }
            if !is_dir {
                return Err(FsError::NotADirectory(path.as_str().into()));
            }
            if found.has_children() && !path.is_root() {
                return Err(FsError::NotEmpty(path.as_str().into()));
            }
            self.tree.edit(parent, |inode| {
                inode.ufs = Some(Box::new(ufs));
                inode.version = at.index;
                inode.mtime_ms = at.wall_ms;
                if let Kind::Dir { loaded, .. } = &mut inode.kind {
                    *loaded = false;
                }
            });
        } else {
            parent_exists(path, rest)?;
            self.tree.room_for(1)?;
            self.tree.touch(parent, at);
            self.tree.create(parent, rest, Some(ufs), Kind::dir(false), at);
        }
        self.mounts.insert(path, mount);
        Ok(Outcome::Done)
    }

    fn unmount(&mut self, at: Stamp, path: FsPath<'_>, freed: &mut Vec<BlockId>) -> FsResult<Outcome> {
        if self.mounts.get(path).is_none() || path.is_root() {
            return Err(FsError::Invalid(format!("{} is not a mount point that can be detached", path.as_str())));
        }
        if self.mounts.below(path) {
            return Err(FsError::Busy(path.as_str().into()));
        }
        let inode = self.tree.walk(path)?;
        let (id, parent) = (inode.id, inode.parent);
        self.mounts.remove(path);
        self.forget(id, freed);
        self.tree.touch(parent, at);
        Ok(Outcome::Done)
    }

    /// Removes an inode with all below, and their blocks.
    pub(super) fn forget(&mut self, id: InodeId, freed: &mut Vec<BlockId>) {
        let (blocks, wanted) = (&mut self.blocks, &mut self.wanted);
        self.tree.remove(id, |file| {
            wanted.remove(file);
            blocks.free(file, 0, freed);
        });
    }

    fn writable(&self, path: FsPath<'_>) -> FsResult<()> {
        match self.mounts.resolve(path) {
            Some((_, Mount { read_only: true, .. })) => Err(FsError::ReadOnly(path.as_str().into())),
            _ => Ok(()),
        }
    }

    fn info(&self, id: InodeId) -> FsResult<Outcome> {
        match self.tree.get(id) {
            Some(inode) => Ok(Outcome::Info(inode.info())),
            None => unreachable!("the inode was made or found by the caller"),
        }
    }
}

/// Refuses a path of which more than the last part is missing.
fn parent_exists(path: FsPath<'_>, rest: &str) -> FsResult<()> {
    match path.split() {
        Some((parent, _)) if rest.contains('/') => Err(FsError::NotFound(parent.as_str().into())),
        _ => Ok(()),
    }
}
