//! Reads through: a block that is not cached comes from the under-store, once, however many readers want it.
//!
//! The first reader of a block starts a fetch of the whole block, which lives on if its reader goes; all readers are served
//! from it as soon as it has passed their range. Readers far ahead of it, or of blocks for which there is no space or no
//! fetch to spare, get their own range straight from the under-store, and nothing is cached for them.
//! Every byte is of the version that the reader names. A block being fetched is held in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::config::Tuning;
use super::session::Session;
use super::store::Store;
use super::store::format::Origin;
use crate::base::lock;
use crate::rt::chan::watch;
use crate::rt::task::Scope;
use crate::stack::ufs::{UfsError, UnderStore};
use crate::stack::wire::worker::UfsBlock;
use crate::stack::wire::{BlockId, FsError, FsResult};

/// Longest block that is fetched whole, in bytes.
const BLOCK_BYTES_MAX: u64 = 512 << 20;

/// All fetches of a worker.
pub(super) struct Fetcher {
    store: Arc<Store>,
    session: Arc<Session>,
    ufs: Arc<dyn UnderStore>,
    tuning: Tuning,
    fetches: Mutex<BTreeMap<BlockId, Arc<Fetch>>>,
    tasks: Scope,
}

/// One block on its way.
struct Fetch {
    source: UfsBlock,
    pieces: Mutex<Vec<Bytes>>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    /// Bytes that are here.
    bytes: u64,
    end: Option<End>,
}

#[derive(Debug, Clone)]
enum End {
    /// All of it is here, cached or not.
    Whole,
    /// There is no place for it: read for yourself.
    NoPlace,
    /// The under-store failed.
    Failed(UfsError),
}

impl Fetcher {
    pub fn new(store: Arc<Store>, session: Arc<Session>, ufs: Arc<dyn UnderStore>, tuning: Tuning) -> Arc<Self> {
        let (fetches, tasks) = (Mutex::default(), Scope::new());
        Arc::new(Self { store, session, ufs, tuning, fetches, tasks })
    }

    /// The bytes of a range of a block, fewer than asked only at its end.
    ///
    /// # Errors
    /// Those of the under-store.
    pub async fn read(self: &Arc<Self>, block: BlockId, offset: u64, length: u64, from: UfsBlock) -> FsResult<Vec<u8>> {
        if from.length > BLOCK_BYTES_MAX || from.offset.checked_add(from.length).is_none() {
            return Err(FsError::Invalid(format!("a block of {} bytes at {}", from.length, from.offset)));
        }
        let end = offset.saturating_add(length).min(from.length);
        if offset >= end {
            return Ok(Vec::new());
        }
        let Some(fetch) = self.join(block, &from, end) else {
            return self.read_straight(&from, offset, end).await;
        };
        let mut progress = fetch.progress.subscribe();
        let reached = progress.wait_for(|p| p.bytes >= end || p.end.is_some()).await.map(|p| p.clone());
        match reached {
            Ok(p) if p.bytes >= end => Ok(fetch.range(offset, end)),
            Ok(Progress { end: Some(End::Failed(error)), .. }) => Err(error.into()),
            _ => self.read_straight(&from, offset, end).await,
        }
    }

    async fn read_straight(&self, from: &UfsBlock, offset: u64, end: u64) -> FsResult<Vec<u8>> {
        let UfsBlock { source, offset: start, .. } = from;
        Ok(self.ufs.read(&source.url, &source.fingerprint, start + offset, end - offset).await?.into())
    }

    /// The fetch of this very block that will have passed `end` before long; starts one if none is under way.
    fn join(self: &Arc<Self>, block: BlockId, from: &UfsBlock, end: u64) -> Option<Arc<Fetch>> {
        let mut fetches = lock(&self.fetches);
        let fetch = match fetches.get(&block) {
            Some(fetch) => fetch.clone(),
            None if fetches.len() >= self.tuning.fetches_max => return None,
            None => {
                let progress = watch::channel(Progress::default()).0;
                let fetch = Arc::new(Fetch { source: from.clone(), pieces: Mutex::default(), progress });
                fetches.insert(block, fetch.clone());
                let (this, task) = (Arc::downgrade(self), fetch.clone());
                self.tasks.spawn("worker-fetch", async move {
                    if let Some(this) = this.upgrade() {
                        this.fetch(block, task).await;
                    }
                });
                fetch
            }
        };
        drop(fetches);
        let near = end <= fetch.progress.borrow().bytes.saturating_add(self.tuning.ahead_bytes);
        (near && fetch.source == *from).then_some(fetch)
    }

    /// Fetches a block whole, keeps it, and tells the master.
    async fn fetch(self: Arc<Self>, block: BlockId, fetch: Arc<Fetch>) {
        let (end, kept) = self.fetch_and_keep(block, &fetch).await;
        // Out of the table first: who comes now finds the block in the store, or starts anew.
        lock(&self.fetches).remove(&block);
        fetch.progress.send_modify(|p| p.end = Some(end));
        let length = fetch.source.length;
        drop(fetch);
        if kept && let Err(refusal) = self.session.commit_at_last(block, length).await {
            tracing::debug!(block = block.0, %refusal, "the master does not want a cached block");
        }
    }

    async fn fetch_and_keep(&self, block: BlockId, fetch: &Fetch) -> (End, bool) {
        let UfsBlock { source, offset: start, length } = &fetch.source;
        let mut kept = match self.store.create(block, *length).await {
            Ok(new) => new,
            Err(error) => {
                tracing::debug!(block = block.0, %error, "served without being cached");
                return (End::NoPlace, false);
            }
        };
        let mut at = 0;
        while at < *length {
            let piece = self.tuning.piece_bytes.clamp(1, length - at);
            let bytes = match self.ufs.read(&source.url, &source.fingerprint, start + at, piece).await {
                Ok(bytes) => bytes,
                Err(error) => return (End::Failed(error), false),
            };
            if let Err(error) = kept.append(&bytes).await {
                tracing::warn!(block = block.0, %error, "cannot cache a block");
                return (End::NoPlace, false);
            }
            at += piece;
            lock(&fetch.pieces).push(bytes);
            fetch.progress.send_modify(|p| p.bytes = at);
        }
        match kept.seal(Origin::Cached { fingerprint: source.fingerprint.clone() }).await {
            Ok(()) => (End::Whole, true),
            Err(error) => {
                tracing::warn!(block = block.0, %error, "cannot cache a block");
                (End::Whole, false)
            }
        }
    }
}

impl Fetch {
    /// Bytes that have been fetched already.
    fn range(&self, offset: u64, end: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity((end - offset) as usize);
        let mut at = 0;
        for piece in lock(&self.pieces).iter() {
            let next = at + piece.len() as u64;
            if next > offset && at < end {
                let from = offset.saturating_sub(at) as usize;
                let to = (end.min(next) - at) as usize;
                out.extend_from_slice(&piece[from..to]);
            }
            at = next;
        }
        out
    }
}
