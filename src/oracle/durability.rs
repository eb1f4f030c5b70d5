//! S2: what was acknowledged is there after any failure that a correct system must survive.
//!
//! Independent of the search of S1: only paths whose last change is beyond doubt are looked up in the final scan, that is,
//! made by an acknowledged change after which nothing, acknowledged or unknown, may have removed or replaced them. S1
//! replays the whole scan besides; this oracle still answers where that search had to give up.
//!
//! Bytes too: a file whose completion was acknowledged can be read for as long as it exists. Clients write as Alluxio's
//! `MUST_CACHE` does: no under-store holds the bytes, and one worker holds the only copy. The worker acknowledged it once it
//! was durable on its disk, so crashes, power losses, full disks and failing calls are no excuse, nor is a majority that was
//! missing; a medium that destroyed the copy itself ([`Damage`]) is one, since nothing was promised beyond that disk.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::history::{Call, Operation};
use super::judge::Finding;
use super::observation::{Damage, FinalTree, Unreadable};
use super::record::RunRecord;
use super::violation::Violation;
use crate::stack::wire::InodeId;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let Some(tree) = &record.final_tree else { return finding };
    let facts = Facts::new(record);
    for (path, write) in facts.made() {
        let seen = tree.entries.iter().find(|(at, _)| at == path).map(|(_, seen)| seen);
        let evidence = match (seen, &write.call) {
            (None, _) => Some("the final scan does not show it".to_string()),
            (Some(seen), Call::Mkdir { .. }) if !seen.dir => Some(format!("the final scan shows a {seen}")),
            (Some(seen), Call::Create { .. }) if seen.dir => Some(format!("the final scan shows a {seen}")),
            (Some(seen), Call::Complete { length, .. }) if seen.dir || !seen.completed || seen.length != *length => {
                Some(format!("the final scan shows a {seen}"))
            }
            _ => None,
        };
        finding.check(evidence.map(|evidence| lost(write, path, evidence)));
    }
    bytes(record, tree, &mut finding);
    finding
}

/// Holds every acknowledged file of the scan against what could be read of it.
fn bytes(record: &RunRecord, tree: &FinalTree, finding: &mut Finding) {
    let damaged: BTreeSet<InodeId> = record.damage.iter().map(|Damage { block, .. }| block.file()).collect();
    let unreadable: BTreeMap<InodeId, &Unreadable> = tree.unreadable.iter().map(|file| (file.file, file)).collect();
    let there: BTreeSet<InodeId> = tree.entries.iter().map(|(_, seen)| seen.id).collect();
    for write in record.history.iter().filter(|op| op.acked_change()) {
        let Call::Complete { file, .. } = &write.call else { continue };
        if !there.contains(file) {
            continue;
        }
        match unreadable.get(file) {
            Some(lost) if damaged.contains(file) => {
                finding.notes.push(format!("{} is lost with the medium of its only copy", lost.path));
            }
            lost => finding.check(lost.map(|lost| Violation::LostAckedBytes {
                write: Box::new(write.clone()),
                path: lost.path.clone(),
                error: lost.error.clone(),
            })),
        }
    }
}

fn lost(write: &Operation, path: &str, evidence: String) -> Violation {
    Violation::LostAckedWrite { write: Box::new(write.clone()), path: path.into(), evidence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::record::Core;
    use crate::oracle::testing::{History, at, file, outage, seen};
    use crate::stack::wire::BlockId;

    fn names(h: &History, entries: Vec<(&str, crate::oracle::Seen)>) -> Vec<&'static str> {
        let entries = entries.into_iter().map(|(path, seen)| (path.to_string(), seen)).collect();
        let final_tree = Some(FinalTree { at: at(1000), entries, unreadable: vec![] });
        let record = RunRecord { history: h.ops.clone(), final_tree, ..RunRecord::default() };
        check(&record).violations.iter().map(Violation::name).collect()
    }

    #[test]
    fn an_acknowledged_file_must_be_there_whole() {
        let mut h = History::default();
        h.create("/f").span(0, 1).acked(1);
        h.complete("/f", 7, 10).span(2, 3).acked(2);
        assert_eq!(names(&h, vec![("/f", file("/f", 7, 10))]), [""; 0]);
        assert_eq!(names(&h, vec![("/f", file("/f", 7, 9))]), ["LostAckedWrite"]);
        assert_eq!(names(&h, vec![("/f", seen("/f", 7, false))]), ["LostAckedWrite"]);
        assert_eq!(names(&h, vec![]), ["LostAckedWrite"]);
    }

    #[test]
    fn what_may_have_been_removed_is_not_missed() {
        for above in [false, true] {
            let mut h = History::default();
            h.create("/d/f").span(0, 1).acked(1);
            h.delete(if above { "/d" } else { "/d/f" }).span(2, 3);
            assert_eq!(names(&h, vec![]), [""; 0], "the delete may have taken effect");
        }
        let mut h = History::default();
        h.create("/d/f").span(0, 1).acked(1);
        h.rename("/d", "/e").span(2, 3).acked(2);
        assert_eq!(names(&h, vec![]), ["LostAckedWrite"], "/e itself is missing");
    }

    #[test]
    fn an_unanswered_create_promises_nothing() {
        let mut h = History::default();
        h.create("/f").span(0, 1);
        assert_eq!(names(&h, vec![]), [""; 0]);
    }

    /// What is found if file 7, renamed since it was written, cannot be read in the end.
    fn unread(h: &History, damage: Vec<Damage>, core: Core) -> Vec<&'static str> {
        let unreadable = vec![Unreadable { path: "/g".into(), file: InodeId(7), error: "no location".into() }];
        let entries = vec![("/g".to_string(), file("/g", 7, 10)), ("/h".to_string(), file("/h", 8, 10))];
        let final_tree = Some(FinalTree { at: at(1000), entries, unreadable });
        let record = RunRecord { history: h.ops.clone(), final_tree, damage, core, ..RunRecord::default() };
        check(&record).violations.iter().map(Violation::name).collect()
    }

    #[test]
    fn the_bytes_of_an_acknowledged_file_stay_readable_wherever_it_is_and_whatever_was_missing() {
        let mut h = History::default();
        h.complete("/f", 7, 10).span(2, 3).acked(2);
        h.complete("/h", 8, 10).span(2, 3).acked(3);
        h.complete("/gone", 9, 10).span(2, 3).acked(4);
        let beyond = Core::Beyond(vec![outage(1, None)]);
        for core in [Core::Kept, beyond] {
            assert_eq!(unread(&h, vec![], core), ["LostAckedBytes"]);
        }
    }

    #[test]
    fn bytes_that_nobody_acknowledged_or_that_the_only_medium_destroyed_may_be_lost() {
        let mut h = History::default();
        h.complete("/f", 7, 10).span(2, 3);
        assert_eq!(unread(&h, vec![], Core::Kept), [""; 0], "the completion has no outcome");
        h.complete("/f", 7, 10).span(4, 5).acked(2);
        let damage = |file| Damage { worker: "w".into(), block: BlockId::new(InodeId(file), 0), at: at(9) };
        assert_eq!(unread(&h, vec![damage(7)], Core::Kept), [""; 0]);
        assert_eq!(unread(&h, vec![damage(8)], Core::Kept), ["LostAckedBytes"], "another file rotted");
    }
}
