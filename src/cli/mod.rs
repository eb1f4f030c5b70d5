//! The command line: one file per subcommand, and the only place that prints.
//!
//! Reports go to standard output, progress and mistakes to standard error. Colours and the live view appear on a terminal
//! only, and not where `NO_COLOR` is set.

mod os;

mod scenario;

mod seeds;

mod live;

mod progress;

mod children;

mod run;

mod check;

mod compare;

mod engines;

mod list;

mod schema;

pub mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The program's allocator.
pub use crate::rt::alloc::Allocator;

const EXIT_CODES: &str = "\
Exit codes:
   0  pass; with --seeds: every seed ended as the scenario declares
   2  bad input: the command line, a scenario or a manifest
  10  safety violation
  11  liveness violation
  12  expected unavailability: beyond the fault budget, and nothing lost
  13  vacuous: a fault without effect, a goal not reached, or nothing to judge
  14  nondeterministic: two runs of one seed differ
  15  crash: a process or the harness panicked
  16  over budget: the run was cut short
  17  skipped: the engine cannot do a fault of the scenario, and nothing else went wrong
  18  disagreement: engines do not agree on a scenario

Examples:
  stormglass list
  stormglass run scenarios/goosefs-leader-crash.yaml --seed 7
  stormglass run scenarios/goosefs-leader-crash.yaml --seeds 0..100
  stormglass check scenarios/goosefs-leader-crash.yaml --seeds 0..20";

/// Deterministic simulation and chaos for distributed caches on Kubernetes.
///
/// Runs a whole cache cluster in a sealed world, breaks it by seed, and says whether it kept its promises: the same way
/// every time.
#[derive(Parser)]
#[command(name = "stormglass", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Compare(compare::Args),
    Engines(engines::Args),
    List(list::Args),
    Shell(shell::Args),
    Schema(schema::Args),
}

/// Exit code for input that cannot be used.
const BAD_INPUT: u8 = 2;

/// Runs the program with the arguments of its process.
pub fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Engines(args) => engines::run(&args),
        Command::List(args) => list::run(&args),
        Command::Shell(args) => shell::run(&args),
        Command::Schema(args) => schema::run(&args),
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::oracle::Verdict;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_names_every_exit_code() {
        for verdict in Verdict::ALL {
            let line = format!("\n  {:>2}  {verdict}", verdict.exit_code());
            assert!(EXIT_CODES.contains(&line), "{line}");
        }
    }

    #[test]
    fn every_subcommand_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("stormglass {}", command.get_name())), "{}", command.get_name());
        }
    }
}
