//! One seed on several engines: do they reach the same verdict?
//!
//! Traces are not compared: each engine orders and delays in its own way, so operations differ in number and the final trees
//! in what was acknowledged. Verdicts and promises must agree, because they are about the stack. A run that an engine had
//! to skip a fault of has no say.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::base::Seed;
use crate::oracle::Verdict;
use crate::sim::outcome::Outcome;
use crate::trace::Digest;
use crate::world::engine::EngineKind;

/// What one engine made of a seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opinion {
    /// The engine.
    pub engine: EngineKind,
    /// How the run ended.
    pub verdict: Verdict,
    /// Times from a fault to the next leader, in milliseconds.
    pub failovers_ms: Vec<u64>,
    /// Operations that clients had acknowledged.
    pub acked: u64,
    /// Hash of names, kinds and lengths in the final tree; none without a final scan.
    pub final_state: Option<Digest>,
    /// Oracles that found a broken promise, in the order of judgement.
    pub broken: Vec<String>,
    /// Faults that the engine cannot do.
    pub skipped: Vec<String>,
    /// The first violation.
    pub violation: Option<String>,
    /// The command that shows the run again.
    pub reproduce: String,
}

impl Opinion {
    /// What to compare of a run; `program` is how this program was called.
    pub fn of(outcome: &Outcome, program: &str) -> Self {
        let failover = |f: &crate::sim::outcome::Failover| f.new_leader_at.map(|at| at.since(f.killed_at));
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let broken = outcome.oracles.iter().filter(|oracle| oracle.violations > 0);
        let acked = outcome.counters.iter().filter(|(name, _)| name.ends_with(".acked"));
        let skipped = outcome.faults.iter().filter_map(|f| f.skipped.as_ref().map(|why| format!("{}: {why}", f.fault)));
        Self {
            engine: outcome.engine,
            verdict: outcome.verdict,
            failovers_ms: outcome.failovers.iter().filter_map(failover).map(ms).collect(),
            acked: acked.map(|(_, count)| count).sum(),
            final_state: outcome.final_state,
            broken: broken.map(|oracle| oracle.id.clone()).collect(),
            skipped: skipped.collect(),
            violation: outcome.violations.first().map(ToString::to_string),
            reproduce: outcome.reproduce(program),
        }
    }
}

/// Where engines part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disagreement {
    /// An oracle found something on some engines only: its number, and on which.
    Oracle {
        /// Such as `S1`.
        oracle: String,
        /// Engines on which it found a broken promise.
        broken_on: Vec<EngineKind>,
    },
    /// The oracles agree and the verdicts do not.
    Verdict,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oracle { oracle, broken_on } => {
                let names: Vec<&str> = broken_on.iter().map(|kind| kind.name()).collect();
                write!(f, "{oracle} is broken on {} only", names.join(" and "))
            }
            Self::Verdict => f.write_str("the verdicts differ"),
        }
    }
}

/// All opinions on one seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The seed.
    pub seed: Seed,
    /// One per engine, in the engines' order.
    pub opinions: Vec<Opinion>,
    /// Where they part; none if they agree.
    pub disagreement: Option<Disagreement>,
}

impl Comparison {
    /// Holds the opinions on one seed against each other.
    pub fn new(seed: Seed, mut opinions: Vec<Opinion>) -> Self {
        opinions.sort_by_key(|opinion| opinion.engine);
        let disagreement = disagreement(&opinions);
        Self { seed, opinions, disagreement }
    }

    /// Whether at least two engines had a say.
    pub fn compared(&self) -> bool {
        say(&self.opinions).count() > 1
    }
}

/// Those that have a say.
fn say(opinions: &[Opinion]) -> impl Iterator<Item = &Opinion> {
    opinions.iter().filter(|opinion| opinion.verdict != Verdict::Skipped)
}

fn disagreement(opinions: &[Opinion]) -> Option<Disagreement> {
    let all = say(opinions).count();
    let mut oracles: Vec<&String> = Vec::new();
    for oracle in say(opinions).flat_map(|opinion| &opinion.broken) {
        if !oracles.contains(&oracle) {
            oracles.push(oracle);
        }
    }
    for oracle in oracles {
        let found: Vec<EngineKind> =
            say(opinions).filter(|opinion| opinion.broken.contains(oracle)).map(|opinion| opinion.engine).collect();
        if found.len() < all {
            return Some(Disagreement::Oracle { oracle: oracle.clone(), broken_on: found });
        }
    }
    let mut verdicts = say(opinions).map(|opinion| opinion.verdict);
    let first = verdicts.next()?;
    verdicts.any(|verdict| verdict != first).then_some(Disagreement::Verdict)
}

/// Failover times of one engine over all seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// The engine.
    pub engine: EngineKind,
    /// Milliseconds, ascending.
    pub failovers_ms: Vec<u64>,
}

impl Distribution {
    /// The time that `percent` of failovers do not exceed (nearest rank); none without failovers.
    pub fn quantile(&self, percent: usize) -> Option<u64> {
        let rank = (self.failovers_ms.len() * percent.min(100)).div_ceil(100).max(1);
        self.failovers_ms.get(rank - 1).copied()
    }
}

/// Failover times by engine.
pub fn distributions(comparisons: &[Comparison]) -> Vec<Distribution> {
    let mut by_engine: BTreeMap<EngineKind, Vec<u64>> = BTreeMap::new();
    for opinion in comparisons.iter().flat_map(|comparison| &comparison.opinions) {
        by_engine.entry(opinion.engine).or_default().extend(&opinion.failovers_ms);
    }
    let sorted = |(engine, mut failovers_ms): (EngineKind, Vec<u64>)| {
        failovers_ms.sort_unstable();
        Distribution { engine, failovers_ms }
    };
    by_engine.into_iter().map(sorted).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sim::outcome::tests::sample;

    /// An opinion as one could be.
    pub(crate) fn opinion(engine: EngineKind, verdict: Verdict, broken: &[&str]) -> Opinion {
        let broken = broken.iter().map(ToString::to_string).collect();
        Opinion { engine, verdict, broken, ..Opinion::of(&sample(), "sg") }
    }

    const G: EngineKind = EngineKind::Glass;
    const T: EngineKind = EngineKind::Turmoil;
    const M: EngineKind = EngineKind::Madsim;

    #[test]
    fn opinions_are_taken_from_outcomes() {
        let opinion = Opinion::of(&sample(), "sg");
        assert_eq!((opinion.failovers_ms, opinion.acked, opinion.broken), (vec![13_500], 321, Vec::<String>::new()));
    }

    #[test]
    fn the_first_oracle_that_differs_is_named_and_skipped_runs_have_no_say() {
        let oracle = |oracle: &str, broken_on: &[EngineKind]| {
            Some(Disagreement::Oracle { oracle: oracle.into(), broken_on: broken_on.into() })
        };
        let (pass, safety, skipped) = (Verdict::Pass, Verdict::Safety, Verdict::Skipped);
        for (opinions, want) in [
            (vec![opinion(M, pass, &[]), opinion(G, pass, &[])], None),
            (vec![opinion(G, safety, &["S1", "S7"]), opinion(T, safety, &["S1", "S7"])], None),
            (vec![opinion(G, pass, &[]), opinion(T, safety, &["S2", "S7"])], oracle("S2", &[T])),
            (vec![opinion(G, safety, &["S1"]), opinion(T, safety, &["S1", "S7"])], oracle("S7", &[T])),
            (vec![opinion(G, pass, &[]), opinion(T, Verdict::Crash, &[])], Some(Disagreement::Verdict)),
            (vec![opinion(G, safety, &["S1"]), opinion(T, skipped, &[])], None),
            (vec![opinion(G, pass, &[]), opinion(T, skipped, &[]), opinion(M, pass, &[])], None),
            (vec![], None),
        ] {
            let comparison = Comparison::new(Seed(1), opinions);
            assert_eq!(comparison.disagreement, want, "{:?}", comparison.opinions);
        }
    }

    #[test]
    fn one_voice_is_no_comparison() {
        let two = vec![opinion(G, Verdict::Pass, &[]), opinion(T, Verdict::Skipped, &[])];
        assert!(!Comparison::new(Seed(1), two).compared());
        let two = vec![opinion(G, Verdict::Pass, &[]), opinion(T, Verdict::Pass, &[])];
        assert!(Comparison::new(Seed(1), two).compared());
    }

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let d = Distribution { engine: G, failovers_ms: (1..=10).collect() };
        assert_eq!([0, 50, 90, 100, 200].map(|p| d.quantile(p)), [1, 5, 9, 10, 10].map(Some));
        assert_eq!(Distribution { engine: G, failovers_ms: vec![] }.quantile(50), None);
    }
}
