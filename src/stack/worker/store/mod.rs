//! The tiered store: blocks on disk, by the decisions of [`plan`].
//!
//! | file | what it is |
//! |---|---|
//! | `plan.rs` | where blocks go and which leave; pure |
//! | `format.rs` | the file of one block and its checksums; pure |
//! | `new_block.rs` | a block being written: durable before it is readable |
//! | `recover.rs` | what is found after a restart |
//!
//! Rule: bytes leave the store only after their checksums match. One task, [`Store::sweep`], removes files; everybody else
//! marks blocks as going and waits for the space, so that no future that is dropped half-way leaves space unaccounted.

pub mod format;
mod new_block;
pub mod plan;
mod recover;
#[cfg(test)]
mod tests;

pub use new_block::NewBlock;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use self::format::{CHUNK_BYTES, Corrupt, HEADER_BYTES, Origin};
use self::plan::{Dir, Leaving, Level, NoPlace, Plan};
use super::report::{Delta, Report};
use crate::base::lock;
use crate::rt::chan::{self, Notify, watch};
use crate::rt::fs::{self, File};
use crate::rt::time::{Duration, timeout};
use crate::stack::wire::{BlockId, TierUsage};

/// How often leaving files are looked for when nobody asks, and removals that failed are tried again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long a new block waits for the space of those that leave for it.
const SPACE_WAIT: Duration = Duration::from_secs(5);

/// One level of the store and its directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelConfig {
    /// Medium, quotas and watermarks.
    pub level: Level,
    /// Absolute path of each directory, in the order of the quotas.
    pub paths: Vec<String>,
}

/// What the store knows of a whole block.
#[derive(Debug)]
pub struct Meta {
    /// Bytes.
    pub length: u64,
    /// Where they came from.
    pub origin: Origin,
    table: Vec<u32>,
}

/// What a read finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The bytes, fewer than asked only at the end of the block.
    Bytes(Vec<u8>),
    /// The block is not here.
    Absent,
    /// It was here, but its bytes are damaged, unreadable, or of another version than asked for. It is dropped, unless the
    /// disk failed to read what may be the only copy: that read may succeed yet.
    Unusable(String),
}

/// Why a block cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room, or here already.
    #[error("{}", match .0 { NoPlace::Full => "no space that may be freed", NoPlace::Exists => "the block exists" })]
    NoPlace(NoPlace),
    /// The disk failed.
    #[error("disk: {0}")]
    Disk(#[from] io::Error),
    /// The block was dropped while it was being written.
    #[error("the block was dropped meanwhile")]
    Gone,
    /// The header cannot hold the version's name.
    #[error("the fingerprint is too long")]
    Fingerprint,
}

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("disk: {0}")]
    Disk(#[from] io::Error),
    #[error("{0}")]
    Corrupt(#[from] Corrupt),
}

struct Inner {
    plan: Plan,
    metas: BTreeMap<BlockId, Arc<Meta>>,
    report: Report,
}

/// All blocks of a worker.
pub struct Store {
    inner: Mutex<Inner>,
    paths: Vec<String>,
    /// One new block looks for a place at a time.
    placing: chan::Mutex<()>,
    /// Something may have to leave.
    sweep: Notify,
    /// Counts removals.
    removed: watch::Sender<u64>,
}

impl Store {
    /// Makes missing directories, drops what was being written, and takes over the whole blocks found. They count as
    /// committed: the master frees those it does not know.
    ///
    /// # Errors
    /// The disk's. A block that is damaged is none.
    pub async fn open(levels: Vec<LevelConfig>) -> io::Result<Self> {
        let paths: Vec<String> = levels.iter().flat_map(|l| l.paths.clone()).collect();
        let mut inner = Inner {
            plan: Plan::new(levels.into_iter().map(|l| l.level).collect()),
            metas: BTreeMap::new(),
            report: Report::default(),
        };
        for (dir, path) in paths.iter().enumerate() {
            for (block, meta) in recover::scan(path).await? {
                let pinned = meta.origin == Origin::Written;
                if inner.plan.adopt(block, dir, meta.length, pinned) {
                    inner.report.add(block);
                    inner.metas.insert(block, Arc::new(meta));
                } else {
                    fs::remove_file(&block_path(path, block)).await?;
                }
            }
        }
        Ok(Self {
            inner: Mutex::new(inner),
            paths,
            placing: chan::Mutex::new(()),
            sweep: Notify::new(),
            removed: watch::channel(0).0,
        })
    }

    /// Reads part of a block. `version`: the under-store version that the reader expects, if it says so.
    pub async fn read(self: &Arc<Self>, block: BlockId, offset: u64, length: u64, version: Option<&str>) -> Found {
        let Some((in_use, meta)) = self.acquire(block) else {
            return Found::Absent;
        };
        let stale = match (&meta.origin, version) {
            (Origin::Cached { fingerprint }, Some(version)) => fingerprint != version,
            _ => false,
        };
        let (why, lost) = if stale {
            ("it is of another version".to_owned(), true)
        } else {
            match self.read_verified(block, in_use.dir, &meta, offset, length).await {
                Ok(bytes) => return Found::Bytes(bytes),
                Err(ReadError::Disk(error)) => (error.to_string(), meta.origin != Origin::Written),
                Err(ReadError::Corrupt(error)) => (error.to_string(), true),
            }
        };
        tracing::warn!(block = block.0, %why, lost, "a block cannot be served");
        if lost {
            self.drop_block(block);
        }
        Found::Unusable(why)
    }

    /// Reads the chunks that a range touches and believes them only if their checksums match.
    async fn read_verified(
        &self,
        block: BlockId,
        dir: Dir,
        meta: &Meta,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let end = offset.saturating_add(length).min(meta.length);
        if offset >= end {
            return Ok(Vec::new());
        }
        let first = offset / CHUNK_BYTES;
        let from = first * CHUNK_BYTES;
        let to = (end.div_ceil(CHUNK_BYTES) * CHUNK_BYTES).min(meta.length);
        let mut data = vec![0; (to - from) as usize];
        let file = File::open(&block_path(&self.paths[dir], block)).await?;
        file.read_exact_at(HEADER_BYTES as u64 + from, &mut data).await?;
        format::verify(block, &meta.table, first, &data)?;
        data.truncate((end - from) as usize);
        data.drain(..(offset - from) as usize);
        Ok(data)
    }

    /// Begins a block. `bytes` are set aside for it; it may grow.
    ///
    /// # Errors
    /// [`StoreError::NoPlace`], or the disk's.
    pub async fn create(self: &Arc<Self>, block: BlockId, bytes: u64) -> Result<NewBlock, StoreError> {
        // One with the same id that is on its way out is waited for.
        self.when_free(|plan| !plan.is_going(block)).await?;
        let _turn = self.placing.lock().await;
        let dir = lock(&self.inner).plan.choose(block, bytes).map_err(StoreError::NoPlace)?;
        self.when_free(|plan| plan.begin(block, dir, bytes)).await?;
        NewBlock::create(self.clone(), block, dir, bytes).await
    }

    /// Sets more bytes aside for a block being written.
    async fn grow(&self, block: BlockId, more: u64) -> Result<(), StoreError> {
        let _turn = self.placing.lock().await;
        lock(&self.inner).plan.choose_growth(block, more).map_err(StoreError::NoPlace)?;
        self.when_free(|plan| plan.grow(block, more)).await
    }

    /// Waits for leaving blocks until `take` succeeds.
    async fn when_free(&self, mut take: impl FnMut(&mut Plan) -> bool) -> Result<(), StoreError> {
        let mut removed = self.removed.subscribe();
        let freed = async {
            if take(&mut lock(&self.inner).plan) {
                return true;
            }
            self.sweep.notify_one();
            while !take(&mut lock(&self.inner).plan) {
                if removed.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        match timeout(SPACE_WAIT, freed).await {
            Ok(true) => Ok(()),
            _ => Err(StoreError::NoPlace(NoPlace::Full)),
        }
    }

    /// Takes a block into use.
    fn acquire(self: &Arc<Self>, block: BlockId) -> Option<(InUse, Arc<Meta>)> {
        let mut inner = lock(&self.inner);
        let meta = inner.metas.get(&block)?.clone();
        let dir = inner.plan.acquire(block)?;
        drop(inner);
        Some((InUse { store: self.clone(), block, dir }, meta))
    }

    /// The block is to go as soon as nobody reads it; nobody finds it any more. False if it was not here.
    pub fn drop_block(&self, block: BlockId) -> bool {
        let mut inner = lock(&self.inner);
        let here = inner.plan.drop_block(block);
        if here {
            inner.metas.remove(&block);
            inner.report.remove(block);
        }
        drop(inner);
        self.sweep.notify_one();
        here
    }

    /// The length of a whole block, if it is here.
    pub fn length(&self, block: BlockId) -> Option<u64> {
        lock(&self.inner).metas.get(&block).map(|meta| meta.length)
    }

    /// The master knows the block's length now: report it as held, or as gone if it went meanwhile.
    pub fn committed(&self, block: BlockId) {
        let mut inner = lock(&self.inner);
        if inner.plan.holds(block) {
            inner.report.add(block);
        } else {
            inner.report.remove(block);
        }
    }

    /// The master wants a block gone. Nothing if it does not know yet that the block is here (again): it will repeat
    /// itself.
    pub fn free(&self, block: BlockId) {
        let mut inner = lock(&self.inner);
        if inner.report.told(block) {
            drop(inner);
            self.drop_block(block);
        } else if !inner.plan.holds(block) {
            inner.report.remove(block);
        }
    }

    /// Changes for the next heartbeat.
    pub fn take_delta(&self) -> Delta {
        lock(&self.inner).report.take()
    }

    /// The heartbeat with these changes got no answer.
    pub fn merge_back(&self, delta: Delta) {
        lock(&self.inner).report.merge_back(delta);
    }

    /// All committed blocks, for a registration.
    pub fn report_all(&self) -> Vec<BlockId> {
        lock(&self.inner).report.all()
    }

    /// Space by level.
    pub fn usage(&self) -> Vec<TierUsage> {
        lock(&self.inner).plan.usage()
    }

    /// Keeps a block from being evicted, or no more.
    pub fn set_pinned(&self, block: BlockId, pinned: bool) {
        lock(&self.inner).plan.set_pinned(block, pinned);
    }

    /// Pinned blocks above `after`, by id, at most `most`.
    pub fn pinned(&self, after: Option<BlockId>, most: usize) -> Vec<BlockId> {
        lock(&self.inner).plan.pinned(after, most)
    }

    /// The planted bug: what clients wrote is pinned now, and not when it was sealed.
    pub fn pin_late(&self) {
        let mut inner = lock(&self.inner);
        let Inner { plan, metas, .. } = &mut *inner;
        let written = metas.iter().filter(|(_, meta)| meta.origin == Origin::Written);
        written.for_each(|(block, _)| plan.set_pinned(*block, true));
    }

    /// Removes files of blocks that are going and keeps levels below their watermarks, for ever.
    pub async fn sweep(&self) {
        loop {
            // Only a removal that failed is worth another look before something changes.
            let _ = timeout(SWEEP_INTERVAL, self.sweep.notified()).await;
            self.sweep_once().await;
        }
    }

    async fn sweep_once(&self) {
        {
            let mut inner = lock(&self.inner);
            for block in inner.plan.enforce_watermarks() {
                inner.metas.remove(&block);
                inner.report.remove(block);
            }
        }
        for leaving in self.leaving() {
            match self.remove_files(leaving).await {
                Ok(()) => {
                    lock(&self.inner).plan.gone(leaving.block);
                    self.removed.send_modify(|n| *n += 1);
                }
                // Tried again later. Those who wait for the space must not hear of it, or they would ask for ever.
                Err(error) => tracing::warn!(block = leaving.block.0, %error, "cannot remove a block"),
            }
        }
        debug_assert_eq!(lock(&self.inner).plan.check(), Ok(()));
    }

    fn leaving(&self) -> Vec<Leaving> {
        let mut inner = lock(&self.inner);
        let leaving = inner.plan.leaving();
        // Those evicted for a new block were not dropped one by one.
        for gone in &leaving {
            if inner.metas.remove(&gone.block).is_some() {
                inner.report.remove(gone.block);
            }
        }
        leaving
    }

    async fn remove_files(&self, leaving: Leaving) -> io::Result<()> {
        let root = &self.paths[leaving.dir];
        if !leaving.sealed {
            // A block whose sealing was cut short may have either name.
            remove_if_there(&temp_path(root, leaving.block)).await?;
        }
        remove_if_there(&block_path(root, leaving.block)).await
    }
}

/// A block that cannot leave while this lives.
struct InUse {
    store: Arc<Store>,
    block: BlockId,
    dir: Dir,
}

impl Drop for InUse {
    fn drop(&mut self) {
        if lock(&self.store.inner).plan.release(self.block) {
            self.store.sweep.notify_one();
        }
    }
}

async fn remove_if_there(path: &str) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Where whole blocks lie, below a directory of the store.
pub fn blocks_dir(root: &str) -> String {
    format!("{root}/blocks")
}

/// The block whose file has this name, if any.
pub fn block_named(name: &str) -> Option<BlockId> {
    u64::from_str_radix(name, 16).ok().filter(|id| format!("{id:016x}") == name).map(BlockId)
}

fn temp_dir(root: &str) -> String {
    format!("{root}/tmp")
}

fn block_path(root: &str, block: BlockId) -> String {
    format!("{root}/blocks/{:016x}", block.0)
}

fn temp_path(root: &str, block: BlockId) -> String {
    format!("{root}/tmp/{:016x}", block.0)
}
