//! Runs in child processes: one process per run, so that panics, leaks and statics stay with their run.
//!
//! The protocol is `stormglass run SCENARIO --seed N --format json --quiet`: one outcome as one line of JSON on standard
//! output. A child that ends without one has crashed.

use std::path::Path;
use std::time::Duration;

use super::os::{self, Ended, Surroundings};
use crate::base::Seed;
use crate::oracle::{Verdict, Violation};
use crate::sim::outcome::Outcome;
use crate::sim::scenario::Scenario;

/// Lines of a dead child's standard error that are kept.
const LAST_WORDS: usize = 12;

/// Runs one seed of a scenario in a child process.
pub fn run(scenario: &Scenario, seed: Seed, trace: Option<&Path>, around: &Surroundings, limit: Duration) -> Outcome {
    let path = if around.dir.is_some() { os::absolute(&scenario.path) } else { scenario.path.clone() };
    let mut args: Vec<String> =
        ["run", &path, "--seed", &seed.to_string(), "--format", "json", "--quiet"].map(ToString::to_string).into();
    if let Some(trace) = trace {
        args.extend(["--trace".into(), trace.to_string_lossy().into_owned()]);
    }
    match os::child(&args, around, limit) {
        Ok(ended) => outcome(scenario, seed, &ended, limit),
        Err(error) => died(scenario, seed, Verdict::Crash, format!("the run could not be started: {error}")),
    }
}

/// What a child left behind.
fn outcome(scenario: &Scenario, seed: Seed, ended: &Ended, limit: Duration) -> Outcome {
    let Some(status) = ended.status else {
        let message = format!("the run took longer than {} s of real time and was killed", limit.as_secs());
        return died(scenario, seed, Verdict::OverBudget, message);
    };
    match serde_json::from_slice::<Outcome>(&ended.out) {
        Ok(outcome) => outcome,
        Err(_) => {
            let lines: Vec<&str> = ended.err.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n    ");
            died(scenario, seed, Verdict::Crash, format!("the run's process ended with {status}\n    {last}"))
        }
    }
}

/// The outcome of a run that could not tell its own.
pub fn died(scenario: &Scenario, seed: Seed, verdict: Verdict, message: String) -> Outcome {
    let violation = match verdict {
        Verdict::OverBudget => Violation::BudgetExhausted { what: message },
        _ => Violation::Crashed { message },
    };
    Outcome { verdict, violations: vec![violation], ..Outcome::new(scenario, seed) }
}
