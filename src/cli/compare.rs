//! `stormglass compare`: the same seeds on every engine that this build has.

use std::time::Duration;

use serde::Serialize;

use super::children::Trial;
use super::os::{self, Surroundings};
use super::run::Format;
use super::seeds::Seeds;
use super::{BAD_INPUT, children, run, scenario};
use crate::base::Seed;
use crate::hunt::compare::{Comparison, Distribution, Opinion, distributions};
use crate::oracle::Verdict;
use crate::report::engines::comparison;
use crate::sim::scenario::Scenario;
use crate::world::engine::EngineKind;

/// Engines do not agree.
const DISAGREEMENT: u8 = 18;

const EXAMPLES: &str = "\
Each seed runs once on each engine, in a process of its own. Verdicts and broken promises must agree; where they do not, the first oracle that differs is named and the exit code is 18. A run that an engine had to leave a fault out of has no say; where nothing was compared, the exit code is 17. A seed means another run on each engine, so operations, failover times and final states are shown and not compared.

Examples:
  stormglass compare scenarios/goosefs-leader-crash.yaml --seeds 0..20
  stormglass compare goosefs-leader-crash --seeds 0..20 --engines glass,turmoil
  stormglass compare goosefs-leader-crash --seeds 0..20 --format json > opinions.jsonl";

/// Run the same seeds on several engines and compare what they find.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenario file, or the name of one in `scenarios/`.
    scenario: String,
    /// The seeds: A..B without B, A..=B with it.
    #[arg(long, value_name = "A..B", default_value = "0..10")]
    seeds: Seeds,
    /// Engines to ask, separated by commas; all of this build if not given.
    #[arg(long, value_name = "ENGINES", value_delimiter = ',')]
    engines: Vec<EngineKind>,
    /// A table, or one line of JSON per seed and then one with the failover times.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
    /// How many runs at a time; the number of cores if not given.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Real seconds after which one run is killed and counts as over budget.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    patience: u64,
}

#[derive(Serialize)]
struct Times<'a> {
    distributions: &'a [Distribution],
}

/// Compares; gives the exit code.
pub fn run(args: &Args) -> u8 {
    let Some(scenario) = scenario::open(&args.scenario) else { return BAD_INPUT };
    let Some(engines) = engines(args) else { return BAD_INPUT };
    let all = opinions(&scenario, &engines, args);
    let times = distributions(&all);
    match args.format {
        Format::Text => os::out(&comparison(&scenario.spec.name, &all, &times, os::out_paint())),
        Format::Json => {
            all.iter().for_each(os::json);
            os::json(&Times { distributions: &times });
        }
    }
    exit_code(&all)
}

fn exit_code(all: &[Comparison]) -> u8 {
    if all.iter().any(|c| c.disagreement.is_some()) {
        DISAGREEMENT
    } else if all.iter().any(Comparison::compared) {
        0
    } else {
        Verdict::Skipped.exit_code()
    }
}

/// The engines to ask; none if there are not two, or one of them is not here.
fn engines(args: &Args) -> Option<Vec<EngineKind>> {
    let mut engines = if args.engines.is_empty() { EngineKind::built() } else { args.engines.clone() };
    engines.sort();
    engines.dedup();
    if !engines.iter().all(|engine| run::available(*engine)) {
        return None;
    }
    if engines.len() < 2 {
        os::err("error: there is nothing to compare with: use `cargo run --features second-opinions -- compare ...`\n");
        return None;
    }
    Some(engines)
}

/// One comparison per seed, in the order of seeds.
fn opinions(scenario: &Scenario, engines: &[EngineKind], args: &Args) -> Vec<Comparison> {
    let seeds = args.seeds.all();
    let trials: Vec<(Seed, EngineKind)> =
        seeds.iter().flat_map(|seed| engines.iter().map(|engine| (*seed, *engine))).collect();
    let bar = run::bar(trials.len(), args.quiet);
    let limit = Duration::from_secs(args.patience);
    let program = os::program();
    let mut found: Vec<(Seed, Opinion)> = Vec::new();
    let one = |(seed, engine)| {
        let outcome = children::run(&Trial { scenario, engine, seed }, None, &Surroundings::default(), limit);
        (seed, Opinion::of(&outcome, &program))
    };
    os::each(trials, args.jobs.unwrap_or_else(os::cores), one, |opinion| {
        bar.inc(1);
        found.push(opinion);
    });
    bar.finish_and_clear();
    let of =
        |seed: &Seed| found.iter().filter(|(other, _)| other == seed).map(|(_, opinion)| opinion.clone()).collect();
    seeds.iter().map(|seed| Comparison::new(*seed, of(seed))).collect()
}
