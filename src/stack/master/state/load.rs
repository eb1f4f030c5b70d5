//! What an under-store's listing does to the namespace.
//!
//! Rule: what clients wrote here is never overwritten, and a new version of a file is a new inode, so that a block cached
//! from the old version can never be served for the new one. An entry that a later listing lacks stays, as in Alluxio
//! without metadata sync.

use super::State;
use super::command::{Outcome, UfsEntry, UfsListing};
use super::path::{FsPath, valid_name};
use super::tree::{Inode, Kind, Stamp, blocks_fit};
use crate::stack::wire::{BlockId, FsError, FsResult, InodeId, UfsRef};

/// What to do about one entry of a listing.
enum Verdict {
    /// What is there stays.
    Keep,
    /// A directory here stands for this one of the under-store.
    Adopt(InodeId),
    /// A new inode, in place of the given one.
    Make(Option<InodeId>),
}

impl State {
    /// Applies a listing, adding blocks of replaced files to `freed`. An error has changed nothing.
    pub(super) fn load(&mut self, index: u64, listing: &UfsListing, freed: &mut Vec<BlockId>) -> FsResult<Outcome> {
        let path = FsPath::parse(&listing.dir)?;
        let dir = self.tree.walk(path)?;
        let id = dir.id;
        if !dir.is_dir() {
            return Err(FsError::NotADirectory(path.as_str().into()));
        }
        if dir.ufs.as_ref().is_none_or(|ufs| ufs.url != listing.url) {
            return Err(FsError::Invalid(format!("{} does not stand for the listed location", path.as_str())));
        }
        if listing.block_size == 0 {
            return Err(FsError::Invalid("a block size of 0".into()));
        }
        self.tree.room_for(listing.entries.len() as u64)?;
        let mut changed = false;
        for entry in &listing.entries {
            changed |= self.load_entry(index, id, path, listing, entry, freed);
        }
        self.tree.edit(id, |inode| {
            if let Kind::Dir { loaded, .. } = &mut inode.kind {
                *loaded = true;
            }
            if changed {
                inode.version = index;
            }
        });
        Ok(Outcome::Done)
    }

    /// Whether anything changed.
    fn load_entry(
        &mut self,
        index: u64,
        dir: InodeId,
        path: FsPath<'_>,
        listing: &UfsListing,
        entry: &UfsEntry,
        freed: &mut Vec<BlockId>,
    ) -> bool {
        let fits = entry.dir || blocks_fit(entry.length, listing.block_size);
        if !valid_name(&entry.name) || !fits {
            return false;
        }
        let at = Stamp { index, wall_ms: entry.mtime_ms.unwrap_or(listing.wall_ms) };
        let there = self.tree.get(dir).and_then(Inode::children).and_then(|children| children.get(entry.name.as_str()));
        let there = there.and_then(|id| self.tree.get(*id));
        let mounted = there.is_some_and(|inode| inode.is_dir() && self.mounted(path, &entry.name));
        let fingerprint = if entry.dir { String::new() } else { entry.ufs.fingerprint.clone() };
        let ufs = UfsRef { url: entry.ufs.url.clone(), fingerprint };
        match if mounted { Verdict::Keep } else { judge(there, entry) } {
            Verdict::Keep => return false,
            Verdict::Adopt(id) => self.tree.edit(id, |inode| {
                inode.ufs = Some(Box::new(ufs));
                inode.version = index;
                if let Kind::Dir { loaded, .. } = &mut inode.kind {
                    *loaded = false;
                }
            }),
            Verdict::Make(old) => {
                if let Some(old) = old {
                    self.forget(old, freed);
                }
                let kind = match entry.dir {
                    true => Kind::dir(false),
                    false => Kind::File { length: entry.length, block_size: listing.block_size, completed: true },
                };
                self.tree.create(dir, &entry.name, Some(ufs), kind, at);
            }
        }
        true
    }

    /// Whether the entry `name` of the directory at `path` is a mount point or has one below.
    fn mounted(&self, path: FsPath<'_>, name: &str) -> bool {
        let parent = if path.is_root() { "" } else { path.as_str() };
        FsPath::parse(&format!("{parent}/{name}")).is_ok_and(|path| self.mounts.holds(path))
    }
}

fn judge(there: Option<&Inode>, entry: &UfsEntry) -> Verdict {
    let Some(inode) = there else {
        return Verdict::Make(None);
    };
    match (&inode.kind, &inode.ufs) {
        (Kind::Dir { .. }, Some(ufs)) if entry.dir && ufs.url == entry.ufs.url => Verdict::Keep,
        (Kind::Dir { .. }, _) if entry.dir => Verdict::Adopt(inode.id),
        (Kind::Dir { children, .. }, Some(_)) if children.is_empty() => Verdict::Make(Some(inode.id)),
        (Kind::File { length, .. }, Some(ufs)) if !entry.dir && *length == entry.length && **ufs == entry.ufs => {
            Verdict::Keep
        }
        (Kind::File { .. }, Some(_)) => Verdict::Make(Some(inode.id)),
        _ => Verdict::Keep,
    }
}
