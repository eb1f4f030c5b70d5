//! The leader's registry of workers, with the clock, the chance and the state that it needs.
//!
//! Lock order: the registry's lock, then the replica's.

use std::sync::{Arc, Mutex};

use super::raft::Replica;
use super::registry::{Known, Registry, RegistryTimes};
use super::state::State;
use crate::base::{Stream, lock};
use crate::rt::chance;
use crate::rt::time::{Duration, Instant, sleep};
use crate::stack::observe::Observer;
use crate::stack::wire::master::{WorkerCommand, WorkerSummary};
use crate::stack::wire::{BlockId, FsResult, TierUsage, WorkerAddress, WorkerId};

/// The workers, as one term's leader knows them.
pub(super) struct Workers {
    registry: Mutex<Registry>,
    chance: Mutex<Stream>,
    replica: Replica,
    observer: Arc<Observer>,
    /// The registry's time 0.
    began: Instant,
}

impl Workers {
    pub(super) fn new(times: RegistryTimes, replica: Replica, observer: Arc<Observer>) -> Self {
        Self {
            registry: Mutex::new(Registry::new(times)),
            chance: Mutex::new(chance::stream("worker-ids")),
            replica,
            observer,
            began: Instant::now(),
        }
    }

    /// First contact.
    pub(super) fn worker_id(&self, address: &WorkerAddress) -> WorkerId {
        self.with(|registry, now| registry.worker_id(address, now, &mut lock(&self.chance)))
    }

    /// A worker's full state. What is applied must include all that was committed before the worker asked: blocks that
    /// the state does not know are dropped by the worker.
    pub(super) fn register(&self, worker: WorkerId, tiers: Vec<TierUsage>, blocks: &[BlockId]) -> WorkerCommand {
        self.with(|registry, now| {
            self.replica.read(|state, _| registry.register(worker, tiers, blocks, now, |block| known(state, block)))
        })
    }

    /// A worker's changes; see [`Self::register`] for blocks that the state does not know.
    pub(super) fn heartbeat(
        &self,
        worker: WorkerId,
        tiers: Vec<TierUsage>,
        (added, removed): (&[BlockId], &[BlockId]),
    ) -> WorkerCommand {
        self.with(|registry, now| {
            self.replica
                .read(|state, _| registry.heartbeat(worker, tiers, (added, removed), now, |block| known(state, block)))
        })
    }

    /// Whether the state knows all of these.
    pub(super) fn knows_all(&self, blocks: &[BlockId]) -> bool {
        self.replica.read(|state, _| blocks.iter().all(|block| state.block_length(*block).is_some()))
    }

    /// A worker holds a block whose length was just journaled.
    pub(super) fn commit(&self, worker: WorkerId, block: BlockId) -> FsResult<()> {
        self.with(|registry, _| {
            let known = self.replica.read(|state, _| known(state, block));
            registry.commit(worker, block, known)
        })
    }

    /// Registered and not lost.
    pub(super) fn is_live(&self, worker: WorkerId) -> bool {
        self.with(|registry, _| registry.is_live(worker))
    }

    /// Where each of these blocks is.
    pub(super) fn locations(&self, blocks: impl Iterator<Item = BlockId>) -> Vec<Vec<WorkerAddress>> {
        self.with(|registry, _| blocks.map(|block| registry.locations(block)).collect())
    }

    /// Live and lost workers, each in address order.
    pub(super) fn summaries(&self) -> (Vec<WorkerSummary>, Vec<WorkerSummary>) {
        self.with(|registry, _| (registry.live(), registry.lost()))
    }

    /// Looks for silent workers, for ever.
    pub(super) async fn detect_lost(&self, interval: Duration) {
        loop {
            sleep(interval).await;
            for lost in self.with(|registry, now| registry.detect(now)) {
                tracing::warn!(worker = lost.0, "worker is lost");
            }
        }
    }

    /// Runs `f` on the registry, which has heard of all freed blocks.
    fn with<R>(&self, f: impl FnOnce(&mut Registry, Duration) -> R) -> R {
        let mut registry = lock(&self.registry);
        let freed = self.replica.take_freed();
        if !freed.is_empty() {
            registry.free(&freed);
        }
        let result = f(&mut registry, self.began.elapsed());
        let live = registry.live_count();
        drop(registry);
        self.observer.update(|facts| facts.live_workers = live);
        result
    }
}

fn known(state: &State, block: BlockId) -> Known {
    if state.block_length(block).is_some() { Known::Yes } else { Known::No }
}
