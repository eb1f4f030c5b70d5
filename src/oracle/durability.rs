//! S2: what was acknowledged is there after any failure that a correct system must survive.
//!
//! Independent of the search of S1: only paths whose last change is beyond doubt are looked up in the final scan, that is,
//! made by an acknowledged change after which nothing, acknowledged or unknown, may have removed or replaced them. S1
//! replays the whole scan besides; this oracle still answers where that search had to give up.

use super::facts::Facts;
use super::history::{Call, Operation};
use super::judge::Finding;
use super::record::RunRecord;
use super::violation::Violation;

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
    finding
}

fn lost(write: &Operation, path: &str, evidence: String) -> Violation {
    Violation::LostAckedWrite { write: Box::new(write.clone()), path: path.into(), evidence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::observation::FinalTree;
    use crate::oracle::testing::{History, at, file, seen};

    fn names(h: &History, entries: Vec<(&str, crate::oracle::Seen)>) -> Vec<&'static str> {
        let entries = entries.into_iter().map(|(path, seen)| (path.to_string(), seen)).collect();
        let final_tree = Some(FinalTree { at: at(1000), entries });
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
}
