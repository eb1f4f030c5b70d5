//! How bytes reach and leave the cache: shared by readers and writers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::workers::Workers;
use crate::rt::time::{Duration, Instant, sleep_until};
use crate::stack::client::FileSystemClient;
use crate::stack::ufs::UnderStore;

/// Most bytes asked of a worker, or sent to one, at once. A frame holds four times as many.
pub const CHUNK: u64 = 1 << 20;

/// Time-outs of single steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataTimes {
    /// For one read or write of cached bytes.
    pub worker: Duration,
    /// For a read that makes the worker fetch the block from the under-store first.
    pub read_through: Duration,
    /// For the commit of a block: the worker waits for its disk and for a leader.
    pub commit: Duration,
    /// How long a read waits for blocks that no worker and no under-store has: after a failover the leader does not know
    /// locations until the workers have registered again.
    pub patience: Duration,
}

impl Default for DataTimes {
    fn default() -> Self {
        Self {
            worker: Duration::from_secs(5),
            read_through: Duration::from_secs(30),
            commit: Duration::from_secs(30),
            patience: Duration::from_secs(30),
        }
    }
}

/// Bytes by where they came from, since the client began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DataCounters {
    /// From workers that had them.
    pub cached: u64,
    /// Through workers that fetched them.
    pub read_through: u64,
    /// From the under-store without a worker.
    pub under_store: u64,
    /// Written to workers.
    pub written: u64,
    /// Blocks written again, to another worker or once more to the same one.
    pub rewritten_blocks: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub cached: AtomicU64,
    pub read_through: AtomicU64,
    pub under_store: AtomicU64,
    pub written: AtomicU64,
    pub rewritten_blocks: AtomicU64,
}

/// What readers and writers need.
pub(super) struct DataPath {
    pub client: Arc<FileSystemClient>,
    pub workers: Workers,
    pub store: Arc<dyn UnderStore>,
    pub times: DataTimes,
    pub counters: Counters,
}

impl DataPath {
    pub fn counters(&self) -> DataCounters {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        DataCounters {
            cached: get(&self.counters.cached),
            read_through: get(&self.counters.read_through),
            under_store: get(&self.counters.under_store),
            written: get(&self.counters.written),
            rewritten_blocks: get(&self.counters.rewritten_blocks),
        }
    }
}

/// Waits between rounds: doubling, up to a cap, never beyond a deadline.
pub(super) struct Pause {
    next: Duration,
}

impl Pause {
    const CAP: Duration = Duration::from_secs(3);

    pub fn new() -> Self {
        Self { next: Duration::from_millis(50) }
    }

    pub async fn wait(&mut self, deadline: Instant) {
        sleep_until((Instant::now() + self.next).min(deadline)).await;
        self.next = Self::CAP.min(self.next * 2);
    }
}
