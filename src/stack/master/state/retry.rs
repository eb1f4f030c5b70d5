//! The retry cache: what each recent operation answered, so that a retry is told and not applied again.
//!
//! It is part of the replicated state, so a client may retry at the next leader. Oldest out first, by journal index, as
//! Alluxio's `master.filesystem.operation.retry.cache.size` bounds it. A retry that comes later than that is applied
//! again. Refusals are recorded too: Alluxio records successes only.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::command::Outcome;
use super::hash::SetHash;
use crate::base::planted::{Bug, planted};
use crate::stack::wire::{FsResult, OpId};

/// Alluxio's default of `master.filesystem.operation.retry.cache.size`.
pub const RETRY_CACHE_SIZE: usize = 100_000;

/// What an operation answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recorded {
    /// Journal index of its first time.
    pub index: u64,
    /// Its answer.
    pub result: FsResult<Outcome>,
}

/// Recent operations.
#[derive(Debug, Clone)]
pub(super) struct RetryCache {
    capacity: usize,
    by_op: BTreeMap<OpId, Recorded>,
    order: VecDeque<OpId>,
    hash: SetHash,
}

impl RetryCache {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, by_op: BTreeMap::new(), order: VecDeque::new(), hash: SetHash::default() }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What `op` answered, if it is remembered. The only lookup.
    pub fn recall(&self, op: OpId) -> Option<&Recorded> {
        self.by_op.get(&op).filter(|_| !planted(Bug::RetryCacheForgets))
    }

    /// Remembers a new operation and forgets the oldest beyond the capacity.
    pub fn record(&mut self, op: OpId, recorded: Recorded) {
        self.hash.add(&(op, &recorded));
        if let Some(old) = self.by_op.insert(op, recorded) {
            self.hash.remove(&(op, &old));
            self.order.retain(|other| *other != op);
        }
        self.order.push_back(op);
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front()
                && let Some(gone) = self.by_op.remove(&oldest)
            {
                self.hash.remove(&(oldest, &gone));
            }
        }
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &Recorded)> {
        self.order.iter().filter_map(|op| Some((*op, self.by_op.get(op)?)))
    }

    pub fn hash(&self) -> u128 {
        self.hash.get()
    }

    /// 1. not more than its capacity; 2. order and map hold the same; 3. indexes grow, up to `applied`; 4. the hash is right.
    pub fn check(&self, applied: u64) -> Result<(), String> {
        if self.order.len() > self.capacity {
            return Err(format!("retry cache holds {} of {}", self.order.len(), self.capacity));
        }
        if self.order.len() != self.by_op.len() || self.iter().count() != self.by_op.len() {
            return Err("retry cache: order and map differ".into());
        }
        if !self.iter().map(|(_, r)| r.index).is_sorted() || self.iter().any(|(_, r)| r.index > applied) {
            return Err("retry cache: indexes do not grow towards the applied one".into());
        }
        let mut hash = SetHash::default();
        self.iter().for_each(|item| hash.add(&item));
        if hash != self.hash { Err("retry cache: hash differs from its content".into()) } else { Ok(()) }
    }
}
