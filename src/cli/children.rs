//! Runs in child processes: one process per run, so that panics, leaks and statics stay with their run.
//!
//! The protocol is `stormglass run SCENARIO --seed N --engine E --format json --quiet`: one outcome as one line of JSON on
//! standard output. A child that ends without one has crashed.

use std::path::Path;
use std::time::Duration;

use super::os::{self, Ended, Surroundings};
use crate::base::Seed;
use crate::oracle::{Verdict, Violation};
use crate::sim::outcome::Outcome;
use crate::sim::scenario::Scenario;
use crate::world::engine::EngineKind;

/// Lines of a dead child's standard error that are kept.
const LAST_WORDS: usize = 12;

/// What a child runs.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What its world runs on.
    pub engine: EngineKind,
    /// The seed.
    pub seed: Seed,
}

/// Runs one seed of a scenario in a child process.
pub fn run(trial: &Trial<'_>, trace: Option<&Path>, around: &Surroundings, limit: Duration) -> Outcome {
    let Trial { scenario, engine, seed } = *trial;
    let path = if around.dir.is_some() { os::absolute(&scenario.path) } else { scenario.path.clone() };
    let mut args: Vec<String> =
        ["run", &path, "--seed", &seed.to_string(), "--engine", engine.name(), "--format", "json", "--quiet"]
            .map(ToString::to_string)
            .into();
    if let Some(trace) = trace {
        args.extend(["--trace".into(), trace.to_string_lossy().into_owned()]);
    }
    match os::child(&args, around, limit) {
        Ok(ended) => outcome(trial, &ended, limit),
        Err(error) => died(trial, Verdict::Crash, format!("the run could not be started: {error}")),
    }
}

/// What a child left behind.
fn outcome(trial: &Trial<'_>, ended: &Ended, limit: Duration) -> Outcome {
    let Some(status) = ended.status else {
        let message = format!("the run took longer than {} s of real time and was killed", limit.as_secs());
        return died(trial, Verdict::OverBudget, message);
    };
    match serde_json::from_slice::<Outcome>(&ended.out) {
        Ok(outcome) => outcome,
        Err(_) => {
            let lines: Vec<&str> = ended.err.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n    ");
            died(trial, Verdict::Crash, format!("the run's process ended with {status}\n    {last}"))
        }
    }
}

/// The outcome of a run that could not tell its own.
pub fn died(trial: &Trial<'_>, verdict: Verdict, message: String) -> Outcome {
    let violation = match verdict {
        Verdict::OverBudget => Violation::BudgetExhausted { what: message },
        _ => Violation::Crashed { message },
    };
    let Trial { scenario, engine, seed } = *trial;
    Outcome { engine, verdict, violations: vec![violation], ..Outcome::new(scenario, seed) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::sim::scenario::load;

    fn ended(out: &str, status: Option<i32>) -> Outcome {
        let scenario = load("scenarios/goosefs-leader-crash.yaml", &os::read).expect("a scenario");
        let err = (0..20).map(|i| format!("line {i}\n")).collect();
        let ended = Ended { out: out.into(), err, status: status.map(ExitStatus::from_raw) };
        let trial = Trial { scenario: &scenario, engine: EngineKind::Glass, seed: Seed(7) };
        outcome(&trial, &ended, Duration::from_secs(5))
    }

    #[test]
    fn a_child_without_an_outcome_has_crashed_and_its_last_words_are_kept() {
        for out in ["", "{", "null", "{\"scenario\": \"x\"}"] {
            let outcome = ended(out, Some(6));
            assert_eq!((outcome.verdict, outcome.seed), (Verdict::Crash, Seed(7)));
            let text = outcome.violations[0].to_string();
            assert!(text.contains("signal: 6") && text.contains("line 19") && !text.contains("line 7\n"), "{text}");
        }
    }

    #[test]
    fn a_child_that_took_too_long_is_over_budget() {
        assert_eq!(ended("", None).verdict, Verdict::OverBudget);
    }
}
