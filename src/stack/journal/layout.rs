//! Where entries are: the journal's state without its bytes.
//!
//! Rule: the same `apply` serves a commit and a recovery, so that what was live and what is rebuilt cannot differ. Indexes
//! are half open: `first..next` are there. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::record::{Record, Slot};

/// Where one entry's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) epoch: u64,
}

/// State of a journal after some of its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Lowest index that was not purged.
    pub(super) first: u64,
    /// Index of the next entry.
    pub(super) next: u64,
    /// Entries `next - places.len()..next`.
    places: VecDeque<Place>,
    pub(super) slots: BTreeMap<Slot, Vec<u8>>,
    /// Entries below are in segments that were not read.
    pub(super) have_from: u64,
    /// The segment that the last record sealed the journal towards.
    pub(super) sealed: Option<u64>,
}

impl Layout {
    /// Whether the records fit: the index that would have been right, if not.
    pub(super) fn check(&self, records: &[Record]) -> Result<(), (u64, u64)> {
        let (mut first, mut next) = (self.first, self.next);
        for record in records {
            match *record {
                // A log that never held anything may begin anywhere.
                Record::Entry { index, .. } if index == next || next == 0 => {
                    first = if next == 0 { index } else { first };
                    next = index.saturating_add(1);
                }
                Record::Entry { index, .. } => return Err((next, index)),
                Record::Truncate { from } => next = next.min(from).max(first),
                Record::Purge { below } => (first, next) = (first.max(below), next.max(below)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes over the records of one frame, whose body begins at `base` of `segment`.
    pub(super) fn apply(&mut self, segment: u64, base: u64, body: &[u8], records: &[Record]) {
        for record in records {
            match record {
                Record::Entry { index, epoch, at } => self.append(*index, place(segment, base, at, *epoch)),
                Record::Truncate { from } => self.truncate(*from),
                Record::Purge { below } => self.purge(*below),
                Record::Put { slot, value } => {
                    let kept = self.slots.entry(*slot).or_default();
                    kept.clear();
                    kept.extend_from_slice(&body[value.clone()]);
                }
                Record::Start { .. } => self.sealed = None,
                Record::Seal { next } => self.sealed = Some(*next),
            }
        }
        self.verify();
    }

    /// The state that a segment's first record tells, for the oldest segment that is read.
    pub(super) fn starting(first: u64, next: u64) -> Self {
        Self { first, next, have_from: next, ..Self::default() }
    }

    fn append(&mut self, index: u64, place: Place) {
        if self.first == self.next {
            (self.first, self.have_from) = (index, index);
        }
        self.places.push_back(place);
        self.next = index.saturating_add(1);
    }

    fn truncate(&mut self, from: u64) {
        let next = self.next.min(from).max(self.first);
        let gone = usize::try_from(self.next - next).unwrap_or(usize::MAX);
        self.places.truncate(self.places.len().saturating_sub(gone));
        self.next = next;
        self.have_from = self.have_from.min(next);
    }

    fn purge(&mut self, below: u64) {
        self.first = self.first.max(below);
        self.next = self.next.max(self.first);
        while self.places.len() as u64 > self.next - self.first {
            self.places.pop_front();
        }
    }

    /// Where the entries of `range` are, from the first one that is there.
    pub(super) fn find(&self, range: Range<u64>) -> (u64, Vec<Place>) {
        let have = self.next - self.places.len() as u64;
        let start = range.start.clamp(have, self.next);
        let end = range.end.clamp(start, self.next);
        let places = self.places.range((start - have) as usize..(end - have) as usize);
        (start, places.copied().collect())
    }

    /// The oldest segment that still holds an entry.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.places.front().map(|place| place.segment)
    }

    /// Epoch of the last entry.
    pub(super) fn last_epoch(&self) -> Option<u64> {
        self.places.back().map(|place| place.epoch)
    }

    fn verify(&self) {
        debug_assert!(self.first <= self.next, "{} {}", self.first, self.next);
        debug_assert!(self.places.len() as u64 <= self.next - self.first, "more entries than indexes");
        debug_assert!(self.places.iter().is_sorted_by_key(|place| (place.segment, place.offset)), "out of order");
    }
}

fn place(segment: u64, base: u64, at: &Range<usize>, epoch: u64) -> Place {
    Place { segment, offset: base + at.start as u64, len: at.len() as u32, epoch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::journal::record::Batch;

    fn apply(layout: &mut Layout, segment: u64, f: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        f(&mut batch);
        assert_eq!(layout.check(batch.records()), Ok(()));
        layout.apply(segment, 100, batch.body(), batch.records());
    }

    #[test]
    fn indexes_follow_each_other_and_an_empty_log_begins_anywhere() {
        let mut layout = Layout::default();
        apply(&mut layout, 1, |b| {
            b.append(7, 1, b"a");
            b.append(8, 1, b"b");
        });
        assert_eq!((layout.first, layout.next), (7, 9));
        let mut gap = Batch::new();
        gap.append(10, 1, b"");
        assert_eq!(layout.check(gap.records()), Err((9, 10)));
        apply(&mut layout, 2, |b| {
            b.truncate(8);
            b.append(8, 2, b"c");
        });
        assert_eq!((layout.first, layout.next, layout.last_epoch()), (7, 9, Some(2)));
        assert_eq!(layout.find(0..100).1.iter().map(|p| p.segment).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_purge_beyond_the_end_moves_the_log() {
        let mut layout = Layout::default();
        apply(&mut layout, 1, |b| {
            b.append(0, 1, b"a");
            b.purge(21);
            b.append(21, 3, b"b");
        });
        assert_eq!((layout.first, layout.next, layout.find(0..100).0), (21, 22, 21));
        assert_eq!(layout.find(40..50), (22, vec![]));
    }
}
