//! The command line from outside: exit codes, what goes to which stream, and that a pipe sees no colours.

#![expect(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

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

/// Types lines into `stormglass shell`.
fn typed(args: &[&str], lines: &[&str]) -> Output {
    #[expect(clippy::disallowed_methods, reason = "a test of the built program starts it")]
    let mut child = Command::new(env!("CARGO_BIN_EXE_stormglass"))
        .arg("shell")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_session_at_the_prompt_is_judged_and_saved_as_a_scenario() {
    let saved = format!("{}/a-session.yaml", env!("CARGO_TARGET_TMPDIR"));
    #[expect(clippy::disallowed_methods, reason = "left by an earlier test")]
    let _ = std::fs::remove_file(&saved);
    let save = format!("save {saved}");
    let lines = [
        "# a first look",
        "kubectl get pod",
        "run 10s",
        "fault kill: nowhere",
        "fault kill: leader",
        "until leader: changed, within: 60s",
        "nonsense",
        "trace 3",
        "goosefs fs masterInfo",
        "run 30s",
        &save,
        &save,
        "history",
        "fault ki\t",
        "quit",
        "run 10s",
    ];
    let output = typed(&["goosefs-on-kubernetes", "--seed", "3"], &lines);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for part in [
        "hbase-master-0",
        " 10.000 s passed, ",
        "kill leader on hbase-master-",
        " so it is, after ",
        "current leader master: hbase-master-",
        "a-session.yaml: ",
        "    2  kubectl get pod\n",
        "fault kill: \n",
        "goosefs-on-kubernetes, seed 3: pass\n",
    ] {
        assert!(out.contains(part), "{part}\n{out}\n{err}");
    }
    assert!(!out.contains("stormglass [") && !out.contains('\x1b'), "no prompt on a pipe: {out}");
    assert_eq!(err.matches("error: ").count(), 2, "{err}");
    assert!(err.contains("nowhere") && err.contains("nonsense"), "{err}");
    let again = stormglass(&["run", &saved, "--seed", "3", "--quiet"]);
    assert_eq!(again.status.code(), Some(0), "{}{}", text(&again.stdout), text(&again.stderr));
    // Waits and commands at the same times: not only the same story, the same run.
    assert_eq!(text(&again.stdout).lines().last(), out.lines().last());
}

#[test]
fn a_session_that_misses_what_it_asked_for_exits_as_a_run_does() {
    let lines =
        ["step 5", "fault kill: leader", "until live_workers: 0, within: 2s", "save Cargo.toml", "kubectl get pod"];
    let output = typed(&["goosefs-leader-crash", "--seed", "5", "--quiet"], &lines);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(i32::from(Verdict::Vacuous.exit_code())), "{out}\n{err}");
    assert!(out.contains(" not so, after 2.000 s\n") && out.contains(" events\n"), "{out}");
    assert!(out.contains("\nreproduce: type the same lines with the same seed"), "{out}");
    assert!(err.contains("Cargo.toml is there already") && err.contains("kubectl without Kubernetes"), "{err}");
    assert_eq!(typed(&["none"], &[]).status.code(), Some(2));
}
