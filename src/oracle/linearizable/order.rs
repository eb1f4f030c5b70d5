//! The order that the journal gives: every answer carries the index that it reflects.
//!
//! Order: by index; at one index the change that made it before everything that only reflects it, those by invocation.
//! Two facts follow without any model: the order must not contradict real time (Herlihy and Wing, 1990), and an index belongs
//! to one change.

use crate::base::SimTime;
use crate::oracle::history::{Answer, Call, Operation, Outcome};
use crate::oracle::model::within;
use crate::oracle::record::Setup;
use crate::oracle::violation::Violation;

/// Violations reported in full per kind; a broken order breaks for hundreds of pairs at once.
const REPORTED_MAX: usize = 5;

/// One operation with an index.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The operation.
    pub op: &'a Operation,
    /// Its place in the history, which names it in the model.
    pub ordinal: u32,
    /// Journal index.
    pub index: u64,
    /// At one index, what comes first: 0 for the change that made it.
    rank: u8,
    /// When it was asked.
    pub invoked: SimTime,
    /// When its answer was there.
    pub returned: SimTime,
    /// What it was.
    pub answer: &'a Answer,
}

impl Placed<'_> {
    /// Whether it owns its index. Refusals and a `mkdir -r` that found everything in place may reflect another's.
    fn owns_index(&self) -> bool {
        self.rank == 0
    }
}

fn rank(op: &Operation) -> u8 {
    match op.call {
        Call::Mkdir { recursive: true, .. } if op.acked_change() => 1,
        _ if op.acked_change() => 0,
        _ => 2,
    }
}

/// The history, sorted out.
#[derive(Debug, Default)]
pub struct Sorted<'a> {
    /// Operations with an index, in the journal's order.
    pub placed: Vec<Placed<'a>>,
    /// Changes that may have taken effect somewhere: unknown and pending ones, and any acknowledged without an index.
    pub floating: Vec<(u32, &'a Operation)>,
    /// Answers without an index that were left out.
    pub unplaced: u64,
}

/// Sorts the history. Reads of bytes belong to other oracles.
pub fn sort<'a>(history: impl IntoIterator<Item = &'a Operation>) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for (ordinal, op) in history.into_iter().enumerate() {
        let ordinal = ordinal as u32;
        match &op.outcome {
            _ if matches!(op.call, Call::Read { .. }) => {}
            Outcome::Acked { returned, index, answer, .. } if *index > 0 => {
                let (index, rank, invoked, returned) = (*index, rank(op), op.invoked, *returned);
                sorted.placed.push(Placed { op, ordinal, index, rank, invoked, returned, answer });
            }
            Outcome::Acked { .. } => {
                sorted.unplaced += 1;
                if op.acked_change() {
                    sorted.floating.push((ordinal, op));
                }
            }
            Outcome::Pending | Outcome::Unknown { .. } if op.call.changes() => sorted.floating.push((ordinal, op)),
            Outcome::Pending | Outcome::Unknown { .. } => {}
        }
    }
    sorted.placed.sort_by_key(|p| (p.index, p.rank, p.invoked, p.ordinal));
    sorted
}

/// Holds the journal's order against real time.
pub fn against_time(placed: &[Placed<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut latest: Option<&Placed<'_>> = None;
    for group in placed.chunk_by(|a, b| a.index == b.index) {
        // Within one index only the change that made it comes before the others.
        let owner = group.first().filter(|p| p.owns_index());
        let before = [latest, owner].into_iter().flatten().max_by_key(|p| p.invoked);
        for p in group {
            // `early` comes first in the journal but was invoked after `p` had returned.
            if let Some(early) = before.filter(|early| p.returned < early.invoked)
                && found.len() < REPORTED_MAX
            {
                found.push(reversed(p, early));
            }
        }
        latest = latest.into_iter().chain(group).max_by_key(|p| p.invoked);
    }
    found
}

/// `first` had returned before `second` was invoked; the journal says otherwise.
fn reversed(first: &Placed<'_>, second: &Placed<'_>) -> Violation {
    if second.owns_index() {
        return Violation::OrderReversed { earlier: Box::new(first.op.clone()), later: Box::new(second.op.clone()) };
    }
    Violation::StaleRead {
        read: Box::new(second.op.clone()),
        missed: Box::new(first.op.clone()),
        late: second.invoked.since(first.returned),
    }
}

/// Finds changes that share an index.
pub fn shared_indexes(placed: &[Placed<'_>]) -> Vec<Violation> {
    let owners: Vec<&Placed<'_>> = placed.iter().filter(|p| p.owns_index()).collect();
    owners
        .windows(2)
        .filter(|pair| pair[0].index == pair[1].index && pair[0].op.op != pair[1].op.op)
        .take(REPORTED_MAX)
        .map(|pair| Violation::TwoChangesOneIndex {
            index: pair[0].index,
            first: Box::new(pair[0].op.clone()),
            second: Box::new(pair[1].op.clone()),
        })
        .collect()
}

/// Whether an operation touches what may come from an under-store, so that the model cannot replay it.
pub fn external(call: &Call, setup: &Setup) -> bool {
    let inside = |path: &str| setup.external.iter().any(|mount| within(path, mount));
    inside(call.path()) || matches!(call, Call::Rename { to, .. } if inside(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::testing::{History, acked, at};

    fn against(history: &[Operation]) -> Vec<Violation> {
        against_time(&sort(history).placed)
    }

    #[test]
    fn overlapping_operations_may_come_in_either_order() {
        let mut h = History::default();
        h.mkdir("/a").span(0, 10).acked(6);
        h.mkdir("/b").span(5, 9).acked(5);
        assert_eq!(against(&h.ops), vec![]);
    }

    #[test]
    fn a_change_before_its_time_is_reversed() {
        let mut h = History::default();
        h.mkdir("/a").span(0, 4).acked(6);
        h.mkdir("/b").span(5, 9).acked(5);
        assert!(matches!(&against(&h.ops)[..], [Violation::OrderReversed { earlier, later }]
            if earlier.call.path() == "/a" && later.call.path() == "/b"));
    }

    #[test]
    fn a_read_that_reflects_an_older_index_is_stale() {
        let mut h = History::default();
        h.mkdir("/a").span(0, 4).acked(6);
        h.stat("/b").span(5, 9).acked_with(5, Answer::Refused(crate::oracle::Refusal::NotFound));
        assert!(matches!(&against(&h.ops)[..], [Violation::StaleRead { missed, .. }] if missed.call.path() == "/a"));
    }

    #[test]
    fn reads_of_one_index_are_free_among_themselves_but_not_before_its_change() {
        let none = || Answer::Refused(crate::oracle::Refusal::NotFound);
        let mut h = History::default();
        h.stat("/x").span(5, 6).acked_with(5, none());
        h.stat("/y").span(0, 1).acked_with(5, none());
        assert_eq!(against(&h.ops), vec![]);
        h.mkdir("/a").span(3, 4).acked(5);
        assert_eq!(against(&h.ops).len(), 1, "the second read returned before the change it reflects was invoked");
    }

    #[test]
    fn touching_in_time_is_no_order() {
        let mut h = History::default();
        h.mkdir("/a").span(0, 5).acked(6);
        h.mkdir("/b").span(5, 9).acked(5);
        assert_eq!(against(&h.ops), vec![]);
    }

    #[test]
    fn one_index_belongs_to_one_change() {
        let mut h = History::default();
        h.mkdir("/a").span(0, 4).acked(6);
        h.create("/b").span(0, 4).acked(6);
        assert!(matches!(shared_indexes(&sort(&h.ops).placed)[..], [Violation::TwoChangesOneIndex { index: 6, .. }]));
        let mut h = History::default();
        h.mkdir("/a").span(0, 4).acked(6);
        h.mkdir("/a").span(0, 4).outcome(acked(at(4), 6, Answer::Refused(crate::oracle::Refusal::AlreadyExists)));
        assert_eq!(shared_indexes(&sort(&h.ops).placed), vec![], "a refusal may reflect another's index");
    }
}
