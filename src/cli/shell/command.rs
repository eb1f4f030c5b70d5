//! The subcommand: a run whose steps are typed.

use std::path::PathBuf;

use super::session::Session;
use crate::base::Seed;
use crate::cli::children::Trial;
use crate::cli::progress::Lines;
use crate::cli::run::{available, guarded, trace_file};
use crate::cli::{BAD_INPUT, os, scenario};
use crate::report::run as report;
use crate::sim::progress::{Progress, Silent};
use crate::sim::{self, Options};
use crate::world::engine::EngineKind;

const EXAMPLES: &str = "\
The world of the scenario is formed, and lines from standard input take the place of its steps: `help` lists them. `quit` or the end of input ends the story; then the world is healed and judged, and the exit code is that of the verdict, as of `run`; see `stormglass --help`. The same lines with the same seed are the same run.

Examples:
  stormglass shell scenarios/goosefs-on-kubernetes.yaml
  stormglass shell goosefs-leader-crash --seed 7 --trace /tmp/session.trace
  printf '%s\\n' 'run 10s' 'fault kill: leader' 'until leader: changed' 'save mine.yaml' | stormglass shell goosefs-leader-crash";

/// Sit at a prompt on a scenario's running world.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenario file, or the name of one in `scenarios/`.
    scenario: String,
    /// The number from which everything random follows; decimal, or hexadecimal after 0x.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: Seed,
    /// What the world runs on: glass, or a second opinion.
    #[arg(long, value_name = "ENGINE", default_value_t)]
    engine: EngineKind,
    /// Write the whole trace to a file, one event per line.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// No progress, and of the report only how it ended.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs; gives the exit code.
pub fn run(args: &Args) -> u8 {
    let Some(scenario) = scenario::open(&args.scenario) else { return BAD_INPUT };
    if !available(args.engine) {
        return BAD_INPUT;
    }
    let Ok(trace) = trace_file(args.trace.as_deref()) else { return BAD_INPUT };
    let (paint, program) = (os::out_paint(), os::program());
    let options = Options { seed: args.seed, engine: args.engine, trace };
    let mut progress: Box<dyn Progress> = if args.quiet { Box::new(Silent) } else { Box::new(Lines::default()) };
    let mut session = Session::new(&scenario);
    let trial = Trial { scenario: &scenario, engine: args.engine, seed: args.seed };
    let mut outcome = guarded(&trial, || sim::run_interactively(&scenario, options, &mut *progress, &mut session));
    // They were shown when they were typed.
    outcome.screens.clear();
    let told = if args.quiet {
        report::ending(&outcome, &program, paint).trim_start().to_owned()
    } else {
        report::report(&outcome, &program, paint)
    };
    // The scenario's own steps would not show this run again.
    let wrong = outcome.reproduce(&program);
    if let Some(path) = session.saved() {
        outcome.path = path.to_owned();
    }
    let again = match session.saved() {
        Some(_) => outcome.reproduce(&program),
        None => "type the same lines with the same seed; `save FILE` keeps them as a scenario".into(),
    };
    os::out(&told.replace(&wrong, &again));
    outcome.verdict.exit_code()
}
