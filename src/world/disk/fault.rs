//! Injected faults of one disk, and how often each acted.
//!
//! Rule: a fault that is cleared keeps its count, so that a fault without effect can be told after the run. Damage that
//! happens at once (bit rot, a lost name) is a call on `Disks`, not a fault here.

use crate::base::{SimTime, Stream};

/// How often a fault fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Odds {
    /// Fires this many times …
    pub num: u64,
    /// … in so many calls.
    pub den: u64,
    /// Never more often than this.
    pub limit: u64,
}

impl Odds {
    /// Every call.
    pub const ALWAYS: Self = Self { num: 1, den: 1, limit: u64::MAX };
    /// The next call only.
    pub const ONCE: Self = Self { num: 1, den: 1, limit: 1 };
}

/// What the page cache does with the pages of a failed sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// They stay dirty: a later sync writes them.
    Dirty,
    /// They are marked clean and are lost: a later sync succeeds and writes nothing (Linux, ext4 and XFS).
    Lost,
}

/// A lasting fault of a disk. `under` limits it to paths that start so, as mounted; empty is the whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskFault {
    /// Reads fail with `EIO`.
    ReadError {
        /// Path prefix.
        under: String,
        /// How often.
        odds: Odds,
    },
    /// Writes and changes of names fail with `EIO`; nothing is written.
    WriteError {
        /// Path prefix.
        under: String,
        /// How often.
        odds: Odds,
    },
    /// Syncs fail with `EIO`.
    SyncError {
        /// Path prefix.
        under: String,
        /// How often.
        odds: Odds,
        /// What is left in the page cache.
        pages: Pages,
    },
    /// Syncs take their time, say they succeeded, and make nothing durable.
    LyingSync {
        /// Path prefix.
        under: String,
        /// How often.
        odds: Odds,
    },
    /// Somebody else filled the disk: only `free` bytes can still be written (`ENOSPC`).
    Full {
        /// Bytes left.
        free: u64,
    },
    /// Calls do not come back before `until`.
    Stall {
        /// When the device answers again.
        until: SimTime,
    },
    /// The device takes `factor` times as long.
    Slow {
        /// At least 1.
        factor: u32,
    },
    /// Remounted read-only after an error: writes, and changes of names, give `EROFS`.
    ReadOnly,
}

/// Names an injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(pub u32);

#[derive(Debug, Clone)]
struct Injected {
    id: FaultId,
    fault: DiskFault,
    hits: u64,
    /// Bytes that were used when it began.
    used: u64,
}

/// The faults of one disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    active: Vec<Injected>,
    past: Vec<(FaultId, u64)>,
}

impl Faults {
    pub(super) fn none(&self) -> bool {
        self.active.is_empty()
    }

    /// Turns a fault on, while `used` bytes of the disk are in use.
    pub(super) fn inject(&mut self, id: FaultId, fault: DiskFault, used: u64) {
        self.active.push(Injected { id, fault, hits: 0, used });
    }

    /// Ends one fault, or all.
    pub(super) fn clear(&mut self, which: Option<FaultId>) {
        let (gone, left) =
            std::mem::take(&mut self.active).into_iter().partition(|f| which.is_none_or(|id| id == f.id));
        let gone: Vec<Injected> = gone;
        self.active = left;
        self.past.extend(gone.into_iter().map(|f| (f.id, f.hits)));
    }

    /// How often the fault acted.
    pub(super) fn hits(&self, id: FaultId) -> Option<u64> {
        let active = self.active.iter().map(|f| (f.id, f.hits));
        active.chain(self.past.iter().copied()).find(|(other, _)| *other == id).map(|(_, hits)| hits)
    }

    /// Counts and gives what `f` sees in the first fault that it takes.
    fn first<T>(&mut self, mut f: impl FnMut(&DiskFault, u64) -> Option<T>) -> Option<T> {
        self.active.iter_mut().find_map(|injected| {
            let found = f(&injected.fault, injected.hits)?;
            injected.hits += 1;
            Some(found)
        })
    }

    pub(super) fn read_fails(&mut self, path: &str, chance: &mut Stream) -> bool {
        self.first(|fault, hits| match fault {
            DiskFault::ReadError { under, odds } => fires(under, odds, hits, path, chance),
            _ => None,
        })
        .is_some()
    }

    /// The errno of a write or of a change of names.
    pub(super) fn write_fails(&mut self, path: &str, chance: &mut Stream) -> Option<i32> {
        self.first(|fault, hits| match fault {
            DiskFault::WriteError { under, odds } => fires(under, odds, hits, path, chance).map(|()| libc::EIO),
            DiskFault::ReadOnly => Some(libc::EROFS),
            _ => None,
        })
    }

    pub(super) fn sync_fails(&mut self, path: &str, chance: &mut Stream) -> Option<Pages> {
        self.first(|fault, hits| match fault {
            DiskFault::SyncError { under, odds, pages } => fires(under, odds, hits, path, chance).map(|()| *pages),
            _ => None,
        })
    }

    pub(super) fn sync_lies(&mut self, path: &str, chance: &mut Stream) -> bool {
        self.first(|fault, hits| match fault {
            DiskFault::LyingSync { under, odds } => fires(under, odds, hits, path, chance),
            _ => None,
        })
        .is_some()
    }

    /// Bytes that may still be written, with `used` bytes in use now: what is removed may be written again.
    pub(super) fn free(&self, used: u64) -> u64 {
        let free = self.active.iter().filter_map(|f| match f.fault {
            DiskFault::Full { free } => Some(f.used.saturating_add(free).saturating_sub(used)),
            _ => None,
        });
        free.min().unwrap_or(u64::MAX)
    }

    /// A call met the end of the disk.
    pub(super) fn refused(&mut self) {
        for injected in &mut self.active {
            injected.hits += u64::from(matches!(injected.fault, DiskFault::Full { .. }));
        }
    }

    /// The end of a stall that is on.
    pub(super) fn stalled(&mut self, now: SimTime) -> Option<SimTime> {
        self.first(|fault, _| match fault {
            DiskFault::Stall { until } if *until > now => Some(*until),
            _ => None,
        })
    }

    pub(super) fn slow(&mut self) -> u32 {
        self.first(|fault, _| match fault {
            DiskFault::Slow { factor } => Some((*factor).max(1)),
            _ => None,
        })
        .unwrap_or(1)
    }

    /// Whether the disk must not write back on its own: it would make true what a sync only claimed.
    pub(super) fn holds_writeback(&self) -> bool {
        self.active.iter().any(|f| !matches!(f.fault, DiskFault::ReadError { .. } | DiskFault::Slow { .. }))
    }
}

fn fires(under: &str, odds: &Odds, hits: u64, path: &str, chance: &mut Stream) -> Option<()> {
    (path.starts_with(under) && hits < odds.limit && chance.ratio(odds.num, odds.den)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    #[test]
    fn a_fault_counts_what_it_did_and_keeps_the_count() {
        let mut faults = Faults::default();
        let mut chance = Seed(1).stream("disk", 0);
        let odds = Odds { num: 1, den: 1, limit: 2 };
        faults.inject(FaultId(4), DiskFault::ReadError { under: "/journal".into(), odds }, 0);
        assert!(!faults.read_fails("/data/x", &mut chance));
        let fired = (0..5).filter(|_| faults.read_fails("/journal/x", &mut chance)).count();
        assert_eq!((fired, faults.hits(FaultId(4))), (2, Some(2)));
        faults.clear(None);
        assert_eq!((faults.none(), faults.hits(FaultId(4)), faults.hits(FaultId(5))), (true, Some(2), None));
    }

    #[test]
    fn a_full_disk_gives_back_what_is_removed() {
        let mut faults = Faults::default();
        faults.inject(FaultId(0), DiskFault::Full { free: 10 }, 100);
        assert_eq!([100, 106, 110, 120, 90].map(|used| faults.free(used)), [10, 4, 0, 0, 20]);
        faults.refused();
        assert_eq!(faults.hits(FaultId(0)), Some(1));
    }
}
