//! What one run left behind, as data: everything that reports, snapshots and sweeps are made of.
//!
//! It survives a trip through JSON, which is how a child process hands it to its parent. Nothing in it depends on the
//! machine that ran it: same scenario and same seed, same outcome, byte for byte.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::scenario::{ExpectedVerdict, Scenario};
use crate::base::{Seed, SimTime};
use crate::oracle::{FaultEffect, OracleReport, Verdict, Violation};
use crate::trace::Digest;
use crate::world::engine::EngineKind;

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the scenario.
    pub scenario: String,
    /// Path of its file, as the user gave it.
    pub path: String,
    /// Seed.
    pub seed: Seed,
    /// What the world ran on.
    #[serde(default)]
    pub engine: EngineKind,
    /// How it ended.
    pub verdict: Verdict,
    /// How the scenario says it must end.
    pub expected: ExpectedVerdict,
    /// What was found, the first broken promise first.
    pub violations: Vec<Violation>,
    /// What each oracle checked.
    pub oracles: Vec<OracleReport>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
    /// Phases that were reached, in order.
    pub phases: Vec<PhaseTime>,
    /// Changes of leader that faults caused.
    pub failovers: Vec<Failover>,
    /// Screens of `run` steps, in order.
    pub screens: Vec<Screen>,
    /// What became of each fault.
    pub faults: Vec<FaultEffect>,
    /// Named counts, such as `operations.acked` or `blocks.read`.
    pub counters: BTreeMap<String, u64>,
    /// The cluster at the end.
    pub tables: Vec<Table>,
    /// Ambient chance and clocks that some library asked for.
    pub escapes: Escapes,
    /// Events of the trace.
    pub events: u64,
    /// Simulated time at the end.
    pub ended: SimTime,
    /// Hash of names, kinds and lengths in the final tree; none if there was no final scan.
    #[serde(default)]
    pub final_state: Option<Digest>,
    /// Hash of the whole trace.
    pub trace_hash: Digest,
}

/// The phases of a run, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The cluster forms.
    Boot,
    /// The story: load and faults.
    Safety,
    /// All faults are removed, stopped hosts are started.
    Heal,
    /// The cluster comes back together.
    Converge,
    /// It serves again.
    Serve,
    /// The load ends, and everything is looked at once more.
    Settle,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Boot => "boot",
            Self::Safety => "safety",
            Self::Heal => "heal",
            Self::Converge => "converge",
            Self::Serve => "serve",
            Self::Settle => "settle",
        })
    }
}

/// When a phase began and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// Its begin.
    pub from: SimTime,
    /// Its end.
    pub until: SimTime,
}

/// One change of leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// The fault that took the leader away, in the scenario's words.
    pub fault: String,
    /// Who led.
    pub old_leader: String,
    /// When the fault hit.
    pub killed_at: SimTime,
    /// Who leads; none if nobody does to the end of the run.
    pub new_leader: Option<String>,
    /// When the new leader was elected.
    pub new_leader_at: Option<SimTime>,
    /// When a client's change was acknowledged again.
    pub serving_at: Option<SimTime>,
}

/// The screen of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screen {
    /// Name of the step, or the command.
    pub name: String,
    /// What was typed.
    pub command: String,
    /// Host on which it was typed.
    pub host: String,
    /// When it was typed.
    pub at: SimTime,
    /// How long it took.
    pub took: std::time::Duration,
    /// Exit status.
    pub status: u8,
    /// What it printed.
    pub text: String,
}

/// A small table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

/// Ambient chance and clocks that some library asked for and that the world answered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escapes {
    /// Calls of `getrandom`.
    pub getrandom: u64,
    /// Calls of `clock_gettime`.
    pub clock: u64,
}

impl Outcome {
    /// An outcome in which nothing has happened yet.
    pub fn new(scenario: &Scenario, seed: Seed) -> Self {
        Self {
            scenario: scenario.spec.name.clone(),
            path: scenario.path.clone(),
            seed,
            engine: EngineKind::default(),
            verdict: Verdict::Vacuous,
            expected: scenario.spec.verdict.clone(),
            violations: Vec::new(),
            oracles: Vec::new(),
            notes: Vec::new(),
            phases: Vec::new(),
            failovers: Vec::new(),
            screens: Vec::new(),
            faults: Vec::new(),
            counters: BTreeMap::new(),
            tables: Vec::new(),
            escapes: Escapes::default(),
            events: 0,
            ended: SimTime::ZERO,
            final_state: None,
            trace_hash: Digest::default(),
        }
    }

    /// Whether it ended as the scenario says it must.
    pub fn as_declared(&self) -> bool {
        match &self.expected {
            ExpectedVerdict::Pass => self.verdict == Verdict::Pass,
            ExpectedVerdict::Unavailable => self.verdict == Verdict::ExpectedUnavailability,
            ExpectedVerdict::Violation(names) => {
                self.violations.iter().any(|found| names.iter().any(|name| name == found.name()))
            }
        }
    }

    /// The command that shows this run again; `program` is how this program was called.
    pub fn reproduce(&self, program: &str) -> String {
        let engine = match self.engine {
            EngineKind::Glass => String::new(),
            other => format!(" --engine {other}"),
        };
        format!("{} run {} --seed {}{engine}", shell_word(program), shell_word(&self.path), self.seed)
    }
}

/// Quotes a word for a POSIX shell where that is needed.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '+' | '@' | '%' | ',');
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run as one could have ended, for tests of reports.
    pub(crate) fn sample() -> Outcome {
        let phase =
            |phase, from, until| PhaseTime { phase, from: SimTime::from_secs(from), until: SimTime::from_secs(until) };
        Outcome {
            scenario: "story".into(),
            path: "a b/story.yaml".into(),
            seed: Seed(7),
            engine: EngineKind::Glass,
            verdict: Verdict::Pass,
            expected: ExpectedVerdict::Pass,
            violations: Vec::new(),
            oracles: vec![OracleReport {
                id: "S1".into(),
                promise: "linearizable".into(),
                checks: 1200,
                violations: 0,
            }],
            notes: vec!["a note".into()],
            phases: vec![phase(Phase::Boot, 0, 12), phase(Phase::Safety, 12, 90)],
            failovers: vec![Failover {
                fault: "kill leader".into(),
                old_leader: "hbase-master-0".into(),
                killed_at: SimTime::from_secs(32),
                new_leader: Some("hbase-master-2".into()),
                new_leader_at: Some(SimTime::from_millis(45_500)),
                serving_at: Some(SimTime::from_millis(46_750)),
            }],
            screens: vec![Screen {
                name: "before".into(),
                command: "goosefs fs masterInfo".into(),
                host: "hbase-master-0".into(),
                at: SimTime::from_secs(31),
                took: std::time::Duration::from_millis(3),
                status: 0,
                text: "current leader master: hbase-master-0:26000\nAll masters: [hbase-master-0:26000]\n".into(),
            }],
            faults: vec![FaultEffect {
                fault: "kill leader".into(),
                at: SimTime::from_secs(32),
                counted: "processes killed".into(),
                effects: 1,
                skipped: None,
            }],
            counters: BTreeMap::from([("operations.acked".into(), 321)]),
            tables: vec![Table {
                title: "hosts".into(),
                columns: vec!["NAME".into(), "ROLE".into()],
                rows: vec![vec!["hbase-master-2".into(), "leader".into()]],
            }],
            escapes: Escapes { getrandom: 2, clock: 0 },
            events: 123_456,
            ended: SimTime::from_secs(130),
            final_state: Some(Digest(41)),
            trace_hash: Digest(42),
        }
    }

    #[test]
    fn an_outcome_survives_json() {
        let json = serde_json::to_string(&sample()).expect("JSON");
        let again: Outcome = serde_json::from_str(&json).expect("JSON");
        assert_eq!(serde_json::to_string(&again).expect("JSON"), json);
    }

    #[test]
    fn a_declared_violation_must_be_among_those_found() {
        let expected = ExpectedVerdict::Violation(vec!["StaleRead".into(), "Crashed".into()]);
        let mut outcome = Outcome { expected, verdict: Verdict::Crash, ..sample() };
        assert!(!outcome.as_declared());
        outcome.violations.push(Violation::Crashed { message: "x".into() });
        assert!(outcome.as_declared());
    }

    #[test]
    fn odd_paths_are_quoted_for_the_shell() {
        for (word, want) in
            [("scenarios/a.yaml", "scenarios/a.yaml"), ("a b", "'a b'"), ("", "''"), ("it's", r"'it'\''s'")]
        {
            assert_eq!(shell_word(word), want);
        }
    }
}
