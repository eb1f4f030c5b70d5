//! L1, L2, L5: after the heal, on a healthy core, somebody leads, every operation ends, and nothing hangs.
//!
//! Bounds count from the heal, or from the end of a time beyond the fault budget if that is later. While faults are on, or
//! when no majority can ever come back, nothing is promised in time. What the run did not live to see is not held against
//! the system.

use super::history::{Operation, Outcome};
use super::judge::Finding;
use super::observation::Role;
use super::record::{Core, RunRecord};
use super::violation::Violation;
use crate::base::SimTime;

/// Since when the system has all it needs; none if to the end it has not.
pub(super) fn well_since(record: &RunRecord) -> Option<SimTime> {
    let healed = record.healed?;
    match &record.core {
        Core::Kept => Some(healed),
        Core::Beyond(outages) => outages.iter().try_fold(healed, |well, outage| Some(well.max(outage.until?))),
    }
}

/// L1: a leader within the bound. It shows by acknowledging a change, or by being seen to lead and to acknowledge.
pub fn leader(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let Some(since) = well_since(record) else { return finding };
    let bound = record.bounds.leader;
    let leads = record.masters.iter().filter(|m| m.role == Role::Leader && m.acks_writes).map(|m| m.at);
    let acks = record.history.iter().filter(|op| op.acked_change()).filter_map(Operation::returned);
    let first = leads.chain(acks).filter(|t| *t >= since).min();
    let waited = first.unwrap_or(record.ended).since(since);
    if first.is_none() && waited <= bound {
        finding.notes.push(format!("the run ended {waited:?} after the heal, before a leader was due"));
        return finding;
    }
    finding.check((waited > bound).then_some(Violation::NoLeader { since, waited, bound }));
    finding
}

/// L2: every operation ends within the bound, and if it fails, with a documented error.
pub fn completion(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let bound = record.bounds.operation;
    for op in &record.history {
        if let Outcome::Unknown { error, documented: false, .. } = &op.outcome {
            finding
                .check(Some(Violation::UndocumentedFailure { operation: Box::new(op.clone()), error: error.clone() }));
        }
        let Some(since) = well_since(record) else { continue };
        let waited = op.returned().unwrap_or(record.ended).since(op.invoked.max(since));
        if op.returned().is_none() && waited <= bound {
            continue;
        }
        finding.check((waited > bound).then(|| Violation::OperationStuck {
            operation: Box::new(op.clone()),
            waited,
            bound,
        }));
    }
    finding
}

/// L5: no deadlock, as the engine tells it.
pub fn deadlock(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    let pending = record.history.iter().filter(|op| op.outcome == Outcome::Pending).count();
    let stuck = record.deadlock.clone().map(|tasks| Violation::Deadlock { pending, tasks });
    finding.check(stuck);
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::observation::MasterObservation;
    use crate::oracle::testing::{History, at, master, outage};

    fn names(finding: Finding) -> Vec<&'static str> {
        finding.violations.iter().map(Violation::name).collect()
    }
    fn healed(ended: u64) -> RunRecord {
        RunRecord { healed: Some(at(10_000)), ended: at(ended), ..RunRecord::default() }
    }

    #[test]
    fn somebody_leads_within_the_bound() {
        let leads = |t| MasterObservation { role: Role::Leader, acks_writes: true, ..master(t, 1, 2) };
        for (seen, ended, want) in [
            (vec![leads(54_000)], 99_000, &[][..]),
            (vec![leads(56_000)], 99_000, &["NoLeader"]),
            (vec![leads(9_000)], 99_000, &["NoLeader"]),
            (vec![], 54_000, &[]),
            (vec![MasterObservation { acks_writes: false, ..leads(11_000) }], 99_000, &["NoLeader"]),
        ] {
            assert_eq!(names(leader(&RunRecord { masters: seen, ..healed(ended) })), want);
        }
        let mut h = History::default();
        h.mkdir("/a").span(9_000, 12_000).acked(4);
        assert_eq!(names(leader(&RunRecord { history: h.ops, ..healed(99_000) })), [""; 0]);
    }

    #[test]
    fn nothing_is_promised_without_a_majority() {
        let core = Core::Beyond(vec![outage(1, None), outage(5, Some(9))]);
        let mut h = History::default();
        h.mkdir("/a");
        let record = RunRecord { core, history: h.ops, ..healed(900_000) };
        assert_eq!(names(leader(&record)), [""; 0]);
        assert_eq!(names(completion(&record)), [""; 0]);
        assert_eq!(leader(&record).checks, 0);
    }

    #[test]
    fn bounds_count_from_the_end_of_the_last_outage() {
        let core = Core::Beyond(vec![outage(1, Some(50_000)), outage(60_000, Some(70_000))]);
        for (ended, want) in [(114_000, &[][..]), (116_000, &["NoLeader"])] {
            let record = RunRecord { core: core.clone(), ..healed(ended) };
            assert_eq!(names(leader(&record)), want, "{ended}");
        }
    }

    #[test]
    fn operations_end_in_time_with_a_documented_error() {
        for (span, want) in
            [(Some((0, 159_000)), &[][..]), (Some((0, 161_000)), &["OperationStuck"]), (None, &["OperationStuck"])]
        {
            let mut h = History::default();
            match span {
                Some((from, to)) => drop(h.mkdir("/a").span(from, to)),
                None => drop(h.mkdir("/a")),
            }
            assert_eq!(names(completion(&RunRecord { history: h.ops, ..healed(200_000) })), want);
        }
        let mut h = History::default();
        h.mkdir("/a").outcome(Outcome::Unknown { returned: at(1), error: "broken pipe".into(), documented: false });
        assert_eq!(names(completion(&RunRecord { history: h.ops, ..healed(200_000) })), ["UndocumentedFailure"]);
        let mut h = History::default();
        h.mkdir("/a");
        assert_eq!(names(completion(&RunRecord { history: h.ops, ..healed(20_000) })), [""; 0], "not due yet");
    }

    #[test]
    fn the_engine_reports_a_deadlock() {
        assert_eq!(names(deadlock(&RunRecord::default())), [""; 0]);
        let record =
            RunRecord { deadlock: Some(vec!["master-0 raft: waits for a lock".into()]), ..RunRecord::default() };
        assert_eq!(names(deadlock(&record)), ["Deadlock"]);
    }
}
