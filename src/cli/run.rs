//! `stormglass run`: one run in this process, or a range of seeds, each in a child process.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::children::Trial;
use super::live::Live;
use super::os::{self, Surroundings};
use super::progress::Lines;
use super::seeds::Seeds;
use super::{BAD_INPUT, children, scenario};
use crate::base::Seed;
use crate::oracle::Verdict;
use crate::report::{run as report, sweep};
use crate::sim::outcome::Outcome;
use crate::sim::progress::{Progress, Silent};
use crate::sim::scenario::Scenario;
use crate::sim::{self, Options};
use crate::world::engine::EngineKind;

const EXAMPLES: &str = "\
The last line of a run's report is the hash of its trace: same scenario, same seed, same hash. A run that did not end as its scenario declares prints the command that shows it again. One run exits with the code of its verdict, a range with 0 if every seed ended as declared; see `stormglass --help`.

Examples:
  stormglass run scenarios/goosefs-leader-crash.yaml
  stormglass run scenarios/goosefs-leader-crash.yaml --seed 7 --trace /tmp/crash-7.trace
  stormglass run scenarios/goosefs-leader-crash.yaml --seeds 0..100
  stormglass run scenarios/goosefs-leader-crash.yaml --seed 7 --engine turmoil
  stormglass run goosefs-leader-crash --seeds 0..1000 --jobs 8 --format json > outcomes.jsonl";

/// Run a scenario and judge it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenario file, or the name of one in `scenarios/`.
    scenario: String,
    /// The number from which everything random follows; decimal, or hexadecimal after 0x.
    #[arg(long, value_name = "N", default_value = "0", conflicts_with = "seeds")]
    seed: Seed,
    /// Run a range of seeds, each in its own process: A..B without B, A..=B with it.
    #[arg(long, value_name = "A..B")]
    seeds: Option<Seeds>,
    /// What the world runs on: glass, or a second opinion.
    #[arg(long, value_name = "ENGINE", default_value_t)]
    engine: EngineKind,
    /// Write the whole trace to a file, one event per line.
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    trace: Option<PathBuf>,
    /// How the outcome is printed: a report, or one line of JSON per run.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// No progress, and of the report only how it ended.
    #[arg(long, short)]
    quiet: bool,
    /// How many runs of a range at a time; the number of cores if not given.
    #[arg(long, value_name = "N", requires = "seeds")]
    jobs: Option<usize>,
    /// Real seconds after which one run of a range is killed and counts as over budget.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
}

/// How outcomes are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A report for people.
    Text,
    /// One line of JSON per run.
    Json,
}

/// Runs; gives the exit code.
pub fn run(args: &Args) -> u8 {
    let Some(scenario) = scenario::open(&args.scenario) else { return BAD_INPUT };
    if !available(args.engine) {
        return BAD_INPUT;
    }
    match args.seeds {
        Some(seeds) => many(&scenario, seeds, args),
        None => one(&scenario, args),
    }
}

/// Whether this build has the engine; says what to do if not.
pub fn available(engine: EngineKind) -> bool {
    let available = engine.available();
    if let Err(why) = available {
        os::err(&format!("error: {why}\n"));
    }
    available.is_ok()
}

fn one(scenario: &Scenario, args: &Args) -> u8 {
    let Ok(trace) = trace_file(args.trace.as_deref()) else { return BAD_INPUT };
    let options = Options { seed: args.seed, engine: args.engine, trace };
    let outcome = {
        let mut progress = watcher(scenario, args);
        let trial = Trial { scenario, engine: args.engine, seed: args.seed };
        guarded(&trial, || sim::run(scenario, options, &mut *progress))
    };
    match args.format {
        Format::Json => os::json(&outcome),
        Format::Text if args.quiet => os::out(report::ending(&outcome, &os::program(), os::out_paint()).trim_start()),
        Format::Text => os::out(&report::report(&outcome, &os::program(), os::out_paint())),
    }
    outcome.verdict.exit_code()
}

/// Where the trace goes that was asked for; prints why it cannot.
pub fn trace_file(path: Option<&Path>) -> Result<Option<Box<dyn Write>>, ()> {
    let Some(path) = path else { return Ok(None) };
    os::create(path).map(Some).map_err(|error| {
        os::err(&format!("error: cannot write the trace to {}: {error}\n", path.display()));
    })
}

/// A panic of the harness itself is a finding like any other; the run is over and its pieces are not used again.
pub fn guarded(trial: &Trial<'_>, run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        children::died(trial, Verdict::Crash, format!("the harness panicked: {}", message(&*panic)))
    })
}

/// Who watches the run.
fn watcher(scenario: &Scenario, args: &Args) -> Box<dyn Progress> {
    if args.quiet {
        Box::new(Silent)
    } else if os::err_is_terminal() {
        Box::new(Live::new(&scenario.spec.name, args.seed, os::err_paint()))
    } else {
        Box::new(Lines::default())
    }
}

/// The text of a panic.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}

fn many(scenario: &Scenario, seeds: Seeds, args: &Args) -> u8 {
    let seeds = seeds.all();
    let bar = bar(seeds.len(), args.quiet);
    let limit = Duration::from_secs(args.patience);
    let jobs = args.jobs.unwrap_or_else(os::cores);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut bad = 0;
    let trial = |seed| Trial { scenario, engine: args.engine, seed };
    let one = |seed| children::run(&trial(seed), None, &Surroundings::default(), limit);
    os::each(seeds, jobs, one, |outcome| {
        if args.format == Format::Json {
            os::json(&outcome);
        }
        if !outcome.as_declared() {
            bad += 1;
            if !args.quiet {
                let line = report::headline(&outcome, os::err_paint());
                bar.suspend(|| os::err(&format!("{line}\n")));
            }
        }
        bar.set_message(format!("{bad} not as declared"));
        bar.inc(1);
        outcomes.push(outcome);
    });
    bar.finish_and_clear();
    outcomes.sort_by_key(|outcome| outcome.seed);
    if args.format == Format::Text {
        os::out(&sweep::summary(&outcomes, &os::program(), os::out_paint()));
    }
    sweep::exit_code(&outcomes)
}

/// The progress bar of a range; on a terminal only.
pub fn bar(count: usize, quiet: bool) -> ProgressBar {
    let shown = !quiet && os::err_is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(count as u64), target);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {msg}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
