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
        outcome(&scenario, Seed(7), &ended, Duration::from_secs(5))
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
