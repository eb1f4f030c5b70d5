//! What a begun line may become: the prompt's words, and the faults after `fault`.

use super::line::Line;
use crate::sim::scenario::Fault;

/// Conditions that `until` and `expect` know.
const CONDITIONS: [&str; 6] = ["leader", "service", "live_workers", "snapshots_installed", "output", "within"];

/// Programs that a command begins with.
const PROGRAMS: [&str; 3] = ["kubectl", "goosefs", "alluxio"];

/// The whole lines that `begun` may become by its last word, sorted; empty where anything may follow.
pub fn complete(begun: &str) -> Vec<String> {
    let begun = begun.trim_start();
    let all = |before: &str, part: &str, words: &[&str], end: &str| {
        let mut lines: Vec<String> =
            words.iter().filter(|word| word.starts_with(part)).map(|word| format!("{before}{word}{end}")).collect();
        lines.sort();
        lines
    };
    let Some((word, rest)) = begun.split_once(' ') else {
        return all("", begun, &[Line::WORDS.as_slice(), PROGRAMS.as_slice()].concat(), "");
    };
    let rest = rest.trim_start();
    match word {
        "fault" => all("fault ", rest, &Fault::NAMES, ": "),
        "until" | "expect" => {
            let last = rest.rfind(',').map_or(0, |at| at + 1);
            let (before, part) = rest.split_at(last);
            let gap = if before.is_empty() { "" } else { " " };
            all(&format!("{word} {before}{gap}"), part.trim_start(), &CONDITIONS, ": ")
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenario::yaml::Document;
    use crate::sim::scenario::{Expect, Step};

    #[test]
    fn words_faults_and_conditions_are_completed() {
        for (begun, expected) in [
            ("h", vec!["help", "history"]),
            ("go", vec!["goosefs"]),
            ("fault kil", vec!["fault kill: "]),
            ("until lea", vec!["until leader: "]),
            ("until leader: present, wi", vec!["until leader: present, within: "]),
            ("fault kill: le", vec![]),
            ("save x", vec![]),
            ("zz", vec![]),
        ] {
            assert_eq!(complete(begun), expected, "{begun}");
        }
        assert_eq!(complete("fault ").len(), Fault::NAMES.len());
    }

    #[test]
    fn conditions_are_those_of_an_expectation() {
        for name in CONDITIONS {
            let text = format!("{{expect: {{{name}: {{}}}}}}");
            let error = Document::whole("x", text).parse::<Step>().err().map(|error| error.message).unwrap_or_default();
            assert!(!error.contains("unknown field"), "{name}: {error}");
        }
        let unknown = Document::whole("x", "{expect: {nothing: 1}}".into()).parse::<Step>();
        assert!(unknown.is_err_and(|error| error.message == "unknown field `nothing`"));
        assert!(Expect::default().is_empty());
    }
}
