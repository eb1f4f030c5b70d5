//! The command line from outside: exit codes, what goes to which stream, and that a pipe sees no colours.

#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::process::{Command, Output};

use stormglass::oracle::Verdict;
use stormglass::sim::outcome::Outcome;
use stormglass::world::engine::EngineKind;

fn stormglass(args: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "a test of the built program starts it")]
    let output = Command::new(env!("CARGO_BIN_EXE_stormglass")).args(args).output();
    output.expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn bad_input_exits_with_2_and_says_where() {
    for args in [
        &["run", "scenarios/none.yaml"][..],
        &["run", "scenarios"],
        &["run", "Cargo.toml"],
        &["run", "/dev/zero"],
        &["run", "scenarios/manifests/goosefs/runtime.yaml"],
        &["check", "scenarios/none.yaml"],
        &["run", "scenarios/goosefs-leader-crash.yaml", "--seeds", "5..5"],
        &["run", "scenarios/goosefs-leader-crash.yaml", "--seed", "x"],
        &["run", "scenarios/goosefs-leader-crash.yaml", "--trace", "/nowhere/trace"],
        &["list", "nowhere"],
        &["storm"],
        &[],
    ] {
        let output = stormglass(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
        assert!(!output.stderr.contains(&0x1b), "{args:?}: colours in a pipe");
    }
    let output = stormglass(&["run", "scenarios/manifests/goosefs/runtime.yaml"]);
    assert!(
        text(&output.stderr).contains(" --> scenarios/manifests/goosefs/runtime.yaml:1:1\n"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn json_is_one_outcome_and_the_exit_code_is_its_verdict_s() {
    let output = stormglass(&["run", "goosefs-leader-crash", "--seed", "0x7", "--format", "json", "--quiet"]);
    let outcome: Outcome = serde_json::from_slice(&output.stdout).expect("an outcome");
    assert_eq!((outcome.seed.0, outcome.scenario.as_str()), (7, "goosefs-leader-crash"));
    assert_eq!(output.status.code(), Some(i32::from(outcome.verdict.exit_code())));
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_last_line_of_a_report_is_the_trace_hash() {
    for quiet in [&[][..], &["--quiet"]] {
        let output = stormglass(&[&["run", "goosefs-leader-crash", "--seed", "7"], quiet].concat());
        let report = text(&output.stdout);
        let hash = report.lines().last().and_then(|line| line.strip_prefix("trace "));
        assert!(hash.is_some_and(|hash| hash.len() == 32), "{report}");
        assert!(!report.contains('\x1b'), "colours in a pipe");
        let declared = output.status.code() == Some(i32::from(Verdict::Pass.exit_code()));
        assert_eq!(report.contains("\nreproduce: "), !declared, "{report}");
    }
}

#[test]
fn every_scenario_in_the_folder_is_listed_and_sound() {
    let output = stormglass(&["list"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    for name in ["goosefs-leader-crash", "goosefs-cold-start", "planted/planted-standby-reads"] {
        assert!(text(&output.stdout).contains(&format!("scenarios/{name}.yaml\n")), "{name}");
    }
    assert!(!text(&output.stdout).contains("manifests"));
}

#[test]
fn the_readme_has_the_table_of_engines() {
    let table = stormglass::report::engines::capabilities();
    let output = stormglass(&["engines"]);
    assert!(text(&output.stdout).starts_with(&table));
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("```text\n{table}```\n")), "paste this into the README:\n{table}");
}

#[test]
fn an_engine_that_is_not_built_is_refused_with_what_to_do() {
    for kind in EngineKind::ALL.into_iter().filter(|kind| kind.available().is_err()) {
        for command in [&["run"][..], &["check"], &["compare", "--engines"]] {
            let option = if command.len() == 1 { "--engine" } else { "--seeds=0..1" };
            let last = if command.len() == 1 { vec![option, kind.name()] } else { vec![kind.name(), option] };
            let output = stormglass(&[&[command[0], "goosefs-leader-crash"], &command[1..], &last].concat());
            assert_eq!(output.status.code(), Some(2), "{command:?}");
            assert!(text(&output.stderr).contains(&kind.available().unwrap_err().to_string()), "{command:?}");
        }
    }
    assert_eq!(stormglass(&["run", "goosefs-leader-crash", "--engine", "tokio"]).status.code(), Some(2));
}

#[test]
fn the_schema_command_prints_the_stored_schema() {
    let output = stormglass(&["schema"]);
    assert_eq!(text(&output.stdout), include_str!("../../scenarios/schema.json"));
}
