//! Blocks that clients write: chunk by chunk, then committed.
//!
//! A block is acknowledged when it is durable here and the master knows its length. Chunks name their offset, so one that
//! is sent again does no harm. A commit that the client gave up waiting for is brought to an end all the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::config::Tuning;
use super::session::Session;
use super::store::format::Origin;
use super::store::plan::NoPlace;
use super::store::{NewBlock, Store, StoreError};
use crate::base::lock;
use crate::rt::chan;
use crate::rt::task::Scope;
use crate::rt::time::{Instant, sleep, timeout_at};
use crate::stack::wire::{BlockId, FsError, FsResult};

/// All blocks being written.
pub(super) struct Writes {
    store: Arc<Store>,
    session: Arc<Session>,
    tuning: Tuning,
    open: Mutex<BTreeMap<BlockId, Arc<Open>>>,
    tasks: Scope,
}

/// One of them.
struct Open {
    /// None before the first chunk has a place, and after the commit.
    new: chan::Mutex<Option<NewBlock>>,
    used: Mutex<Instant>,
}

impl Writes {
    pub fn new(store: Arc<Store>, session: Arc<Session>, tuning: Tuning) -> Arc<Self> {
        Arc::new(Self { store, session, tuning, open: Mutex::default(), tasks: Scope::new() })
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// `Unknown` if the bytes before `offset` are not here (a restart lost them: begin again at 0); `Invalid` if others are
    /// here at `offset`; `AlreadyExists` if the block is whole; `NoSpace`, `Io`.
    pub async fn write(&self, block: BlockId, offset: u64, data: &[u8]) -> FsResult<()> {
        if self.store.length(block).is_some() {
            return Err(FsError::AlreadyExists(name(block)));
        }
        let open = match lock(&self.open).entry(block) {
            std::collections::btree_map::Entry::Occupied(open) => open.get().clone(),
            std::collections::btree_map::Entry::Vacant(_) if offset != 0 => return Err(FsError::Unknown(name(block))),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(Arc::default()).clone(),
        };
        *lock(&open.used) = Instant::now();
        let mut new = open.new.lock().await;
        let done = self.append(block, &mut new, offset, data).await;
        if new.is_none() {
            self.forget(block, &open);
        }
        done
    }

    async fn append(&self, block: BlockId, new: &mut Option<NewBlock>, offset: u64, data: &[u8]) -> FsResult<()> {
        let open = match new {
            Some(open) => open,
            None if offset != 0 => return Err(FsError::Unknown(name(block))),
            None => new.insert(self.store.create(block, data.len() as u64).await.map_err(|e| failed(block, e))?),
        };
        let Some(known) = open.length().checked_sub(offset) else {
            return Err(FsError::Unknown(format!("bytes of {} before {offset}", name(block))));
        };
        let (again, data) = data.split_at(data.len().min(usize::try_from(known).unwrap_or(usize::MAX)));
        if !open.has(offset, again).await.map_err(|error| failed(block, error))? {
            return Err(FsError::Invalid(format!("{} has other bytes at {offset}", name(block))));
        }
        let appended = open.append(data).await;
        appended.map_err(|error| {
            // A block with a hole is of no use to anybody.
            *new = None;
            failed(block, error)
        })
    }

    /// Makes a block durable, commits it to the master, and answers when both are done.
    ///
    /// # Errors
    /// `Unknown` if it is not here; `Invalid` if it has another length; the master's refusal, after which it is dropped;
    /// `Unavailable` at `deadline`: it may be committed yet.
    pub async fn commit(self: &Arc<Self>, block: BlockId, length: u64, deadline: Instant) -> FsResult<()> {
        // On a task of its own: a connection that breaks must not cut a commit in two.
        let this = self.clone();
        let task = self.tasks.spawn("worker-commit", async move { this.commit_whole(block, length).await });
        match timeout_at(deadline, task).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(FsError::Unavailable(format!("the worker stopped while it committed {}", name(block)))),
            Err(_) => Err(FsError::Unavailable(format!("{} is not committed yet", name(block)))),
        }
    }

    async fn commit_whole(&self, block: BlockId, length: u64) -> FsResult<()> {
        let open = lock(&self.open).get(&block).cloned();
        if let Some(open) = open {
            *lock(&open.used) = Instant::now();
            let mut new = open.new.lock().await;
            if let Some(whole) = new.take_if(|new| new.length() == length) {
                let sealed = whole.seal(Origin::Written).await;
                self.forget(block, &open);
                sealed.map_err(|error| failed(block, error))?;
            }
        }
        match self.store.length(block) {
            Some(here) if here == length && length > 0 => self.session.commit_at_last(block, length).await,
            Some(here) => Err(FsError::Invalid(format!("{} has {here} bytes, not {length}", name(block)))),
            None if lock(&self.open).contains_key(&block) => {
                Err(FsError::Invalid(format!("{} is not {length} bytes long", name(block))))
            }
            None => Err(FsError::Unknown(name(block))),
        }
    }

    /// Drops a block, written or cached.
    pub fn discard(&self, block: BlockId) {
        lock(&self.open).remove(&block);
        self.store.drop_block(block);
    }

    /// Gives up blocks that nobody writes to any more, for ever.
    pub async fn expire(&self) {
        loop {
            sleep(self.tuning.write_idle_max / 4).await;
            let oldest = Instant::now() - self.tuning.write_idle_max;
            lock(&self.open).retain(|_, open| *lock(&open.used) >= oldest);
        }
    }

    fn forget(&self, block: BlockId, open: &Arc<Open>) {
        let mut all = lock(&self.open);
        if all.get(&block).is_some_and(|current| Arc::ptr_eq(current, open)) {
            all.remove(&block);
        }
    }
}

impl Default for Open {
    fn default() -> Self {
        Self { new: chan::Mutex::new(None), used: Mutex::new(Instant::now()) }
    }
}

fn name(block: BlockId) -> String {
    format!("block {}", block.0)
}

fn failed(block: BlockId, error: StoreError) -> FsError {
    match error {
        StoreError::NoPlace(NoPlace::Full) => FsError::NoSpace(name(block)),
        StoreError::NoPlace(NoPlace::Exists) => FsError::Busy(name(block)),
        StoreError::Gone => FsError::Unknown(name(block)),
        StoreError::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull => FsError::NoSpace(name(block)),
        StoreError::Disk(_) | StoreError::Fingerprint => FsError::Io(format!("{}: {error}", name(block))),
    }
}
