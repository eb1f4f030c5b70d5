//! The summary of many seeds of one scenario, and the exit code that follows.
//!
//! A sweep asks one question of every seed: did it end as the scenario declares?

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::Paint;
use super::table::{render, table};
use crate::oracle::Verdict;
use crate::sim::outcome::Outcome;

/// Failing seeds that are listed one by one.
const LISTED: usize = 20;

/// Counts by verdict, failover times, and the seeds that did not end as declared.
pub fn summary(outcomes: &[Outcome], program: &str, paint: Paint) -> String {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for outcome in outcomes {
        *counts.entry(outcome.verdict).or_default() += 1;
    }
    let rows = counts.iter().map(|(verdict, n)| vec![verdict.to_string(), n.to_string()]).collect();
    let mut out = render(&table("verdicts", &["VERDICT", "SEEDS"], rows), 0);
    failover_times(&mut out, outcomes);
    let bad: Vec<&Outcome> = outcomes.iter().filter(|o| !o.as_declared()).collect();
    if !bad.is_empty() {
        let row = |outcome: &&Outcome| {
            let first = outcome.violations.first().map_or("none found", |v| v.name());
            vec![outcome.seed.to_string(), outcome.verdict.to_string(), first.into(), outcome.reproduce(program)]
        };
        let rows = bad.iter().take(LISTED).map(row).collect();
        let _ =
            write!(out, "\n{}", render(&table("bad", &["SEED", "VERDICT", "FIRST VIOLATION", "REPRODUCE"], rows), 0));
        if bad.len() > LISTED {
            let _ = writeln!(out, "and {} more", bad.len() - LISTED);
        }
    }
    let name = outcomes.first().map_or("", |o| o.scenario.as_str());
    let word = format!("{} of {} seeds as declared", outcomes.len() - bad.len(), outcomes.len());
    let word = if bad.is_empty() { paint.good(&word) } else { paint.bad(&word) };
    let _ = writeln!(out, "\n{}: {word}", paint.strong(name));
    out
}

fn failover_times(out: &mut String, outcomes: &[Outcome]) {
    let all = outcomes.iter().flat_map(|o| &o.failovers);
    let mut times: Vec<Duration> = all.filter_map(|f| f.new_leader_at.map(|at| at - f.killed_at)).collect();
    times.sort_unstable();
    if let (Some(least), Some(most), Some(middle)) = (times.first(), times.last(), times.get(times.len() / 2)) {
        let _ = writeln!(
            out,
            "\n{} failovers: new leader after {:.1} s at least, {:.1} s in the middle, {:.1} s at most",
            times.len(),
            least.as_secs_f64(),
            middle.as_secs_f64(),
            most.as_secs_f64()
        );
    }
}

/// The exit code of a sweep: 0 if every seed ended as declared; otherwise that of the gravest verdict among the others,
/// and that of a vacuous run where a declared violation was not found.
pub fn exit_code(outcomes: &[Outcome]) -> u8 {
    let bad: Vec<Verdict> = outcomes.iter().filter(|o| !o.as_declared()).map(|o| o.verdict).collect();
    let gravest = Verdict::GRAVEST_FIRST.iter().find(|verdict| bad.contains(verdict));
    match (bad.is_empty(), gravest) {
        (true, _) => 0,
        (false, Some(verdict)) => verdict.exit_code(),
        (false, None) => Verdict::Vacuous.exit_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::outcome::tests::sample;
    use crate::sim::scenario::ExpectedVerdict;

    fn with(verdict: Verdict) -> Outcome {
        Outcome { verdict, ..sample() }
    }

    #[test]
    fn a_sweep_exits_with_the_gravest_verdict_that_was_not_declared() {
        assert_eq!(exit_code(&[sample(), sample()]), 0);
        assert_eq!(exit_code(&[sample(), with(Verdict::Liveness), with(Verdict::Safety)]), 10);
        assert_eq!(exit_code(&[with(Verdict::Liveness), with(Verdict::Crash)]), 15);
        let uncaught = Outcome { expected: ExpectedVerdict::Violation(vec!["StaleRead".into()]), ..sample() };
        assert_eq!(exit_code(&[uncaught]), Verdict::Vacuous.exit_code());
    }

    #[test]
    fn failing_seeds_are_listed_with_their_command() {
        let text = summary(&[sample(), with(Verdict::Liveness)], "sg", Paint::PLAIN);
        assert!(text.contains("sg run 'a b/story.yaml' --seed 7"), "{text}");
        assert!(text.ends_with("story: 1 of 2 seeds as declared\n"), "{text}");
    }
}
