//! S3: nothing is resurrected or applied twice.
//!
//! Independent of the search of S1: paths whose removal is beyond doubt must be absent from the final scan, no inode stands
//! at two places, and no operation id is acknowledged with two indexes or two answers. S1 names an operation that met its
//! own effect ([`Violation::AppliedTwice`]).

use std::collections::BTreeMap;

use super::facts::Facts;
use super::history::{Operation, Outcome};
use super::judge::Finding;
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
    use crate::oracle::observation::FinalTree;
    use crate::oracle::testing::{History, at, file};

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
    fn an_operation_id_is_acknowledged_at_one_index() {
        let mut h = History::default();
        h.create("/f").span(0, 1).acked(1);
        h.create("/f").span(0, 1).acked(2);
        assert_eq!(names(&h, vec![]), [""; 0]);
        h.ops[1].op = h.ops[0].op;
        assert_eq!(names(&h, vec![]), ["AppliedTwice"]);
    }
}
