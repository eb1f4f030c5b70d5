//! The block map: the length of every committed block. Journaled, unlike the places where blocks are.

use std::collections::BTreeMap;

use super::hash::SetHash;
use crate::stack::wire::{BlockId, InodeId};

/// Committed blocks, by id, so that the blocks of one file lie side by side.
#[derive(Debug, Default, Clone)]
pub(super) struct BlockMap {
    lengths: BTreeMap<BlockId, u64>,
    hash: SetHash,
}

impl BlockMap {
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    pub fn get(&self, block: BlockId) -> Option<u64> {
        self.lengths.get(&block).copied()
    }

    /// Notes a block that is not known yet.
    pub fn insert(&mut self, block: BlockId, length: u64) {
        self.hash.add(&(block, length));
        if let Some(old) = self.lengths.insert(block, length) {
            self.hash.remove(&(block, old));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (BlockId, u64)> {
        self.lengths.iter().map(|(block, length)| (*block, *length))
    }

    /// The blocks of `file` from the `first`-th on, in order.
    pub fn of(&self, file: InodeId, first: u64) -> impl Iterator<Item = (BlockId, u64)> {
        let last = BlockId::new(file, BlockId::SEQUENCE_MAX);
        let first = BlockId::new(file, first.min(BlockId::SEQUENCE_MAX + 1));
        // An empty range is asked for as a full one of nothing: `range` panics if its start lies behind its end.
        let range = (first <= last).then(|| self.lengths.range(first..=last));
        range.into_iter().flatten().map(|(block, length)| (*block, *length))
    }

    /// Forgets the blocks of `file` from the `first`-th on; adds them to `freed`.
    pub fn free(&mut self, file: InodeId, first: u64, freed: &mut Vec<BlockId>) {
        let start = freed.len();
        freed.extend(self.of(file, first).map(|(block, _)| block));
        for block in &freed[start..] {
            if let Some(length) = self.lengths.remove(block) {
                self.hash.remove(&(*block, length));
            }
        }
    }

    pub fn hash(&self) -> u128 {
        self.hash.get()
    }

    /// The hash is right.
    pub fn check(&self) -> Result<(), String> {
        let mut hash = SetHash::default();
        self.iter().for_each(|item| hash.add(&item));
        if hash != self.hash { Err("block map: hash differs from its content".into()) } else { Ok(()) }
    }
}
