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

/// Recent operations. A client's numbers grow, so what is looked for is near the end of its own short list; one tree of
/// all operations would be walked through memory that nobody touched for long.
#[derive(Debug, Clone)]
pub(super) struct RetryCache {
    capacity: usize,
    /// Oldest first.
    entries: VecDeque<(OpId, Recorded)>,
    /// How many entries went before the oldest: places are counted from the very first.
    gone: u64,
    /// For each client its operations' numbers, in order, and their places.
    places: BTreeMap<u64, VecDeque<(u64, u64)>>,
    hash: SetHash,
}

impl RetryCache {
    pub fn new(capacity: usize) -> Self {
        let (entries, places) = (VecDeque::new(), BTreeMap::new());
        Self { capacity, entries, gone: 0, places, hash: SetHash::default() }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What `op` answered, if it is remembered. The only lookup.
    pub fn recall(&self, op: OpId) -> Option<&Recorded> {
        let recorded = self.entries.get(self.position(op)?).map(|(_, recorded)| recorded);
        recorded.filter(|_| !planted(Bug::RetryCacheForgets))
    }

    /// Remembers a new operation and forgets the oldest beyond the capacity.
    pub fn record(&mut self, op: OpId, recorded: Recorded) {
        self.hash.add(&(op, &recorded));
        if let Some(position) = self.position(op)
            && let Some((_, old)) = self.entries.remove(position)
        {
            self.hash.remove(&(op, &old));
            self.places.clear();
            let all: Vec<_> = self.entries.iter().zip(self.gone..).map(|((op, _), place)| (*op, place)).collect();
            all.into_iter().for_each(|(op, place)| self.index(op, place));
        }
        self.index(op, self.gone + self.entries.len() as u64);
        self.entries.push_back((op, recorded));
        while self.entries.len() > self.capacity {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((op, recorded)) = self.entries.pop_front() else { return };
        self.gone += 1;
        self.hash.remove(&(op, &recorded));
        if let Some(places) = self.places.get_mut(&op.client)
            && let Ok(at) = places.binary_search_by_key(&op.seq, |(seq, _)| *seq)
        {
            places.remove(at);
            if places.is_empty() {
                self.places.remove(&op.client);
            }
        }
    }

    /// Where among the entries `op` is.
    fn position(&self, op: OpId) -> Option<usize> {
        let places = self.places.get(&op.client)?;
        // Nearly always it is new, and newer than all: the list itself, long out of the processor's caches, is left alone.
        if places.back().is_none_or(|(newest, _)| *newest < op.seq) {
            return None;
        }
        let at = places.binary_search_by_key(&op.seq, |(seq, _)| *seq).ok()?;
        places.get(at).map(|(_, place)| (place - self.gone) as usize)
    }

    /// Notes the place of an operation that has none.
    fn index(&mut self, op: OpId, place: u64) {
        let places = self.places.entry(op.client).or_default();
        if places.back().is_none_or(|(newest, _)| *newest < op.seq) {
            places.push_back((op.seq, place));
        } else if let Err(at) = places.binary_search_by_key(&op.seq, |(seq, _)| *seq) {
            places.insert(at, (op.seq, place));
        }
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &Recorded)> {
        self.entries.iter().map(|(op, recorded)| (*op, recorded))
    }

    pub fn hash(&self) -> u128 {
        self.hash.get()
    }

    /// 1. not more than its capacity; 2. each entry is found where it is; 3. indexes grow, up to `applied`; 4. the hash is right.
    pub fn check(&self, applied: u64) -> Result<(), String> {
        if self.entries.len() > self.capacity {
            return Err(format!("retry cache holds {} of {}", self.entries.len(), self.capacity));
        }
        let found = self.iter().enumerate().all(|(at, (op, _))| self.position(op) == Some(at));
        if !found || self.places.values().map(VecDeque::len).sum::<usize>() != self.entries.len() {
            return Err("retry cache: an entry is not found where it is".into());
        }
        if !self.iter().map(|(_, r)| r.index).is_sorted() || self.iter().any(|(_, r)| r.index > applied) {
            return Err("retry cache: indexes do not grow towards the applied one".into());
        }
        let mut hash = SetHash::default();
        self.iter().for_each(|item| hash.add(&item));
        if hash != self.hash { Err("retry cache: hash differs from its content".into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn it_remembers_what_a_plain_list_does(
            capacity in 0usize..12, ops in vec((0u64..4, 0u64..8), 0..60)
        ) {
            let (mut cache, mut list) = (RetryCache::new(capacity), Vec::<(OpId, u64)>::new());
            for (index, (client, seq)) in ops.into_iter().enumerate() {
                let (op, index) = (OpId { client, seq }, index as u64);
                cache.record(op, Recorded { index, result: Err(crate::stack::wire::FsError::Invalid("no".into())) });
                list.retain(|(other, _)| *other != op);
                list.push((op, index));
                list.drain(..list.len().saturating_sub(capacity));
                prop_assert_eq!(cache.check(index), Ok(()));
                let held: Vec<_> = cache.iter().map(|(op, recorded)| (op, recorded.index)).collect();
                prop_assert_eq!(&held, &list);
                prop_assert_eq!(cache.recall(op).map(|recorded| recorded.index), (capacity > 0).then_some(index));
            }
        }
    }
}
