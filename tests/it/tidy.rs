//! The rules of the source tree that no compiler checks: who imports whom, what a file looks like, what belongs together.
//!
//! A finding points at `file:line` and says what to do. The rules are plain functions over text ([`rules`], [`pairs`]), each
//! with a small hand-made text that it must refuse. What clippy refuses already is not repeated here, except where a rule
//! must hold in files that are exempt from clippy's.
#![expect(clippy::disallowed_methods, reason = "this test reads the source tree")]

use std::fmt;
use std::path::Path;

mod code;

mod rules;

mod pairs;

use code::Source;

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1.
    line: usize,
    /// What is wrong and what to do.
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// The paths of all files below `dir`, with `/` between the names, sorted.
fn walk(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_string()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(Path::new(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// All Rust files of the project.
fn sources() -> Vec<Source> {
    let paths = ["src", "tests", "benches"].into_iter().flat_map(walk);
    let rust = paths.filter(|path| path.ends_with(".rs"));
    rust.map(|path| Source::new(&path, &std::fs::read_to_string(&path).unwrap())).collect()
}

/// Every file kept the rule.
fn hold(rule: impl Fn(&Source) -> Vec<Finding>) {
    let sources = sources();
    assert!(sources.len() > 200, "only {} files were found: run from the project's root", sources.len());
    none(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

fn none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn layers_import_only_from_the_left() {
    hold(rules::imports);
}

#[test]
fn outside_crates_come_in_by_their_door() {
    hold(rules::doors);
}

#[test]
fn files_begin_with_what_they_are() {
    hold(rules::header);
}

#[test]
fn files_are_short() {
    hold(rules::length);
}

#[test]
fn words_that_do_not_belong() {
    hold(rules::words);
}

#[test]
fn only_the_command_line_prints() {
    hold(rules::prints);
}

#[test]
fn exemptions_say_why() {
    hold(rules::exemptions);
}

#[test]
fn every_file_is_part_of_the_build() {
    none(&pairs::orphans(&sources()));
}

#[test]
fn every_dependency_is_used() {
    none(&pairs::dependencies(&std::fs::read_to_string("Cargo.toml").unwrap(), &sources()));
}

#[test]
fn every_scenario_has_its_snapshot() {
    let sources = sources();
    none(&pairs::snapshots(&walk("scenarios"), &walk("snapshots"), &sources));
}

#[test]
fn every_violation_is_shown_to_bite() {
    let planted =
        walk("scenarios/planted").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>();
    none(&pairs::violations(&sources(), &planted));
}

/// Not a rule: the files that may soon want two rooms. `.ci/run` prints them.
#[test]
#[expect(clippy::disallowed_macros, reason = "a list for people, captured unless asked for")]
fn long_files() {
    let sources = sources();
    let mut long: Vec<_> = sources.iter().map(|s| (s.lines(), &s.path)).filter(|(n, _)| *n > rules::LONG).collect();
    long.sort_by(|a, b| b.cmp(a));
    long.iter().for_each(|(lines, path)| println!("{lines:>5} {path}"));
    assert!(long.len() * 20 < sources.len(), "one file in twenty is longer than {} lines", rules::LONG);
}
