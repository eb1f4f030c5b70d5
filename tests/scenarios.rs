//! One test per scenario file; every run in a child process of the built program.
//!
//! A scenario ends as it declares for each of its seeds, and its small outcome is the one under `snapshots/`. A planted bug
//! is caught within [`CAUGHT_WITHIN`] seeds. `STORMGLASS_SEED=N cargo test NAME` runs one seed, `STORMGLASS_SEEDS=200` or
//! `STORMGLASS_SEEDS=100..200` others; snapshots are compared for the default seeds only.

#![expect(clippy::disallowed_methods, reason = "tests read files and the environment, and start the program")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use stormglass::report::snapshot::snapshot;
use stormglass::sim::outcome::Outcome;
use stormglass::sim::scenario::{Scenario, load};
use stormglass::world::engine::EngineKind;

/// Seeds of each scenario, if the environment names no others.
const SEEDS: Range<u64> = 0..3;
/// Those of a scenario on Kubernetes: one is ten minutes of a whole cluster. The gate runs twenty.
const KUBERNETES_SEEDS: Range<u64> = 0..2;
/// A planted bug must be caught by one of so many seeds.
const CAUGHT_WITHIN: u64 = 20;

fn main() -> std::io::Result<ExitCode> {
    let args = Arguments::from_args();
    let mut files = Vec::new();
    scenario_files(Path::new("scenarios"), &mut files)?;
    files.sort();
    let trials = files.into_iter().map(|path| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(name, move || test(&path))
    });
    Ok(libtest_mimic::run(&args, trials.collect()).exit_code())
}

/// All scenario files below `dir`; manifests are none.
fn scenario_files(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("manifests") {
            scenario_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    Ok(())
}

fn test(path: &Path) -> Result<(), Failed> {
    let name = path.to_string_lossy().into_owned();
    let scenario = load(&name, &|path| std::fs::read(path).map_err(|error| error.to_string()))?;
    let chosen = chosen_seeds()?;
    let outcomes = if scenario.spec.planted.is_some() && chosen.is_none() {
        caught(&scenario)?
    } else {
        let usual = if scenario.spec.kubernetes.is_some() { KUBERNETES_SEEDS } else { SEEDS };
        let seeds = chosen.clone().unwrap_or(usual);
        seeds
            .map(|seed| run(&scenario, seed).and_then(|outcome| declared(&scenario, outcome)))
            .collect::<Result<_, _>>()?
    };
    if chosen.is_none() && engine() == EngineKind::Glass {
        compare(path, &snapshot(&outcomes));
    }
    Ok(())
}

/// The engine that the environment asks for. Snapshots are glass's.
fn engine() -> EngineKind {
    let asked = std::env::var("STORMGLASS_ENGINE").unwrap_or_default();
    if asked.is_empty() { EngineKind::Glass } else { asked.parse().unwrap_or_else(|why| panic!("{why}")) }
}

/// The seeds that the environment asks for.
fn chosen_seeds() -> Result<Option<Range<u64>>, Failed> {
    let number = |name: &str, text: &str| text.parse::<u64>().map_err(|_| format!("{name}={text} is no number"));
    if let Ok(seed) = std::env::var("STORMGLASS_SEED") {
        let seed = number("STORMGLASS_SEED", &seed)?;
        return Ok(Some(seed..seed.saturating_add(1)));
    }
    let Ok(seeds) = std::env::var("STORMGLASS_SEEDS") else { return Ok(None) };
    let (from, to) = seeds.split_once("..").unwrap_or(("0", &seeds));
    Ok(Some(number("STORMGLASS_SEEDS", from)?..number("STORMGLASS_SEEDS", to)?))
}

/// Runs seeds of a planted bug until one ends in its declared violation.
fn caught(scenario: &Scenario) -> Result<Vec<Outcome>, Failed> {
    let mut others = Vec::new();
    for seed in 0..CAUGHT_WITHIN {
        let outcome = run(scenario, seed)?;
        if outcome.as_declared() {
            return Ok(vec![outcome]);
        }
        others.push(format!("seed {seed}: {}", outcome.verdict));
    }
    let name = &scenario.spec.name;
    Err(format!("{name} was not caught within {CAUGHT_WITHIN} seeds\n{}\n{}", others.join("\n"), again(scenario, 0))
        .into())
}

/// One seed in a child process.
fn run(scenario: &Scenario, seed: u64) -> Result<Outcome, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_stormglass"))
        .args(["run", &scenario.path, "--seed", &seed.to_string(), "--format", "json", "--quiet"])
        .args(["--engine", engine().name()])
        .output()?;
    let outcome: Outcome = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("seed {seed} ended with {} and no outcome\n{said}\n{}", output.status, again(scenario, seed))
    })?;
    if output.status.code() != Some(i32::from(outcome.verdict.exit_code())) {
        return Err(format!("seed {seed}: {} exited with {}", outcome.verdict, output.status).into());
    }
    Ok(outcome)
}

/// The outcome, if it is what the scenario declares.
fn declared(scenario: &Scenario, outcome: Outcome) -> Result<Outcome, Failed> {
    if outcome.as_declared() {
        return Ok(outcome);
    }
    let found: Vec<String> = outcome.violations.iter().map(|violation| format!("  {violation}")).collect();
    let seed = outcome.seed.0;
    Err(format!("seed {seed}: {}\n{}\n{}", outcome.verdict, found.join("\n"), again(scenario, seed)).into())
}

/// How to see it again.
fn again(scenario: &Scenario, seed: u64) -> String {
    let (name, path) = (&scenario.spec.name, &scenario.path);
    let (variable, features, option) = match engine() {
        EngineKind::Glass => Default::default(),
        other => (format!("STORMGLASS_ENGINE={other} "), " --features second-opinions", format!(" --engine {other}")),
    };
    format!(
        "again: {variable}STORMGLASS_SEED={seed} cargo test{features} {name}\n  \
         see: cargo run --release{features} -- run {path} --seed {seed}{option}"
    )
}

/// Compares with the snapshot whose path mirrors the scenario's.
fn compare(scenario: &Path, small: &str) {
    let folder = Path::new("../snapshots").join(scenario.parent().unwrap_or(Path::new("")));
    let name = scenario.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, small);
    });
}
