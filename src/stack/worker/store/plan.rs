//! Where blocks go and which ones leave: decisions only, no I/O.
//!
//! A block takes space from the moment its place is chosen until its file is gone. Rules: no directory ever holds more
//! than its quota (unless it did already when the worker started); blocks that are being written, read or are pinned are
//! never chosen to leave; of the others the least recently used leave first.
//! Watermarks are those of Alluxio before 2.3: a level fuller than `high` is emptied down to `low`.
//! Differs: no promotion or demotion between levels; a new block goes to the fastest level with room.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::stack::wire::{BlockId, Medium, TierUsage};

/// One level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its medium.
    pub medium: Medium,
    /// Fuller than so many thousandths, and blocks leave …
    pub high_permille: u64,
    /// … until it is at most so full.
    pub low_permille: u64,
    /// Quota of each of its directories, in bytes.
    pub quotas: Vec<u64>,
}

/// Index of a directory: levels in order, directories in order within.
pub type Dir = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Being written; its length may grow.
    Writing,
    /// Whole and readable.
    Held,
    /// To be removed once nobody uses it.
    Going { sealed: bool },
}

#[derive(Debug)]
struct Slot {
    dir: Dir,
    bytes: u64,
    /// Time of the last use, on the plan's own clock; unique.
    used_at: u64,
    users: u32,
    pinned: bool,
    phase: Phase,
}

impl Slot {
    fn may_leave(&self) -> bool {
        self.phase == Phase::Held && self.users == 0 && !self.pinned
    }
}

#[derive(Debug)]
struct Space {
    level: usize,
    quota: u64,
    used: u64,
}

/// Why a block gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// It is here already, or has not left yet.
    Exists,
    /// Nothing that may leave makes enough room.
    Full,
}

/// A file to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// Which block.
    pub block: BlockId,
    /// Where.
    pub dir: Dir,
    /// Whether it was whole.
    pub sealed: bool,
}

/// All blocks of a worker and their space.
#[derive(Debug)]
pub struct Plan {
    levels: Vec<Level>,
    dirs: Vec<Space>,
    slots: BTreeMap<BlockId, Slot>,
    clock: u64,
}

impl Plan {
    /// Empty. `levels` fastest first.
    pub fn new(levels: Vec<Level>) -> Self {
        let dirs = levels
            .iter()
            .enumerate()
            .flat_map(|(level, l)| l.quotas.iter().map(move |quota| Space { level, quota: *quota, used: 0 }))
            .collect();
        Self { levels, dirs, slots: BTreeMap::new(), clock: 0 }
    }

    /// Takes over a whole block found on disk; false if the block is known already.
    pub fn adopt(&mut self, block: BlockId, dir: Dir, bytes: u64, pinned: bool) -> bool {
        if self.slots.contains_key(&block) {
            return false;
        }
        self.insert(block, dir, bytes, Phase::Held);
        self.set_pinned(block, pinned);
        true
    }

    /// Chooses a directory for a new block of `bytes`, and what must leave it first. Those that leave are going from now
    /// on; call [`Plan::begin`] when they are gone.
    ///
    /// # Errors
    /// [`NoPlace`]; nothing leaves then.
    pub fn choose(&mut self, block: BlockId, bytes: u64) -> Result<Dir, NoPlace> {
        if self.slots.contains_key(&block) {
            return Err(NoPlace::Exists);
        }
        let roomy = (0..self.dirs.len()).filter(|dir| self.free(*dir) >= bytes);
        // The fastest level, in it the emptiest directory, of these the first.
        let best = roomy.min_by_key(|dir| (self.dirs[*dir].level, u64::MAX - self.free(*dir), *dir));
        if let Some(dir) = best {
            return Ok(dir);
        }
        let able = (0..self.dirs.len()).filter_map(|dir| Some((dir, self.victims(dir, bytes)?)));
        // The fastest level, in it the directory whose newest victim is the oldest.
        let newest = |victims: &[BlockId]| victims.last().map_or(0, |b| self.slots[b].used_at);
        let best = able.min_by_key(|(dir, victims)| (self.dirs[*dir].level, newest(victims), *dir));
        let (dir, victims) = best.ok_or(NoPlace::Full)?;
        victims.iter().for_each(|victim| self.go(*victim));
        Ok(dir)
    }

    /// Chooses what must leave so that a block being written can grow by `more`.
    ///
    /// # Errors
    /// [`NoPlace::Full`]; nothing leaves then.
    pub fn choose_growth(&mut self, block: BlockId, more: u64) -> Result<(), NoPlace> {
        let dir = self.slots.get(&block).filter(|s| s.phase == Phase::Writing).ok_or(NoPlace::Full)?.dir;
        let victims = self.victims(dir, more).ok_or(NoPlace::Full)?;
        victims.iter().for_each(|victim| self.go(*victim));
        Ok(())
    }

    /// Takes `bytes` in `dir` for a new block; false if they are not free (yet).
    pub fn begin(&mut self, block: BlockId, dir: Dir, bytes: u64) -> bool {
        let fits = !self.slots.contains_key(&block) && self.free(dir) >= bytes;
        if fits {
            self.insert(block, dir, bytes, Phase::Writing);
        }
        fits
    }

    /// Takes `more` bytes for a block being written; false if they are not free (yet).
    pub fn grow(&mut self, block: BlockId, more: u64) -> bool {
        let Some(slot) = self.slots.get_mut(&block).filter(|s| s.phase == Phase::Writing) else {
            return false;
        };
        let space = &mut self.dirs[slot.dir];
        let fits = space.quota.saturating_sub(space.used) >= more;
        if fits {
            slot.bytes += more;
            space.used += more;
        }
        fits
    }

    /// A block being written is whole now and can be read. False if it has been dropped meanwhile.
    pub fn seal(&mut self, block: BlockId, pinned: bool) -> bool {
        let Some(slot) = self.slots.get_mut(&block).filter(|s| s.phase == Phase::Writing) else {
            return false;
        };
        (slot.phase, slot.pinned) = (Phase::Held, pinned);
        self.touch(block);
        true
    }

    /// Where a block can be read; it is in use until [`Plan::release`].
    pub fn acquire(&mut self, block: BlockId) -> Option<Dir> {
        let slot = self.slots.get_mut(&block).filter(|s| s.phase == Phase::Held)?;
        slot.users += 1;
        let dir = slot.dir;
        self.touch(block);
        Some(dir)
    }

    /// One use ends; true if the block can be removed now.
    pub fn release(&mut self, block: BlockId) -> bool {
        let Some(slot) = self.slots.get_mut(&block) else {
            return false;
        };
        slot.users = slot.users.saturating_sub(1);
        slot.users == 0 && matches!(slot.phase, Phase::Going { .. })
    }

    /// The block is to go, whatever speaks for it, as soon as nobody uses it. False if it was not here.
    pub fn drop_block(&mut self, block: BlockId) -> bool {
        let here = self.slots.get(&block).is_some_and(|s| !matches!(s.phase, Phase::Going { .. }));
        if here {
            self.go(block);
        }
        here
    }

    /// Whether a block is whole and here.
    pub fn holds(&self, block: BlockId) -> bool {
        self.slots.get(&block).is_some_and(|s| s.phase == Phase::Held)
    }

    /// Whether a block is to go and has not gone yet.
    pub fn is_going(&self, block: BlockId) -> bool {
        self.slots.get(&block).is_some_and(|s| matches!(s.phase, Phase::Going { .. }))
    }

    /// Keeps a block from being evicted, or no more.
    pub fn set_pinned(&mut self, block: BlockId, pinned: bool) {
        if let Some(slot) = self.slots.get_mut(&block) {
            slot.pinned = pinned;
        }
    }

    /// Pinned blocks above `after`, by id, at most `most`.
    pub fn pinned(&self, after: Option<BlockId>, most: usize) -> Vec<BlockId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let pinned = self.slots.range((from, Bound::Unbounded)).filter(|(_, s)| s.pinned && s.phase == Phase::Held);
        pinned.map(|(block, _)| *block).take(most).collect()
    }

    /// Brings every level that is above its high watermark down to its low one, as far as blocks may leave. Gives those
    /// that go from now on.
    pub fn enforce_watermarks(&mut self) -> Vec<BlockId> {
        let mut all = Vec::new();
        for (index, level) in self.levels.iter().enumerate() {
            let in_level = |dir: Dir| self.dirs[dir].level == index;
            let capacity: u64 = level.quotas.iter().sum();
            let limit = |permille: u64| (u128::from(capacity) * u128::from(permille) / 1000) as u64;
            // What is going already does not count: it will be gone soon.
            let staying = self.slots.values().filter(|s| in_level(s.dir) && !matches!(s.phase, Phase::Going { .. }));
            let mut used: u64 = staying.map(|s| s.bytes).sum();
            if used <= limit(level.high_permille) {
                continue;
            }
            for (block, bytes) in self.by_age(in_level) {
                if used <= limit(level.low_permille) {
                    break;
                }
                used -= bytes;
                all.push(block);
            }
        }
        all.iter().for_each(|block| self.go(*block));
        all
    }

    /// Files that can be removed now. Report each with [`Plan::gone`].
    pub fn leaving(&self) -> Vec<Leaving> {
        let going = self.slots.iter().filter_map(|(block, s)| match s.phase {
            Phase::Going { sealed } if s.users == 0 => Some(Leaving { block: *block, dir: s.dir, sealed }),
            _ => None,
        });
        going.collect()
    }

    /// A leaving block's file is removed: its space is free.
    pub fn gone(&mut self, block: BlockId) {
        if self.slots.get(&block).is_some_and(|s| matches!(s.phase, Phase::Going { .. }) && s.users == 0)
            && let Some(slot) = self.slots.remove(&block)
        {
            self.dirs[slot.dir].used -= slot.bytes;
        }
    }

    /// Space by level, blocks that are being written or going included.
    pub fn usage(&self) -> Vec<TierUsage> {
        let of = |index: usize| self.dirs.iter().filter(move |d| d.level == index);
        let usage = self.levels.iter().enumerate().map(|(index, level)| TierUsage {
            medium: level.medium,
            capacity: of(index).map(|d| d.quota).sum(),
            used: of(index).map(|d| d.used).sum(),
        });
        usage.collect()
    }

    /// The facts that always hold: space adds up, the clock is ahead of every use, uses are told apart.
    pub fn check(&self) -> Result<(), String> {
        for (dir, space) in self.dirs.iter().enumerate() {
            let sum: u64 = self.slots.values().filter(|s| s.dir == dir).map(|s| s.bytes).sum();
            if sum != space.used {
                return Err(format!("directory {dir} counts {} bytes, its blocks have {sum}", space.used));
            }
        }
        let mut times: Vec<u64> = self.slots.values().map(|s| s.used_at).collect();
        times.sort_unstable();
        times.dedup();
        if times.len() != self.slots.len() || times.last().is_some_and(|t| *t > self.clock) {
            return Err("two blocks were used at once, or one in the future".to_owned());
        }
        Ok(())
    }

    fn free(&self, dir: Dir) -> u64 {
        let space = &self.dirs[dir];
        space.quota.saturating_sub(space.used)
    }

    fn insert(&mut self, block: BlockId, dir: Dir, bytes: u64, phase: Phase) {
        self.dirs[dir].used += bytes;
        self.slots.insert(block, Slot { dir, bytes, used_at: 0, users: 0, pinned: false, phase });
        self.touch(block);
    }

    fn touch(&mut self, block: BlockId) {
        self.clock += 1;
        if let Some(slot) = self.slots.get_mut(&block) {
            slot.used_at = self.clock;
        }
    }

    fn go(&mut self, block: BlockId) {
        if let Some(slot) = self.slots.get_mut(&block) {
            slot.phase = Phase::Going { sealed: slot.phase == Phase::Held };
        }
    }

    /// Blocks that may leave, least recently used first.
    fn by_age(&self, of: impl Fn(Dir) -> bool) -> Vec<(BlockId, u64)> {
        let mut list: Vec<_> = self.slots.iter().filter(|(_, s)| of(s.dir) && s.may_leave()).collect();
        list.sort_unstable_by_key(|(_, s)| s.used_at);
        list.into_iter().map(|(block, s)| (*block, s.bytes)).collect()
    }

    /// The least recently used blocks of `dir` that make room for `bytes`, no more than needed; none if that cannot be.
    fn victims(&self, dir: Dir, bytes: u64) -> Option<Vec<BlockId>> {
        let space = &self.dirs[dir];
        if bytes > space.quota {
            return None;
        }
        // What is going already will free its space too.
        let going = self.slots.values().filter(|s| s.dir == dir && matches!(s.phase, Phase::Going { .. }));
        let going: u64 = going.map(|s| s.bytes).sum();
        let mut left = (space.used - going).saturating_add(bytes);
        let mut victims = Vec::new();
        for (block, freed) in self.by_age(|d| d == dir) {
            if left <= space.quota {
                break;
            }
            left -= freed;
            victims.push(block);
        }
        (left <= space.quota).then_some(victims)
    }
}
