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

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the scenario.
    pub scenario: String,
    /// Path of its file, as the user gave it.
    pub path: String,
    /// Seed.
    pub seed: Seed,
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

    /// The command that shows this run again.
    pub fn reproduce(&self) -> String {
        format!("stormglass run {} --seed {}", shell_word(&self.path), self.seed)
    }
}

/// Quotes a word for a POSIX shell where that is needed.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '+' | '@' | '%' | ',');
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted_for_the_shell() {
        for (word, want) in
            [("scenarios/a.yaml", "scenarios/a.yaml"), ("a b", "'a b'"), ("", "''"), ("it's", r"'it'\''s'")]
        {
            assert_eq!(shell_word(word), want);
        }
    }
}
