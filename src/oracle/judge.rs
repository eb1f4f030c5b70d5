//! All oracles over one record, and the one word that follows.
//!
//! An oracle that found nothing to check says so in the report; for those that every run must feed, that makes the run
//! vacuous. Nothing here decides what is right: see the oracle's own file.

use serde::{Deserialize, Serialize};

use super::record::{Core, RunRecord};
use super::verdict::Verdict;
use super::violation::Violation;

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
    /// The check.
    pub check: fn(&RunRecord) -> Finding,
}

/// The oracles, in the order of the table above.
pub const ORACLES: &[Oracle] = &[];

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
    for oracle in ORACLES {
        let finding = (oracle.check)(record);
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

/// Which of several verdicts wins; see [`Verdict`].
fn verdict(record: &RunRecord, violations: &[Violation]) -> Verdict {
    const BY_WEIGHT: [Verdict; 6] = [
        Verdict::Safety,
        Verdict::Crash,
        Verdict::Nondeterministic,
        Verdict::OverBudget,
        Verdict::Liveness,
        Verdict::Vacuous,
    ];
    let calm = match record.core {
        Core::Beyond { until: None, .. } => Verdict::ExpectedUnavailability,
        _ => Verdict::Pass,
    };
    BY_WEIGHT.into_iter().find(|v| violations.iter().any(|x| x.verdict() == *v)).unwrap_or(calm)
}
