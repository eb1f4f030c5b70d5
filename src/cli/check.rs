//! `stormglass check`: is a run the same run in another process?
//!
//! The second process gets another working directory and another environment, and addresses are random in each. Whatever
//! leaks from there into a run shows as the first difference of the two traces.

use std::path::PathBuf;
use std::time::Duration;

use super::children::Trial;
use super::os::{self, Surroundings};
use super::seeds::Seeds;
use super::{BAD_INPUT, children, run, scenario};
use crate::base::Seed;
use crate::hunt::check::{CONTEXT, compare, judged};
use crate::oracle::{Verdict, Violation};
use crate::report::{run as report, sweep};
use crate::sim::outcome::Outcome;
use crate::world::engine::EngineKind;

const EXAMPLES: &str = "\
Each seed runs in two child processes with their whole traces kept. Where they differ, the first differing event is shown with those before it, the traces are left in place, and the exit code is 14. How a run ends does not matter here, except that it must leave a trace.

Examples:
  stormglass check scenarios/goosefs-leader-crash.yaml --seed 7
  stormglass check scenarios/goosefs-leader-crash.yaml --seeds 0..20
  stormglass check scenarios/goosefs-leader-crash.yaml --seed 7 --engine turmoil";

/// Run the same seed twice, in two processes, and compare.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenario file, or the name of one in `scenarios/`.
    scenario: String,
    /// The seed.
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "seeds")]
    seed: Seed,
    /// A range of seeds: A..B without B, A..=B with it.
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// What the world runs on: glass, or a second opinion.
    #[arg(long, value_name = "ENGINE", default_value_t)]
    engine: EngineKind,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
    /// How many seeds at a time; half the number of cores if not given.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Real seconds after which one run is killed.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
}

/// What came of one seed.
struct Checked {
    /// The first run, with the difference as its violation if there is one.
    outcome: Outcome,
    /// What to tell; empty if the runs are the same.
    difference: String,
}

/// Checks; gives the exit code.
pub fn run(args: &Args) -> u8 {
    let Some(scenario) = scenario::open(&args.scenario) else { return BAD_INPUT };
    if !run::available(args.engine) {
        return BAD_INPUT;
    }
    let seeds = args.seeds.unwrap_or(Seeds::one(args.seed)).all();
    let bar = run::bar(seeds.len(), args.quiet);
    let limit = Duration::from_secs(args.patience);
    let jobs = args.jobs.unwrap_or_else(|| os::cores().div_ceil(2));
    let mut all: Vec<Checked> = Vec::new();
    os::each(
        seeds,
        jobs,
        |seed| check(&Trial { scenario: &scenario, engine: args.engine, seed }, limit),
        |checked| {
            if !checked.difference.is_empty() {
                bar.suspend(|| os::out(&format!("{}\n\n", checked.difference)));
            }
            bar.inc(1);
            all.push(checked);
        },
    );
    bar.finish_and_clear();
    all.sort_by_key(|checked| checked.outcome.seed);
    conclude(&all)
}

fn conclude(all: &[Checked]) -> u8 {
    let paint = os::out_paint();
    let differ = all.iter().filter(|checked| !checked.difference.is_empty()).count();
    let name = all.first().map_or("", |checked| checked.outcome.scenario.as_str());
    let word = if differ == 0 {
        paint.good(&format!("{} of {} seeds the same in two processes", all.len(), all.len()))
    } else {
        paint.bad(&format!("{differ} of {} seeds not the same in two processes", all.len()))
    };
    os::out(&format!("{}: {word}\n", paint.strong(name)));
    if let ([one], 0) = (all, differ) {
        os::out(&format!("trace {}\n", one.outcome.trace_hash));
    }
    let outcomes: Vec<Outcome> =
        all.iter().filter(|checked| !checked.difference.is_empty()).map(|checked| checked.outcome.clone()).collect();
    sweep::exit_code(&outcomes)
}

fn check(trial: &Trial<'_>, limit: Duration) -> Checked {
    let seed = trial.seed;
    let trace = |side: &str| os::scratch(&format!("{seed}-{side}.trace"));
    let (left_trace, right_trace) = (trace("left"), trace("right"));
    let elsewhere = Surroundings {
        dir: Some(std::path::absolute("/").unwrap_or_else(|_| PathBuf::from("."))),
        env: vec![("STORMGLASS_NOISE".into(), "x".repeat(997)), ("TZ".into(), "Pacific/Chatham".into())],
    };
    let left = children::run(trial, Some(&left_trace), &Surroundings::default(), limit);
    let right = children::run(trial, Some(&right_trace), &elsewhere, limit);
    let kept = [&left_trace, &right_trace];
    let compared = os::lines(&left_trace)
        .and_then(|l| os::lines(&right_trace).map(|r| (l, r)))
        .and_then(|(l, r)| compare((&left, l), (&right, r), CONTEXT));
    let (verdict, violations) = match compared {
        Ok(None) if left.events == 0 => {
            let own = left.violations.first().map(ToString::to_string).unwrap_or_default();
            let what = format!("the run left no trace to compare. {own}");
            (Verdict::Vacuous, vec![Violation::NothingChecked { what }])
        }
        Ok(None) => {
            kept.into_iter().for_each(|path| os::remove(path));
            return Checked { outcome: left, difference: String::new() };
        }
        Ok(Some(mismatch)) => (Verdict::Nondeterministic, judged(&left, &right, Some(&mismatch))),
        Err(error) => {
            // A run that crashed before its trace was there: its own violation says more than the missing file.
            let own = left.violations.first().or(right.violations.first()).map(ToString::to_string);
            let message = own.unwrap_or_else(|| format!("a trace cannot be read: {error}"));
            (Verdict::Crash, vec![Violation::Crashed { message }])
        }
    };
    let difference: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let outcome = Outcome { verdict, violations, ..left };
    let headline = report::headline(&outcome, os::out_paint());
    let traces = format!("traces: {} {}", left_trace.display(), right_trace.display());
    Checked { difference: format!("{headline}\n{}\n{traces}", difference.join("\n")), outcome }
}
