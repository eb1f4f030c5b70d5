//! S7: a read returns the bytes of one legal version; never zeros for what was not loaded, never a mixture; staleness within
//! the bound.
//!
//! Bytes are a pure function of (key, version, offset), so the harness compares them and this oracle judges which content
//! was legal: for a file that a client wrote, what was completed under its inode; for an under-store's file, every version
//! that was current between the opening, less the staleness bound, and the end of the read. Failed reads promise nothing.

use std::collections::BTreeMap;

use super::history::{Answer, BytesSeen, Call, Content, Operation, Outcome};
use super::judge::Finding;
use super::model::within;
use super::record::RunRecord;
use super::violation::Violation;
use crate::base::SimTime;
use crate::stack::wire::InodeId;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let mut written: BTreeMap<InodeId, Vec<&Content>> = BTreeMap::new();
    for op in &record.history {
        if let Call::Complete { file, content, .. } = &op.call {
            written.entry(*file).or_default().push(content);
        }
    }
    let births = births(&record.history);
    for op in &record.history {
        let (Call::Read { path, file, opened, .. }, Some(Answer::Bytes(bytes)), Some(returned)) =
            (&op.call, op.answer(), op.returned())
        else {
            continue;
        };
        match bytes {
            BytesSeen::Failed(_) => {}
            BytesSeen::Mismatch { offset, expected, got, zeros, worker } => {
                finding.check(Some(Violation::WrongBytes {
                    read: Box::new(op.clone()),
                    offset: *offset,
                    expected: expected.clone(),
                    got: got.clone(),
                    zeros: *zeros,
                    worker: worker.clone(),
                }))
            }
            BytesSeen::Matches(content) => {
                let legal = match written.get(file) {
                    Some(contents) => contents.iter().map(|c| (*c).clone()).collect(),
                    None => current(record, path, *opened, returned),
                };
                if legal.is_empty() && !record.under_store.iter().any(|v| v.path == *path) {
                    continue;
                }
                let wrong = (!legal.contains(content)).then(|| Violation::WrongVersion {
                    read: Box::new(op.clone()),
                    got: content.clone(),
                    legal,
                });
                finding.check(wrong);
                finding.check(stale(record, op, births.get(file).copied(), *opened));
            }
        }
    }
    finding
}

/// Versions of an under-store's file that a read between these times may give.
fn current(record: &RunRecord, path: &str, opened: SimTime, returned: SimTime) -> Vec<Content> {
    let mut versions: Vec<_> = record.under_store.iter().filter(|v| v.path == path).collect();
    versions.sort_by_key(|v| v.from);
    let ends = versions.iter().skip(1).map(|v| v.from).chain([SimTime::NEVER]);
    let legal = |from: SimTime, until: SimTime| from <= returned && opened < until + record.bounds.staleness;
    versions.iter().zip(ends).filter(|(v, until)| legal(v.from, *until)).map(|(v, _)| v.content.clone()).collect()
}

/// Where and at which index each inode was made, where an answer tells.
fn births(history: &[Operation]) -> BTreeMap<InodeId, (&str, u64)> {
    history
        .iter()
        .filter_map(|op| match (&op.call, &op.outcome) {
            (Call::Create { path }, Outcome::Acked { index, answer: Answer::Info(seen), .. }) => {
                Some((seen.id, (path.as_str(), *index)))
            }
            _ => None,
        })
        .collect()
}

/// A file whose removal was acknowledged longer ago than the bound when it was opened.
fn stale(record: &RunRecord, read: &Operation, birth: Option<(&str, u64)>, opened: SimTime) -> Option<Violation> {
    let (path, made) = birth?;
    // A renamed file may live on elsewhere.
    let renamed = |op: &Operation| matches!(&op.call, Call::Rename { from, .. } if within(path, from));
    if record.history.iter().any(renamed) {
        return None;
    }
    record.history.iter().find_map(|op| match (&op.call, &op.outcome) {
        (Call::Delete { path: removed, .. }, Outcome::Acked { returned, index, .. })
            if op.acked_change()
                && within(path, removed)
                && *index > made
                && *returned + record.bounds.staleness < opened =>
        {
            Some(Violation::StaleRead {
                read: Box::new(read.clone()),
                missed: Box::new(op.clone()),
                late: opened.since(*returned),
            })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::observation::UfsVersion;
    use crate::oracle::testing::{History, at, seen};

    fn content(key: &str, version: u64) -> Content {
        Content { key: key.into(), version }
    }
    fn matches(key: &str, version: u64) -> Answer {
        Answer::Bytes(BytesSeen::Matches(content(key, version)))
    }
    fn names(record: &RunRecord) -> Vec<&'static str> {
        check(record).violations.iter().map(Violation::name).collect()
    }

    #[test]
    fn a_written_file_has_the_bytes_of_its_completion() {
        for (key, version, want) in [("/f", 1, &[][..]), ("/f", 2, &["WrongVersion"]), ("/g", 1, &["WrongVersion"])] {
            let mut h = History::default();
            h.complete("/f", 7, 10).span(0, 1).acked(2);
            h.read("/moved", 7).span(2, 3).acked_with(0, matches(key, version));
            assert_eq!(names(&RunRecord { history: h.ops, ..RunRecord::default() }), want);
        }
    }

    #[test]
    fn wrong_bytes_are_wrong_and_failed_reads_are_not() {
        let wrong = BytesSeen::Mismatch { offset: 3, expected: vec![1], got: vec![0], zeros: true, worker: None };
        for (bytes, want) in [(wrong, &["WrongBytes"][..]), (BytesSeen::Failed("no worker".into()), &[])] {
            let mut h = History::default();
            h.read("/f", 7).span(2, 3).acked_with(0, Answer::Bytes(bytes));
            assert_eq!(names(&RunRecord { history: h.ops, ..RunRecord::default() }), want);
        }
    }

    #[test]
    fn an_under_store_version_is_legal_while_current_and_for_the_bound_after() {
        let version = |version, from| UfsVersion { path: "/u".into(), content: content("/u", version), from: at(from) };
        for (opened, got, want) in [
            (500, 1, &[][..]),
            (500, 2, &["WrongVersion"]),
            (10_999, 1, &[]),
            (11_001, 1, &["WrongVersion"]),
            (11_001, 2, &[]),
        ] {
            let mut h = History::default();
            h.read("/u", 9).span(opened, opened + 5).acked_with(0, matches("/u", got));
            let under_store = vec![version(1, 0), version(2, 1_000)];
            let record = RunRecord { history: h.ops, under_store, ..RunRecord::default() };
            assert_eq!(names(&record), want, "version {got} opened at {opened} ms");
        }
    }

    #[test]
    fn a_removed_file_is_read_only_within_the_bound() {
        for (opened, want) in [(9_000, &[][..]), (12_000, &["StaleRead"])] {
            let mut h = History::default();
            h.create("/f").span(0, 1).acked_with(1, Answer::Info(seen("/f", 7, false)));
            h.complete("/f", 7, 10).span(0, 1).acked(2);
            h.delete("/f").span(2, 3).acked(3);
            h.read("/f", 7).span(opened, opened + 1).acked_with(0, matches("/f", 1));
            assert_eq!(names(&RunRecord { history: h.ops, ..RunRecord::default() }), want);
        }
    }
}
