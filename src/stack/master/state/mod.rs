//! The state that all masters hold: namespace, mounts, lengths of blocks, recent operations.
//!
//! Rule: it changes only by [`State::apply`], which is total and deterministic, and either does a command or changes
//! nothing. Where blocks are and which workers live is not here: that is known to the leader alone (`registry`).
//! Nothing here waits, draws chance, reads a clock or does I/O.

mod blocks;
mod change;
mod check;
mod command;
mod hash;
mod image;
mod load;
mod mounts;
mod offices;
mod path;
mod restore;
mod retry;
#[cfg(test)]
mod tests;
mod through;
mod tree;

pub use check::Broken;
pub use command::{Command, Outcome, Reply, UfsEntry, UfsListing};
pub use image::DecodeError;
pub use mounts::Mount;
pub use offices::Standing;
pub use path::{FsPath, NAME_MAX, PATH_MAX};
pub use retry::{RETRY_CACHE_SIZE, Recorded};
pub use through::{Effect, PERSISTENCE_DIR, Wanted};

use blocks::BlockMap;
use mounts::MountTable;
use offices::Offices;
use retry::RetryCache;
use through::WantedFiles;
use tree::{Inode, Kind, Stamp, Tree, block_count, block_length};

use crate::stack::wire::master::Change;
use crate::stack::wire::{BlockId, FileInfo, FsError, FsResult, Mark, OpId};

/// Everything that the journal builds.
#[derive(Debug, Clone)]
pub struct State {
    tree: Tree,
    mounts: MountTable,
    blocks: BlockMap,
    retries: RetryCache,
    offices: Offices,
    wanted: WantedFiles,
    applied: u64,
}

/// A directory whose under-store is to be listed before a path can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unloaded {
    /// Its path.
    pub dir: String,
    /// Where to list.
    pub url: String,
}

/// A file's facts and its blocks, each with its length in bytes.
pub type FileBlocks = (FileInfo, Vec<(BlockId, u64)>);

impl Default for State {
    fn default() -> Self {
        Self::new(RETRY_CACHE_SIZE)
    }
}

impl State {
    /// An empty root. `retries` bounds the retry cache, in operations; it must be the same at all masters.
    pub fn new(retries: usize) -> Self {
        Self {
            tree: Tree::new(),
            mounts: MountTable::default(),
            blocks: BlockMap::default(),
            retries: RetryCache::new(retries),
            offices: Offices::default(),
            wanted: WantedFiles::default(),
            applied: 0,
        }
    }

    /// Applies the command at journal index `index`, counted from 1. An index that is not above the last one is refused.
    pub fn apply(&mut self, index: u64, command: &Command) -> Reply {
        let mut freed = Vec::new();
        if index <= self.applied {
            let result = Err(FsError::Invalid(format!("journal index {index} is behind {}", self.applied)));
            return Reply { index, result, freed };
        }
        self.applied = index;
        let result = match command {
            Command::Change { op, wall_ms, change } | Command::Through { op, wall_ms, change } => {
                if let Some(reply) = self.recall(*op) {
                    return reply;
                }
                let result = self.change(Stamp { index, wall_ms: *wall_ms }, change, &mut freed);
                if let (Command::Through { change: Change::Rename { to, .. }, .. }, Ok(_)) = (command, &result) {
                    self.moved(to);
                }
                self.retries.record(*op, Recorded { index, result: result.clone() });
                result
            }
            Command::CommitBlock { block, length } => self.commit_block(*block, *length, &mut freed),
            Command::LoadUfs(listing) => self.load(index, listing, &mut freed),
            Command::Persisted { file, url, fingerprint } => self.persist(*file, url, fingerprint, &mut freed),
            Command::Office { name } => {
                self.offices.take(index, *name);
                Ok(Outcome::Done)
            }
            Command::Restore { image } => self.restore(index, &image.0),
        };
        Reply { index, result, freed }
    }

    /// What an operation answered, if it is one that was applied and is still remembered.
    pub fn recall(&self, op: OpId) -> Option<Reply> {
        let recorded = self.retries.recall(op)?;
        Some(Reply { index: recorded.index, result: recorded.result.clone(), freed: Vec::new() })
    }

    /// `stat`.
    pub fn stat(&self, path: &str) -> FsResult<FileInfo> {
        self.tree.walk(FsPath::parse(path)?).map(Inode::info)
    }

    /// The entries of a directory, by name.
    pub fn list(&self, path: &str) -> FsResult<Vec<FileInfo>> {
        let inode = self.tree.walk(FsPath::parse(path)?)?;
        let Some(children) = inode.children() else {
            return Err(FsError::NotADirectory(path.into()));
        };
        Ok(children.values().filter_map(|id| self.tree.get(*id)).map(Inode::info).collect())
    }

    /// The blocks of a file: all that its length makes, or, while it is written, those committed so far.
    pub fn blocks(&self, path: &str) -> FsResult<FileBlocks> {
        let inode = self.tree.walk(FsPath::parse(path)?)?;
        let blocks = match inode.kind {
            Kind::Dir { .. } => return Err(FsError::IsADirectory(path.into())),
            Kind::File { completed: false, .. } => self.blocks.of(inode.id, 0).collect(),
            Kind::File { length, block_size, .. } => (0..block_count(length, block_size))
                .map(|sequence| (BlockId::new(inode.id, sequence), block_length(length, block_size, sequence)))
                .collect(),
        };
        Ok((inode.info(), blocks))
    }

    /// Bytes of a committed block; none if no worker ever committed it or its file is gone.
    pub fn block_length(&self, block: BlockId) -> Option<u64> {
        self.blocks.get(block)
    }

    /// The first directory on the way to `path` whose under-store must be listed before anything can be said about
    /// `path`, or, if `listing`, about its entries. Ask again after each [`Command::LoadUfs`], until there is none.
    pub fn unloaded(&self, path: &str, listing: bool) -> FsResult<Option<Unloaded>> {
        let path = FsPath::parse(path)?;
        let (inode, rest) = self.tree.descend(path)?;
        let (Kind::Dir { loaded: false, .. }, Some(ufs)) = (&inode.kind, &inode.ufs) else {
            return Ok(None);
        };
        if rest.is_empty() && !listing {
            return Ok(None);
        }
        let dir = match path.as_str().strip_suffix(rest).unwrap_or(path.as_str()) {
            "/" => "/",
            above => above.trim_end_matches('/'),
        };
        Ok(Some(Unloaded { dir: dir.into(), url: ufs.url.clone() }))
    }

    /// The mount that `path` lies on, with its mount point: the longest prefix.
    pub fn mount_of(&self, path: &str) -> FsResult<Option<(&str, &Mount)>> {
        Ok(self.mounts.resolve(FsPath::parse(path)?))
    }

    /// All mounts, by path.
    pub fn mounts(&self) -> impl Iterator<Item = (&str, &Mount)> {
        self.mounts.iter()
    }

    /// The name of the cluster that this journal is of; none before its first leader took office.
    pub fn cluster(&self) -> Option<u64> {
        self.offices.cluster()
    }

    /// What to tell others of this journal, which reaches `index`; none before the first leader took office.
    pub fn mark(&self, index: u64) -> Option<Mark> {
        self.offices.mark(index)
    }

    /// Whether what `mark` stands for is in this journal, which reaches `index`.
    pub fn judge(&self, mark: Mark, index: u64) -> Standing {
        self.offices.judge(mark, index)
    }

    /// The journal's entry at `index` is the first of another term.
    pub fn term_began(&mut self, index: u64) {
        self.offices.term_began(index);
    }

    /// How many leaders have taken office, as far as that is remembered.
    pub fn offices(&self) -> usize {
        self.offices.list().len()
    }

    /// Journal index of the last command; 0 before the first.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Number of files and directories, the root included.
    pub fn inode_count(&self) -> usize {
        self.tree.len()
    }

    /// Number of committed blocks.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Fingerprint of the whole state: equal after equal commands. Compare within one build only.
    pub fn state_hash(&self) -> u128 {
        let parts = [
            self.tree.hash(),
            self.mounts.hash(),
            self.blocks.hash(),
            self.retries.hash(),
            self.offices.hash(),
            self.wanted.hash(),
        ];
        hash::of(&(self.applied, self.tree.next(), self.retries.capacity(), parts))
    }

    fn commit_block(&mut self, block: BlockId, length: u64, freed: &mut Vec<BlockId>) -> FsResult<Outcome> {
        let Some(inode) = self.tree.get(block.file()) else {
            freed.push(block);
            return Err(FsError::Unknown(format!("block {}", block.0)));
        };
        let Kind::File { length: file_length, block_size, completed } = inode.kind else {
            return Err(FsError::Invalid(format!("block {} belongs to a directory", block.0)));
        };
        let most = if completed { block_length(file_length, block_size, block.sequence()) } else { block_size };
        let legal = block.sequence() <= BlockId::SEQUENCE_MAX && length > 0;
        if !legal || length > most || (completed && length < most) {
            return Err(FsError::Invalid(format!("block {} of {length} bytes where {most} fit", block.0)));
        }
        match self.blocks.get(block) {
            Some(known) if known != length => {
                Err(FsError::Invalid(format!("block {} has {known} bytes, not {length}", block.0)))
            }
            Some(_) => Ok(Outcome::Done),
            None => {
                self.blocks.insert(block, length);
                Ok(Outcome::Done)
            }
        }
    }
}
