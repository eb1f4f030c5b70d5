//! Same scenario, same seed: the same trace and the same outcome, whatever surrounds the process.
//!
//! Runs are child processes of the built program. Between two of them everything differs that must not matter: variables,
//! home, time zone, language, working directory, what malloc leaves in memory, company on the processors, and (where the
//! kernel randomises address spaces, as Linux does by default) every address.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stormglass::oracle::Verdict;
use stormglass::sim::outcome::Outcome;

const SCENARIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/goosefs-leader-crash.yaml");

/// A run about to begin, as a user would start it.
#[expect(clippy::disallowed_methods, reason = "a test of the built program starts it")]
fn stormglass(seed: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stormglass"));
    command.args(["run", SCENARIO, "--seed", &seed.to_string(), "--format", "json", "--quiet"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The line that a run printed, and what it says.
fn ended(run: Child) -> (String, Outcome) {
    let output = run.wait_with_output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    let outcome: Outcome = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}", output.status));
    assert_eq!(output.status.code(), Some(i32::from(outcome.verdict.exit_code())));
    (line, outcome)
}

#[test]
fn what_surrounds_a_run_does_not_matter() {
    let elsewhere = tempfile::tempdir().unwrap();
    for seed in 0..2 {
        let bare = stormglass(seed).env_clear().current_dir("/").spawn().unwrap();
        let mut furnished = stormglass(seed);
        furnished.current_dir(elsewhere.path()).env("HOME", elsewhere.path()).env("TZ", "Pacific/Chatham");
        furnished.envs([("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("TERM", "xterm"), ("COLUMNS", "40")]);
        furnished.envs([("MALLOC_PERTURB_", "165"), ("MALLOC_ARENA_MAX", "1"), ("RUST_LOG", "trace")]);
        furnished.env("STORMGLASS_PADDING", "x".repeat(50_000));
        // Both at once.
        let furnished = furnished.spawn().unwrap();
        let ((bare, outcome), (furnished, other)) = (ended(bare), ended(furnished));
        assert_eq!(outcome.trace_hash, other.trace_hash, "seed {seed}");
        assert_eq!(bare, furnished, "seed {seed}");
        assert_eq!(outcome.verdict, Verdict::Pass, "seed {seed}");
    }
}

#[test]
fn each_seed_is_another_storm() {
    let runs: Vec<Child> = (0..6).map(|seed| stormglass(seed).spawn().unwrap()).collect();
    let outcomes: Vec<Outcome> = runs.into_iter().map(|run| ended(run).1).collect();
    let hashes: BTreeSet<String> = outcomes.iter().map(|outcome| outcome.trace_hash.to_string()).collect();
    assert_eq!(hashes.len(), outcomes.len(), "{hashes:?}");
    // Not by a trifle: leaders are elected at other times.
    let elected: BTreeSet<_> = outcomes.iter().filter_map(|outcome| outcome.failovers[0].new_leader_at).collect();
    assert!(elected.len() > 3, "{elected:?}");
}

#[test]
fn a_traced_run_is_the_same_run() {
    let dir = tempfile::tempdir().unwrap();
    let traced = |name: &str| {
        let file = dir.path().join(name);
        let (line, outcome) = ended(stormglass(7).arg("--trace").arg(&file).spawn().unwrap());
        (line, outcome, text(&file))
    };
    let (plain, _) = ended(stormglass(7).spawn().unwrap());
    let (first, outcome, trace) = traced("first");
    let (second, _, again) = traced("second");
    assert_eq!((&plain, &plain), (&first, &second));
    assert_eq!(trace.lines().count() as u64, outcome.events);
    let differs = trace.lines().zip(again.lines()).position(|(a, b)| a != b);
    assert_eq!((differs, trace.len()), (None, again.len()));
}

#[expect(clippy::disallowed_methods, reason = "a trace is a file on the real disk")]
fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
