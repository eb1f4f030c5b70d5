//! One run: a scenario, its cluster, faults, workload, phases and outcome.

pub mod scenario;

pub mod workload;

pub mod outcome;

pub mod progress;

use std::io::Write;

use crate::base::Seed;
use outcome::Outcome;
use progress::Progress;
use scenario::Scenario;

/// How to run a scenario.
#[derive(Default)]
pub struct Options {
    /// From which everything random follows.
    pub seed: Seed,
    /// Where the whole trace goes, one event per line.
    pub trace: Option<Box<dyn Write>>,
}

/// Runs a scenario once in this process. Another run may follow, but statics of libraries are warm by then: repeatable
/// runs are the first of their process.
pub fn run(scenario: &Scenario, options: Options, progress: &mut dyn Progress) -> Outcome {
    let _ = progress;
    let mut outcome = Outcome::new(scenario, options.seed);
    outcome.violations.push(crate::oracle::Violation::NothingChecked { what: "no cluster was formed".into() });
    outcome
}
