//! One run: a scenario, its cluster, faults, workload, phases and outcome.

pub mod shell;

pub mod scenario;

pub mod cluster;
pub mod kubernetes;
pub mod faults;
pub mod watch;
pub mod workload;
pub mod story;

pub mod outcome;

pub mod progress;

pub mod prompt;

use std::io::Write;

use tracing_subscriber::filter::LevelFilter;

use self::outcome::Outcome;
use self::progress::Progress;
use self::prompt::Prompt;
use self::scenario::Scenario;
use self::story::Story;
use crate::base::Seed;
use crate::base::planted::plant;
use crate::oracle::Violation;
use crate::rt::interpose;
use crate::rt::log::WorldLog;
use crate::trace::Recorder;
use crate::world::engine::{Budget, EngineKind, Plan, Schedule, build};
use crate::world::lab::Lab;

/// How to run a scenario.
#[derive(Default)]
pub struct Options {
    /// From which everything random follows.
    pub seed: Seed,
    /// What the world runs on.
    pub engine: EngineKind,
    /// Where the whole trace goes, one event per line.
    pub trace: Option<Box<dyn Write>>,
}

/// Runs a scenario once in this process. Another run may follow, but statics of libraries are warm by then: repeatable
/// runs are the first of their process.
pub fn run(scenario: &Scenario, options: Options, progress: &mut dyn Progress) -> Outcome {
    go(scenario, options, progress, None)
}

/// As [`run`], with the steps that `prompt` asks for in place of the scenario's own.
pub fn run_interactively(
    scenario: &Scenario,
    options: Options,
    progress: &mut dyn Progress,
    prompt: &mut dyn Prompt,
) -> Outcome {
    go(scenario, options, progress, Some(prompt))
}

fn go<'a>(
    scenario: &'a Scenario,
    options: Options,
    progress: &'a mut dyn Progress,
    prompt: Option<&'a mut dyn Prompt>,
) -> Outcome {
    let Options { seed, engine, trace } = options;
    interpose::begin(seed);
    let bugs: Vec<_> = scenario.spec.planted.iter().map(|planted| planted.0).collect();
    let _plant = match plant(&bugs) {
        Ok(plant) => plant,
        Err(why) => return unrun(scenario, seed, engine, why),
    };
    let spec = &scenario.spec;
    let schedule = match spec.parameters.schedule {
        scenario::params::Schedule::Random => Schedule::Seeded,
        scenario::params::Schedule::Fifo => Schedule::Fifo,
    };
    let budget = Budget {
        events: spec.limits.events,
        trace_bytes: spec.limits.trace.get(),
        polls_at_once: spec.limits.events_per_second,
    };
    let world = match build(engine, Plan { seed, schedule, budget, trace: Recorder::new(trace) }) {
        Ok(world) => world,
        Err(why) => return unrun(scenario, seed, engine, why.to_string()),
    };
    let lab = Lab::of(seed, world);
    let _log = WorldLog::install(LevelFilter::INFO);
    Story::new(scenario, seed, lab, progress).with_prompt(prompt).run()
}

/// The outcome of a run that could not begin.
fn unrun(scenario: &Scenario, seed: Seed, engine: EngineKind, why: String) -> Outcome {
    let violations = vec![Violation::NothingChecked { what: why }];
    Outcome { engine, violations, ..Outcome::new(scenario, seed) }
}
