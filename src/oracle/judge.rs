//! All oracles over one record, and the one word that follows.
//!
//! An oracle that found nothing to check says so in the report; for those that every run must feed, that makes the run
//! vacuous. Nothing here decides what is right: see the oracle's own file.

use serde::{Deserialize, Serialize};

use super::record::{Core, RunRecord};
use super::verdict::Verdict;
use super::violation::Violation;
use super::{
    agreement, bytes, converge, corruption, durability, evicted, identity, leadership, linearizable, liveness, meta,
    once, restore, rows, secrets,
};
use crate::base::SimTime;

/// What one oracle found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Broken promises.
    pub violations: Vec<Violation>,
    /// How many facts were held against the promise; 0 means that the oracle was idle.
    pub checks: u64,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

impl Finding {
    /// Both.
    fn and(mut self, other: Self) -> Self {
        self.violations.extend(other.violations);
        self.notes.extend(other.notes);
        Self { checks: self.checks + other.checks, ..self }
    }

    /// Counts one check; keeps the violation if it failed.
    pub fn check(&mut self, violation: Option<Violation>) {
        self.checks += 1;
        self.violations.extend(violation);
    }
}

/// One property and the function that checks it.
pub struct Oracle {
    /// The property's number.
    pub id: &'static str,
    /// The property in a few words.
    pub promise: &'static str,
    /// Whether every run on a healthy core must give it something to check.
    pub must_check: bool,
    /// Whether it compares what one cache said at different times: each life of a cache is judged by itself then.
    pub of_one_cache: bool,
    /// The check.
    pub check: fn(&RunRecord) -> Finding,
}

/// The oracles, in the order of the table above.
pub const ORACLES: &[Oracle] = &[
    oracle("S1", "metadata operations are linearizable", true, linearizable::check).of_one_cache(),
    oracle("S2", "what was acknowledged is there", false, durability::check).of_one_cache(),
    oracle("S3", "nothing is resurrected or applied twice", false, once::check).of_one_cache(),
    oracle("S4", "one leader acknowledges in a term", true, leadership::check).of_one_cache(),
    oracle("S5", "logs and states agree", false, agreement::check).of_one_cache(),
    oracle("S6", "what is restored is a prefix of the log", false, restore::check),
    oracle("S7", "a read gives the bytes of one legal version", false, bytes::check).of_one_cache(),
    oracle("S9", "what has no other copy is not evicted", false, evicted::check),
    oracle("S10", "corruption is never served", false, corruption::check),
    oracle("S11", "one pod one process, one writer a disk", false, identity::check),
    oracle("S12", "rows tell the truth in time", false, rows::check),
    oracle("S13", "secrets stay where they belong", false, secrets::check),
    oracle("L1", "a leader within the bound", false, liveness::leader),
    oracle("L2", "every operation ends", false, liveness::completion),
    oracle("L3", "everything converges", false, converge::check),
    oracle("L5", "no deadlock", false, liveness::deadlock),
    oracle("L6", "resources return to their baseline", false, converge::resources),
    oracle("M1", "the same seed gives the same trace", false, meta::determinism),
    oracle("M2", "every fault acts", false, meta::effects),
];

const fn oracle(id: &'static str, promise: &'static str, must_check: bool, check: fn(&RunRecord) -> Finding) -> Oracle {
    Oracle { id, promise, must_check, of_one_cache: false, check }
}

impl Oracle {
    const fn of_one_cache(self) -> Self {
        Self { of_one_cache: true, ..self }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OracleReport {
    /// The property's number, such as `S1`.
    pub id: String,
    /// The property in a few words.
    pub promise: String,
    /// Facts checked; 0 is reported as vacuous.
    pub checks: u64,
    /// Violations found.
    pub violations: u64,
}

/// The judgement over one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The one word.
    pub verdict: Verdict,
    /// Every broken promise, by oracle.
    pub violations: Vec<Violation>,
    /// What ran, and how much it checked.
    pub oracles: Vec<OracleReport>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

/// Holds the record against every promise.
pub fn judge(record: &RunRecord) -> Judgement {
    let mut judgement = Judgement { verdict: Verdict::Pass, violations: vec![], oracles: vec![], notes: vec![] };
    judgement.violations.extend(record.crashes.iter().map(|message| Violation::Crashed { message: message.clone() }));
    judgement
        .violations
        .extend(record.over_budget.iter().map(|what| Violation::BudgetExhausted { what: what.clone() }));
    let lives = lives(record);
    for oracle in ORACLES {
        let of_lives = lives.iter().filter(|_| oracle.of_one_cache).map(oracle.check).reduce(Finding::and);
        let finding = of_lives.unwrap_or_else(|| (oracle.check)(record));
        judgement.oracles.push(OracleReport {
            id: oracle.id.into(),
            promise: oracle.promise.into(),
            checks: finding.checks,
            violations: finding.violations.len() as u64,
        });
        if finding.checks == 0 && oracle.must_check && record.core == Core::Kept {
            let what = format!("{} ({}) had nothing to check", oracle.id, oracle.promise);
            judgement.violations.push(Violation::NothingChecked { what });
        }
        judgement.violations.extend(finding.violations);
        judgement.notes.extend(finding.notes.into_iter().map(|note| format!("{}: {note}", oracle.id)));
    }
    judgement.verdict = verdict(record, &judgement.violations);
    judgement
}

/// The record of each life, if there was more than one. What a later one began with is not known: it may have come from a
/// backup, so that its namespace is ordered, not replayed.
fn lives(record: &RunRecord) -> Vec<RunRecord> {
    if record.lives.is_empty() {
        return Vec::new();
    }
    let begins = [SimTime::ZERO].into_iter().chain(record.lives.iter().copied());
    let ends = record.lives.iter().copied().chain([SimTime::NEVER]);
    let life = |(number, (from, until)): (usize, (SimTime, SimTime))| {
        let within = |at: SimTime| (from..until).contains(&at);
        let last = number == record.lives.len();
        let mut one = RunRecord {
            final_tree: record.final_tree.clone().filter(|_| last),
            history: record.history.iter().filter(|op| within(op.invoked)).cloned().collect(),
            masters: record.masters.iter().filter(|seen| within(seen.at)).cloned().collect(),
            workers: record.workers.iter().filter(|seen| within(seen.at)).cloned().collect(),
            lives: Vec::new(),
            ..record.clone()
        };
        if number > 0 {
            one.setup.external = vec!["/".into()];
        }
        one
    };
    begins.zip(ends).enumerate().map(life).collect()
}

/// Which of several verdicts wins; see [`Verdict`].
fn verdict(record: &RunRecord, violations: &[Violation]) -> Verdict {
    // Beyond the budget a correct cluster refuses service, whether or not a majority came back later.
    let calm = match record.core {
        Core::Beyond(_) => Verdict::ExpectedUnavailability,
        Core::Kept => Verdict::Pass,
    };
    let found = Verdict::GRAVEST_FIRST.into_iter().find(|v| violations.iter().any(|x| x.verdict() == *v));
    let skipped = record.faults.iter().any(|fault| fault.skipped.is_some());
    match found.unwrap_or(calm) {
        // What a storm that was not let loose would have shown, nobody knows.
        Verdict::Pass | Verdict::Vacuous | Verdict::ExpectedUnavailability if skipped => Verdict::Skipped,
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::history::{Answer, Refusal};
    use crate::oracle::observation::{FaultEffect, Goal};
    use crate::oracle::testing::{History, at, outage, seen};

    fn good() -> RunRecord {
        let mut h = History::default();
        h.mkdir("/d").span(0, 1).acked_with(1, Answer::Info(seen("/d", 1, true)));
        h.create("/d/f").span(2, 3).acked_with(2, Answer::Info(seen("/d/f", 2, false)));
        RunRecord { history: h.ops, ended: at(100), ..RunRecord::default() }
    }

    #[test]
    fn a_good_run_passes_and_says_who_was_idle() {
        let judgement = judge(&good());
        assert_eq!((judgement.verdict, judgement.violations), (Verdict::Pass, vec![]));
        let idle: Vec<&str> = judgement.oracles.iter().filter(|o| o.checks == 0).map(|o| o.id.as_str()).collect();
        assert_eq!(
            idle,
            ["S2", "S5", "S6", "S7", "S9", "S10", "S11", "S12", "S13", "L1", "L2", "L3", "L6", "M1", "M2"]
        );
    }

    #[test]
    fn an_empty_run_is_vacuous() {
        let judgement = judge(&RunRecord::default());
        assert_eq!(judgement.verdict, Verdict::Vacuous);
        assert!(judgement.violations.iter().all(|found| found.name() == "NothingChecked"));
    }

    #[test]
    fn the_gravest_finding_names_the_run() {
        let mut lossy = good();
        let mut h = History { ops: lossy.history };
        h.stat("/d/f").span(4, 5).acked_with(3, Answer::Refused(Refusal::NotFound));
        lossy.history = h.ops;
        let crash = vec!["master-0 panicked".to_string()];
        let back = Core::Beyond(vec![outage(50, Some(60))]);
        let beyond = Core::Beyond(vec![outage(50, None)]);
        for (record, want) in [
            (RunRecord { crashes: crash.clone(), ..lossy }, Verdict::Safety),
            (RunRecord { crashes: crash, trace_hashes: vec![1, 2], ..good() }, Verdict::Crash),
            (RunRecord { trace_hashes: vec![1, 2], ..good() }, Verdict::Nondeterministic),
            (RunRecord { over_budget: Some("events".into()), deadlock: Some(vec![]), ..good() }, Verdict::OverBudget),
            (RunRecord { deadlock: Some(vec![]), ..good() }, Verdict::Liveness),
            (RunRecord { core: back, ..good() }, Verdict::ExpectedUnavailability),
            (RunRecord { core: beyond, ..good() }, Verdict::ExpectedUnavailability),
        ] {
            assert_eq!(judge(&record).verdict, want);
        }
    }

    #[test]
    fn a_cache_that_was_made_anew_owes_nothing_of_the_one_before() {
        let later = |index, again: bool| {
            let mut h = History { ops: good().history };
            h.stat("/d/f").span(5_000, 5_001).acked_with(index, Answer::Refused(Refusal::NotFound));
            h.mkdir("/e").span(5_002, 5_003).acked(index + 1);
            let lives = again.then(|| at(4_000)).into_iter().collect();
            judge(&RunRecord { history: h.ops, lives, ..good() }).violations
        };
        assert!(later(1, false).iter().any(|found| found.name() == "StaleRead"));
        assert_eq!(later(1, true), []);
        // Each life keeps its own order.
        let mut h = History { ops: good().history };
        h.mkdir("/e").span(5_000, 5_001).acked(2);
        h.stat("/e").span(5_002, 5_003).acked_with(1, Answer::Refused(Refusal::NotFound));
        let found = judge(&RunRecord { history: h.ops, lives: vec![at(4_000)], ..good() }).violations;
        assert!(found.iter().any(|found| found.name() == "StaleRead"), "{found:?}");
    }

    #[test]
    fn a_run_without_one_of_its_faults_is_skipped_unless_something_is_wrong() {
        let skipped = FaultEffect {
            fault: "partition".into(),
            at: at(1),
            counted: String::new(),
            effects: 0,
            skipped: Some("x cannot: partition".into()),
        };
        let goals = vec![Goal { name: "a new leader".into(), reached: 0 }];
        let faults = vec![skipped];
        for (record, want) in [
            (RunRecord { faults: faults.clone(), ..good() }, Verdict::Skipped),
            (RunRecord { faults: faults.clone(), goals, ..good() }, Verdict::Skipped),
            (RunRecord { faults: faults.clone(), deadlock: Some(vec![]), ..good() }, Verdict::Liveness),
            (RunRecord { faults, crashes: vec!["x".into()], ..good() }, Verdict::Crash),
        ] {
            assert_eq!(judge(&record).verdict, want);
        }
    }

    #[test]
    fn a_run_that_crashed_or_was_cut_short_says_so() {
        let names = |record| judge(&record).violations.iter().map(Violation::name).collect::<Vec<_>>();
        assert_eq!(names(RunRecord { crashes: vec!["boom".into()], ..good() }), ["Crashed"]);
        assert_eq!(names(RunRecord { over_budget: Some("events".into()), ..good() }), ["BudgetExhausted"]);
    }
}
