//! One worker as the leader sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::FREE_MAX;
use crate::stack::wire::master::{WorkerCommand, WorkerSummary};
use crate::stack::wire::{BlockId, TierUsage, WorkerAddress, WorkerId};

/// Whether the journal knows a block that a worker reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It does.
    Yes,
    /// It does not, and everything committed is applied: the block belongs to no file, nor ever will.
    No,
    /// It does not, but the leader has not applied everything yet: the block must not be freed (Alluxio #17548).
    NotYet,
}

/// What a worker counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Has an id, but never registered.
    New,
    /// Registered, and heard of lately.
    Live,
    /// Silent for too long.
    Lost { since: Duration },
}

/// One worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub address: WorkerAddress,
    pub standing: Standing,
    pub tiers: Vec<TierUsage>,
    /// Time of the last registration or heartbeat; of the first contact before these.
    pub heard: Duration,
    /// What it holds and may serve.
    pub blocks: BTreeSet<BlockId>,
    /// Those of `blocks` that the journal did not know yet; judged again with each heartbeat.
    pub unsure: BTreeSet<BlockId>,
    /// What it holds and must drop; kept until it reports so, because an answer may get lost.
    pub doomed: BTreeSet<BlockId>,
}

impl Worker {
    pub fn new(address: WorkerAddress, now: Duration) -> Self {
        Self {
            address,
            standing: Standing::New,
            tiers: Vec::new(),
            heard: now,
            blocks: BTreeSet::new(),
            unsure: BTreeSet::new(),
            doomed: BTreeSet::new(),
        }
    }

    /// Forgets its blocks.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.unsure.clear();
        self.doomed.clear();
    }

    /// It holds a block. True if that gives the block a place.
    pub fn report(&mut self, block: BlockId, known: Known) -> bool {
        match known {
            Known::No => {
                if !self.blocks.contains(&block) {
                    self.doomed.insert(block);
                }
                return false;
            }
            Known::Yes => self.unsure.remove(&block),
            Known::NotYet => self.unsure.insert(block),
        };
        self.doomed.remove(&block);
        self.blocks.insert(block)
    }

    /// It holds a block no more. True if that takes a place away.
    pub fn drop_block(&mut self, block: BlockId) -> bool {
        self.unsure.remove(&block);
        self.doomed.remove(&block);
        self.blocks.remove(&block)
    }

    /// A block's file is gone.
    pub fn doom(&mut self, block: BlockId) {
        self.drop_block(block);
        self.doomed.insert(block);
    }

    /// Judges the unsure blocks again. Gives those that lose their place.
    pub fn settle(&mut self, knows: impl Fn(BlockId) -> Known) -> Vec<BlockId> {
        if self.unsure.is_empty() {
            return Vec::new();
        }
        let gone: Vec<_> = self.unsure.iter().copied().filter(|block| knows(*block) == Known::No).collect();
        gone.iter().for_each(|block| self.doom(*block));
        self.unsure.retain(|block| knows(*block) == Known::NotYet);
        gone
    }

    /// What to tell it.
    pub fn command(&self) -> WorkerCommand {
        match self.doomed.is_empty() {
            true => WorkerCommand::Nothing,
            false => WorkerCommand::Free(self.doomed.iter().copied().take(FREE_MAX).collect()),
        }
    }

    pub fn summary(&self, id: WorkerId) -> WorkerSummary {
        WorkerSummary { id, address: self.address.clone(), tiers: self.tiers.clone() }
    }
}
