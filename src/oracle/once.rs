//! S3: nothing is resurrected or applied twice.
//!
//! Independent of the search of S1: paths whose removal is beyond doubt must be absent from the final scan, no inode stands
//! at two places, and no operation id is acknowledged with two indexes or two answers. S1 names an operation that met its
//! own effect ([`Violation::AppliedTwice`]). What an operation did the first time, while nobody heard of it, may look
//! like any other violation to S1: so the masters' journals are read too, as far as they were seen. An operation that
//! took effect must not be carried out again at a later index, whatever comes of it then.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::history::{Operation, Outcome};
use super::judge::Finding;
use super::observation::CarriedOut;
use super::record::RunRecord;
use super::violation::Violation;
use crate::stack::wire::{InodeId, OpId};

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let mut acked: BTreeMap<OpId, (&Operation, u64)> = BTreeMap::new();
    for op in record.history.iter().filter(|op| op.call.changes()) {
        let Outcome::Acked { index, .. } = &op.outcome else { continue };
        let first = acked.entry(op.op).or_insert((op, *index));
        finding.check((first.1 != *index).then(|| Violation::AppliedTwice {
            operation: Box::new(op.clone()),
            evidence: format!("the same operation id was acknowledged before, at index {}: {}", first.1, first.0),
        }));
    }
    carried_out_once(record, &mut finding);
    let Some(tree) = &record.final_tree else { return finding };
    for (path, removed_by) in Facts::new(record).removed() {
        let back = tree.entries.iter().find(|(at, _)| at == path);
        finding.check(back.map(|(path, seen)| Violation::ResurrectedEntry {
            path: path.clone(),
            seen: seen.to_string(),
            removed_by: Box::new(removed_by.clone()),
            evidence: "the final scan shows it, and nothing made it again".into(),
        }));
    }
    let mut places: BTreeMap<InodeId, &str> = BTreeMap::new();
    for (path, seen) in &tree.entries {
        let other = places.insert(seen.id, path);
        finding.check(other.and_then(|other| twice(record, other, path)));
    }
    finding
}

/// Looks at the operations that were sent more than once, or nobody knows how often.
fn carried_out_once(record: &RunRecord, finding: &mut Finding) {
    let sent = record.history.iter().filter(|op| op.call.changes() && op.attempts != 1);
    let sent: BTreeMap<OpId, &Operation> = sent.map(|op| (op.op, op)).collect();
    if sent.is_empty() {
        return;
    }
    // Each master tells of an entry, and tells again after a restart: by index, it is one.
    let mut times: BTreeMap<OpId, BTreeMap<u64, bool>> = BTreeMap::new();
    for entry in record.masters.iter().flat_map(|master| &master.log) {
        if let Some(CarriedOut { op, took_effect }) = entry.carried_out
            && sent.contains_key(&op)
        {
            times.entry(op).or_default().insert(entry.id.index, took_effect);
        }
    }
    for (op, times) in times {
        let first = times.iter().find(|(_, took_effect)| **took_effect).map(|(index, _)| *index);
        let again = first.and_then(|first| times.range(first + 1..).next().map(|(again, _)| (first, *again)));
        finding.check(again.map(|(first, again)| Violation::AppliedTwice {
            operation: Box::new(sent[&op].clone()),
            evidence: format!("it took effect at index {first} of the journal, and was carried out again at {again}"),
        }));
    }
}

/// One inode at two places: a rename or create took effect in part, or twice.
fn twice(record: &RunRecord, one: &str, two: &str) -> Option<Violation> {
    let about = |op: &&Operation| op.call.changes() && [one, two].contains(&op.call.path());
    let operation = record.history.iter().rev().find(about).or(record.history.last())?;
    Some(Violation::AppliedTwice {
        operation: Box::new(operation.clone()),
        evidence: format!("the final scan shows one inode at {one} and at {two}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::history::Seen;
    use crate::oracle::observation::{FinalTree, LogDigest, MasterObservation};
    use crate::oracle::testing::{History, at, entry, file, master};

    fn names(h: &History, entries: Vec<(&str, Seen)>) -> Vec<&'static str> {
        let entries = entries.into_iter().map(|(path, seen)| (path.to_string(), seen)).collect();
        let final_tree = Some(FinalTree { at: at(1000), entries, unreadable: vec![] });
        let record = RunRecord { history: h.ops.clone(), final_tree, ..RunRecord::default() };
        check(&record).violations.iter().map(Violation::name).collect()
    }

    #[test]
    fn a_removed_file_stays_away() {
        let mut h = History::default();
        h.create("/f").span(0, 1).acked(1);
        h.delete("/f").span(2, 3).acked(2);
        assert_eq!(names(&h, vec![]), [""; 0]);
        assert_eq!(names(&h, vec![("/f", file("/f", 7, 0))]), ["ResurrectedEntry"]);
    }

    #[test]
    fn a_removed_file_may_have_been_made_again() {
        for target in ["/f", "/f/deeper"] {
            let mut h = History::default();
            h.delete("/f").span(2, 3).acked(2);
            h.mkdir(target).span(0, 9);
            assert_eq!(names(&h, vec![("/f", file("/f", 7, 0))]), [""; 0], "{target}");
        }
        let mut h = History::default();
        h.delete("/f").span(2, 3).acked(2);
        h.rename("/x", "/f").span(4, 5).acked(3);
        assert_eq!(names(&h, vec![("/f", file("/f", 7, 0))]), [""; 0]);
    }

    #[test]
    fn an_inode_stands_at_one_place() {
        let mut h = History::default();
        h.rename("/a", "/b").span(0, 1);
        assert_eq!(names(&h, vec![("/a", file("/a", 7, 0)), ("/b", file("/b", 7, 0))]), ["AppliedTwice"]);
        assert_eq!(names(&h, vec![("/a", file("/a", 7, 0)), ("/b", file("/b", 8, 0))]), [""; 0]);
    }

    #[test]
    fn an_operation_that_took_effect_is_not_carried_out_again() {
        for (times, attempts, want) in [
            (&[(4, true)][..], 2, 0),
            (&[(4, true), (4, true)], 2, 0),
            (&[(4, false), (9, true)], 2, 0),
            (&[(4, true), (9, true)], 2, 1),
            (&[(4, true), (9, false)], 0, 1),
            (&[(9, false), (4, true)], 2, 1),
        ] {
            let mut h = History::default();
            h.create("/f").span(0, 1).attempts(attempts);
            let op = h.ops[0].op;
            let done = |&(index, took_effect)| LogDigest {
                carried_out: Some(CarriedOut { op, took_effect }),
                ..entry(1, index, index.into())
            };
            let other = LogDigest { carried_out: None, ..entry(1, 5, 5) };
            let logs = times
                .iter()
                .map(done)
                .chain([other])
                .map(|entry| MasterObservation { log: vec![entry], ..master(0, 0, 1) });
            let record = RunRecord { history: h.ops.clone(), masters: logs.collect(), ..RunRecord::default() };
            let found: Vec<_> = check(&record).violations.iter().map(Violation::name).collect();
            assert_eq!(found, vec!["AppliedTwice"; want], "{times:?}");
        }
    }

    #[test]
    fn an_operation_id_is_acknowledged_at_one_index() {
        let mut h = History::default();
        h.create("/f").span(0, 1).acked(1);
        h.create("/f").span(0, 1).acked(2);
        assert_eq!(names(&h, vec![]), [""; 0]);
        h.ops[1].op = h.ops[0].op;
        assert_eq!(names(&h, vec![]), ["AppliedTwice"]);
    }
}
