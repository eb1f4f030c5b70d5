//! Rules about what belongs together: a file and its `mod` line, a scenario and its snapshot, a violation and its proof.

use super::Finding;
use super::code::Source;

fn finding(path: &str, line: usize, what: String) -> Finding {
    Finding { path: path.into(), line, what }
}

/// Files that no `mod` line reaches: they are never compiled.
pub fn orphans(sources: &[Source]) -> Vec<Finding> {
    let declared = |parent: &str, name: &str| {
        let parent = sources.iter().find(|source| source.path == parent);
        parent.is_some_and(|parent| !parent.find(&format!("mod {name};")).is_empty())
    };
    // Benches share files by `#[path]`, from the folder of the file that says it.
    let by_path = |path: &str| {
        sources.iter().filter_map(|source| Some((source, source.path.rsplit_once('/')?.0))).any(|(source, folder)| {
            let rest = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| source.text.contains(&format!("#[path = \"{rest}\"]")))
        })
    };
    let alone = |source: &&Source| {
        let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let Some((folder, name)) = path.rsplit_once('/') else { return false };
        let root = matches!(folder, "tests" | "benches") || matches!(name, "main" | "lib");
        let parents = ["/main.rs", "/lib.rs", "/mod.rs", ".rs"].map(|end| format!("{folder}{end}"));
        !root && !parents.iter().any(|parent| declared(parent, name)) && !by_path(&source.path)
    };
    let what = "no `mod` line names it: declare it or remove it";
    sources.iter().filter(alone).map(|source| finding(&source.path, 1, what.into())).collect()
}

/// Dependencies that no code names.
pub fn dependencies(manifest: &str, sources: &[Source]) -> Vec<Finding> {
    let mut section = "";
    let mut found = Vec::new();
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            section = line;
        }
        let Some((name, _)) = line.split_once(" = ").filter(|_| section.ends_with("dependencies]")) else { continue };
        let path = format!("{}::", name.replace('-', "_"));
        let of_tests = section.contains("dev-");
        let mut users = sources.iter().filter(|source| of_tests || source.path.starts_with("src/"));
        if !users.any(|source| !source.find(&path).is_empty()) {
            found.push(finding("Cargo.toml", number + 1, format!("nothing uses `{name}`: remove it")));
        }
    }
    found
}

/// Scenarios without a snapshot, and snapshots of nothing.
pub fn snapshots(scenarios: &[String], snapshots: &[String], sources: &[Source]) -> Vec<Finding> {
    let runs = |path: &&String| path.ends_with(".yaml") && !path.contains("/manifests/");
    let mirror = |path: &String| format!("snapshots/{}.snap", path.trim_end_matches(".yaml"));
    let mut found = Vec::new();
    for scenario in scenarios.iter().filter(runs).filter(|path| !snapshots.contains(&mirror(path))) {
        let what = format!("{} is missing: run the test and accept its snapshot", mirror(scenario));
        found.push(finding(scenario, 1, what));
    }
    let asserted = |name: &str| {
        let call = format!("assert_snapshot!(\"{name}\"");
        sources.iter().any(|source| source.text.contains(&call))
    };
    for snapshot in snapshots {
        let Some(path) = snapshot.strip_suffix(".snap") else {
            found.push(finding(snapshot, 1, "no snapshot: accept it or remove it".into()));
            continue;
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        let known = if path.starts_with("snapshots/scenarios/") {
            scenarios.iter().filter(runs).any(|scenario| mirror(scenario) == *snapshot)
        } else {
            asserted(name)
        };
        if !known {
            found.push(finding(snapshot, 1, "nothing compares with it: remove it".into()));
        }
    }
    found
}

/// The variants of the enum `Violation`, with their lines.
fn variants(source: &Source) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut depth = 0;
    let body = source.code.lines().enumerate().skip_while(|(_, line)| !line.starts_with("pub enum Violation {"));
    for (number, line) in body {
        let name = line.trim().split([' ', ',', '{', '(']).next().unwrap_or_default();
        if depth == 1 && name.starts_with(char::is_uppercase) {
            found.push((number + 1, name));
        }
        depth += line.matches('{').count();
        depth -= line.matches('}').count();
        if depth == 0 {
            break;
        }
    }
    found
}

/// Violations that neither a test of the oracles nor a planted bug shows.
pub fn violations(sources: &[Source], planted: &str) -> Vec<Finding> {
    let Some(home) = sources.iter().find(|source| source.path == "src/oracle/violation.rs") else {
        return vec![finding("src/oracle/violation.rs", 1, "the violations are not where this test looks".into())];
    };
    let all = variants(home);
    let shown = |name: &str| {
        let named = [format!("Violation::{name}"), format!("\"{name}\"")];
        let oracles = sources.iter().filter(|source| source.path.starts_with("src/oracle/"));
        let in_tests = oracles.map(Source::tests).any(|tests| named.iter().any(|name| tests.contains(name)));
        in_tests || planted.split(|c: char| !c.is_alphanumeric()).any(|word| word == name)
    };
    let what = |name: &str| format!("nothing shows that `{name}` is found: plant a bug or write a test of its oracle");
    let mut found: Vec<Finding> = all
        .iter()
        .filter(|(_, name)| !shown(name))
        .map(|(line, name)| finding(&home.path, *line, what(name)))
        .collect();
    if all.is_empty() {
        found.push(finding(&home.path, 1, "no variant of `Violation` was found".into()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(found: &[Finding]) -> Vec<&str> {
        found.iter().map(|finding| finding.path.as_str()).collect()
    }

    #[test]
    fn files_that_nobody_declares_are_found() {
        let text = |path: &str, text: &str| Source::new(path, text);
        let sources = [
            text("src/lib.rs", "pub mod base;"),
            text("src/main.rs", ""),
            text("src/base/mod.rs", "mod ids;\n// mod lost;"),
            text("src/base/ids.rs", "mod part;"),
            text("src/base/ids/part.rs", ""),
            text("src/base/lost.rs", ""),
            text("src/late/mod.rs", ""),
            text("tests/scenarios.rs", ""),
            text("tests/it/main.rs", "mod cli;"),
            text("tests/it/cli.rs", ""),
            text("tests/it/gone.rs", ""),
            text("benches/steps.rs", "#[path = \"common/time.rs\"]\nmod common;"),
            text("benches/common/time.rs", ""),
            text("benches/common/space.rs", ""),
        ];
        let alone = ["src/base/lost.rs", "src/late/mod.rs", "tests/it/gone.rs", "benches/common/space.rs"];
        assert_eq!(paths(&orphans(&sources)), alone);
    }

    #[test]
    fn dependencies_that_nobody_uses_are_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na-b = \"1\"\nc = { version = \"1\" }\n[dev-dependencies]\n\
                        d = \"1\"\nb = \"1\"\n[profile.dev]\nz = 1\n";
        let sources = [Source::new("src/x.rs", "use a_b::X; // b::Y"), Source::new("tests/x.rs", "c::f(); d::f();")];
        let lines: Vec<usize> = dependencies(manifest, &sources).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [5, 8]);
    }

    #[test]
    fn scenarios_and_snapshots_without_each_other_are_found() {
        let list = |paths: &[&str]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
        let scenarios =
            list(&["scenarios/a.yaml", "scenarios/in/b.yaml", "scenarios/manifests/x/m.yaml", "scenarios/schema.json"]);
        let good = list(&["snapshots/scenarios/a.snap", "snapshots/scenarios/in/b.snap", "snapshots/report/run.snap"]);
        let sources = [Source::new("src/report/run.rs", "insta::assert_snapshot!(\"run\", text);")];
        assert_eq!(paths(&snapshots(&scenarios, &good, &sources)), [""; 0]);
        assert_eq!(paths(&snapshots(&scenarios, &good[1..], &sources)), ["scenarios/a.yaml"]);
        assert_eq!(paths(&snapshots(&scenarios[1..], &good, &sources)), ["snapshots/scenarios/a.snap"]);
        assert_eq!(paths(&snapshots(&scenarios, &good, &[])), ["snapshots/report/run.snap"]);
        let pending = [&good[..], &list(&["snapshots/scenarios/a.snap.new"])].concat();
        assert_eq!(paths(&snapshots(&scenarios, &pending, &sources)), ["snapshots/scenarios/a.snap.new"]);
    }

    #[test]
    fn violations_that_nothing_shows_are_found() {
        let text = "pub enum Violation {\n    /// One.\n    A,\n    B { Field: u8 },\n    C {\n        x: u8,\n    },\n    D(u8),\n}\n\
                    impl Violation {\n    E\n}\n#[cfg(test)]\nmod tests { const X: &str = \"A\"; }";
        let home = || Source::new("src/oracle/violation.rs", text);
        assert_eq!(variants(&home()), [(3, "A"), (4, "B"), (5, "C"), (8, "D")]);
        let tests = Source::new("src/oracle/x.rs", "Violation::C\n#[cfg(test)]\nmod tests { Violation::B }");
        let found = violations(&[home(), tests], "verdict: {violation: [D, DD]}");
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [5]);
        assert_eq!(violations(&[], "").len(), 1);
    }
}
