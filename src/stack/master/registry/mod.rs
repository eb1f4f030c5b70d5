//! Which workers live and which blocks they hold: what the leader alone knows, rebuilt from the workers after a failover.
//!
//! Rule: not journaled, and nothing of it is trusted after a change of leader ([`Registry::reset`]). A worker is known,
//! live or lost, never two of these; only a live one has places. Numbers and behaviour follow Alluxio 2.x's block master.
//! Nothing here waits or reads a clock: `now` is any monotonic time, given by the caller.
//! Differs: no registration leases, no streamed registration, no decommissioning.

mod check;
#[cfg(test)]
mod tests;
mod worker;

pub use worker::Known;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Stream;
use crate::stack::wire::master::{WorkerCommand, WorkerSummary};
use crate::stack::wire::{BlockId, FsError, FsResult, TierUsage, WorkerAddress, WorkerId};
use worker::{Standing, Worker};

/// Most blocks that one heartbeat's answer asks to free, so that it fits a frame; the rest follows with the next.
pub const FREE_MAX: usize = 10_000;

/// Times of worker detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryTimes {
    /// A worker that is silent for longer is lost: `alluxio.master.worker.timeout`, 5 min.
    pub worker_timeout: Duration,
    /// How often that is looked for: `alluxio.master.lost.worker.detection.interval`, 10 s.
    pub detection_interval: Duration,
    /// A lost worker is forgotten after this further time: `alluxio.master.lost.worker.deletion.timeout`, 30 min.
    pub forget_after: Duration,
}

impl Default for RegistryTimes {
    fn default() -> Self {
        Self {
            worker_timeout: Duration::from_secs(300),
            detection_interval: Duration::from_secs(10),
            forget_after: Duration::from_secs(1800),
        }
    }
}

/// The leader's view of the workers.
#[derive(Debug)]
pub struct Registry {
    times: RegistryTimes,
    workers: BTreeMap<WorkerId, Worker>,
    by_address: BTreeMap<WorkerAddress, WorkerId>,
    /// Live holders of each block, by id, never empty.
    places: BTreeMap<BlockId, Vec<WorkerId>>,
    next_detection: Duration,
}

impl Registry {
    /// Knows no worker.
    pub fn new(times: RegistryTimes) -> Self {
        Self {
            times,
            workers: BTreeMap::new(),
            by_address: BTreeMap::new(),
            places: BTreeMap::new(),
            next_detection: Duration::ZERO,
        }
    }

    /// Forgets all: leadership was lost or won.
    pub fn reset(&mut self) {
        *self = Self::new(self.times);
    }

    /// First contact: a random id, or the one that this address has already. It counts for nothing until registered.
    pub fn worker_id(&mut self, address: &WorkerAddress, now: Duration, chance: &mut Stream) -> WorkerId {
        if let Some(id) = self.by_address.get(address) {
            return *id;
        }
        // 63 bits, as Alluxio's positive long.
        let mut id = WorkerId(chance.bits() >> 1);
        while id.0 == 0 || self.workers.contains_key(&id) {
            id = WorkerId(chance.bits() >> 1);
        }
        self.workers.insert(id, Worker::new(address.clone(), now));
        self.by_address.insert(address.clone(), id);
        id
    }

    /// A worker's full state replaces what was known of it, and it lives. Blocks for which `knows` says no are to be
    /// freed. `Register` if the id is unknown here.
    pub fn register(
        &mut self,
        id: WorkerId,
        tiers: Vec<TierUsage>,
        blocks: &[BlockId],
        now: Duration,
        knows: impl Fn(BlockId) -> Known,
    ) -> WorkerCommand {
        self.displace(id);
        let Some(worker) = self.workers.get_mut(&id) else {
            return WorkerCommand::Register;
        };
        worker.clear();
        worker.standing = Standing::Live;
        worker.tiers = tiers;
        worker.heard = now;
        for block in blocks {
            if worker.report(*block, knows(*block)) {
                place(&mut self.places, *block, id);
            }
        }
        worker.command()
    }

    /// A worker lives and changed since its last heartbeat that got through: `removed` first, then `added`, as Alluxio
    /// takes them. `Register` if the id is unknown, lost or not registered.
    pub fn heartbeat(
        &mut self,
        id: WorkerId,
        tiers: Vec<TierUsage>,
        (added, removed): (&[BlockId], &[BlockId]),
        now: Duration,
        knows: impl Fn(BlockId) -> Known,
    ) -> WorkerCommand {
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.standing == Standing::Live) else {
            return WorkerCommand::Register;
        };
        worker.tiers = tiers;
        worker.heard = now;
        for block in removed {
            if worker.drop_block(*block) {
                displace(&mut self.places, *block, id);
            }
        }
        for block in added {
            if worker.report(*block, knows(*block)) {
                place(&mut self.places, *block, id);
            }
        }
        for block in worker.settle(knows) {
            displace(&mut self.places, block, id);
        }
        worker.command()
    }

    /// A worker holds a block whose length was journaled; `known` tells whether it is still, for its file may have been
    /// deleted meanwhile. `Unknown` if the worker does not live here, as right after a failover.
    pub fn commit(&mut self, id: WorkerId, block: BlockId, known: Known) -> FsResult<()> {
        let worker = self.workers.get_mut(&id).filter(|worker| worker.standing == Standing::Live);
        let worker = worker.ok_or_else(|| FsError::Unknown(format!("worker {}", id.0)))?;
        if worker.report(block, known) {
            place(&mut self.places, block, id);
        }
        Ok(())
    }

    /// These blocks lost their files: no place any more, and their holders are told with each heartbeat until they
    /// report them removed.
    pub fn free(&mut self, blocks: &[BlockId]) {
        for block in blocks {
            for id in self.places.remove(block).unwrap_or_default() {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.doom(*block);
                }
            }
        }
    }

    /// Every detection interval, at whichever call comes then: silent workers become lost, long lost ones are forgotten.
    /// Gives those that became lost, by id.
    pub fn detect(&mut self, now: Duration) -> Vec<WorkerId> {
        if now < self.next_detection {
            return Vec::new();
        }
        self.next_detection = now.saturating_add(self.times.detection_interval);
        let (mut lost, mut forgotten) = (Vec::new(), Vec::new());
        for (id, worker) in &self.workers {
            let silent = now.saturating_sub(worker.heard) > self.times.worker_timeout;
            match worker.standing {
                Standing::Live if silent => lost.push(*id),
                Standing::New if silent => forgotten.push(*id),
                Standing::Lost { since } if now.saturating_sub(since) > self.times.forget_after => forgotten.push(*id),
                _ => {}
            }
        }
        for id in &lost {
            self.displace(*id);
            if let Some(worker) = self.workers.get_mut(id) {
                worker.clear();
                worker.standing = Standing::Lost { since: now };
            }
        }
        for worker in forgotten.iter().filter_map(|id| self.workers.remove(id)) {
            self.by_address.remove(&worker.address);
        }
        lost
    }

    /// Whether the worker is registered and not lost.
    pub fn is_live(&self, id: WorkerId) -> bool {
        self.workers.get(&id).is_some_and(|worker| worker.standing == Standing::Live)
    }

    /// Where a worker listens; none if the id is unknown.
    pub fn address(&self, id: WorkerId) -> Option<&WorkerAddress> {
        self.workers.get(&id).map(|worker| &worker.address)
    }

    /// Live workers that hold the block, in address order.
    pub fn locations(&self, block: BlockId) -> Vec<WorkerAddress> {
        let holders = self.places.get(&block).into_iter().flatten();
        let mut addresses: Vec<_> = holders.filter_map(|id| self.address(*id)).cloned().collect();
        addresses.sort_unstable();
        addresses
    }

    /// Workers that heartbeat, in address order.
    pub fn live(&self) -> Vec<WorkerSummary> {
        self.summaries(|standing| standing == Standing::Live)
    }

    /// How many workers heartbeat.
    pub fn live_count(&self) -> usize {
        self.workers.values().filter(|worker| worker.standing == Standing::Live).count()
    }

    /// Workers that stopped to, in address order.
    pub fn lost(&self) -> Vec<WorkerSummary> {
        self.summaries(|standing| matches!(standing, Standing::Lost { .. }))
    }

    fn summaries(&self, wanted: impl Fn(Standing) -> bool) -> Vec<WorkerSummary> {
        let workers = self.by_address.values().filter_map(|id| Some((*id, self.workers.get(id)?)));
        workers.filter(|(_, worker)| wanted(worker.standing)).map(|(id, worker)| worker.summary(id)).collect()
    }

    /// Takes all places of a worker away.
    fn displace(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get(&id) {
            worker.blocks.iter().for_each(|block| displace(&mut self.places, *block, id));
        }
    }
}

fn place(places: &mut BTreeMap<BlockId, Vec<WorkerId>>, block: BlockId, id: WorkerId) {
    let holders = places.entry(block).or_default();
    if let Err(at) = holders.binary_search(&id) {
        holders.insert(at, id);
    }
}

fn displace(places: &mut BTreeMap<BlockId, Vec<WorkerId>>, block: BlockId, id: WorkerId) {
    if let Some(holders) = places.get_mut(&block) {
        holders.retain(|holder| *holder != id);
        if holders.is_empty() {
            places.remove(&block);
        }
    }
}
