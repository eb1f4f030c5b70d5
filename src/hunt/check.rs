//! Two runs of one seed: are they the same run?
//!
//! Hashes decide; traces, where they were kept, show the first difference. The outcomes are compared too, because what a
//! report says must not depend on the machine either.

use std::fmt;
use std::io::{self, BufRead};

use crate::oracle::meta::determinism;
use crate::oracle::{RunRecord, Violation};
use crate::sim::outcome::Outcome;
use crate::trace::diff::{Difference, first_difference};

/// Common events that are shown before the first difference.
pub const CONTEXT: usize = 12;

/// How two runs of one seed differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The traces differ.
    Trace {
        /// Where they part; none if the traces are equal and only the hashes differ, which is our bug.
        difference: Option<Difference>,
    },
    /// The traces agree and the outcomes do not.
    Outcome {
        /// The first fields that differ, as JSON.
        field: String,
        /// Of the first run.
        left: String,
        /// Of the second run.
        right: String,
    },
}

/// Compares two runs of one seed; none if they are the same.
///
/// # Errors
/// When a trace cannot be read.
pub fn compare(
    left: (&Outcome, impl BufRead),
    right: (&Outcome, impl BufRead),
    context: usize,
) -> io::Result<Option<Mismatch>> {
    let ((left, left_trace), (right, right_trace)) = (left, right);
    let difference = first_difference(left_trace, right_trace, context)?;
    if left.trace_hash != right.trace_hash || difference.is_some() {
        return Ok(Some(Mismatch::Trace { difference }));
    }
    Ok(differing_field(left, right))
}

/// The first field of the outcomes that differs, the path left out: it is how the user called the file.
fn differing_field(left: &Outcome, right: &Outcome) -> Option<Mismatch> {
    let fields = |outcome: &Outcome| match serde_json::to_value(outcome) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (left, right) = (fields(left), fields(right));
    let differs = |name: &&String| name.as_str() != "path" && left.get(*name) != right.get(*name);
    let field = left.keys().chain(right.keys()).find(differs)?;
    let text = |fields: &serde_json::Map<String, serde_json::Value>| {
        fields.get(field).map_or_else(|| "nothing".to_string(), ToString::to_string)
    };
    Some(Mismatch::Outcome { field: field.clone(), left: text(&left), right: text(&right) })
}

/// M1 over two runs of one seed: what the oracle says of them and of how they were found to differ.
pub fn judged(left: &Outcome, right: &Outcome, mismatch: Option<&Mismatch>) -> Vec<Violation> {
    let record = RunRecord {
        seed: left.seed.0,
        trace_hashes: vec![left.trace_hash.0, right.trace_hash.0],
        trace_difference: mismatch.map(ToString::to_string),
        ..RunRecord::default()
    };
    determinism(&record).violations
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trace { difference: Some(difference) } => write!(f, "{difference}"),
            Self::Trace { difference: None } => f.write_str("every line of the traces is equal, their hashes are not"),
            Self::Outcome { field, left, right } => {
                write!(f, "the traces are equal, but `{field}` of the outcomes differs\n  - {left}\n  + {right}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::outcome::tests::sample;
    use crate::trace::Digest;

    fn compared(left: (&Outcome, &str), right: (&Outcome, &str)) -> Option<Mismatch> {
        compare((left.0, left.1.as_bytes()), (right.0, right.1.as_bytes()), 1).expect("readable")
    }

    #[test]
    fn equal_runs_are_the_same_whatever_the_path_was_called() {
        let elsewhere = Outcome { path: "/tmp/story.yaml".into(), ..sample() };
        assert_eq!(compared((&sample(), "a\n"), (&elsewhere, "a\n")), None);
        assert_eq!(judged(&sample(), &elsewhere, None), []);
    }

    #[test]
    fn the_first_differing_event_is_shown_with_context() {
        let other = Outcome { trace_hash: Digest(43), ..sample() };
        let mismatch = compared((&sample(), "a\nb\nc\n"), (&other, "a\nb\nd\n"));
        let found = judged(&sample(), &other, mismatch.as_ref());
        assert_eq!(found.iter().map(Violation::name).collect::<Vec<_>>(), ["TraceDiffers"]);
        let text = found[0].to_string();
        assert!(text.contains(&format!("{} and {}", sample().trace_hash, other.trace_hash)), "{text}");
        assert!(text.contains("first difference at event 3:\n    b\n  - c\n  + d"), "{text}");
    }

    #[test]
    fn equal_hashes_do_not_hide_unequal_traces_nor_equal_traces_unequal_hashes() {
        assert!(compared((&sample(), "a\n"), (&sample(), "b\n")).is_some());
        let other = Outcome { trace_hash: Digest(43), ..sample() };
        assert!(matches!(compared((&sample(), "a\n"), (&other, "a\n")), Some(Mismatch::Trace { difference: None })));
    }

    #[test]
    fn outcomes_that_differ_under_equal_traces_are_found() {
        let other = Outcome { events: 1, ..sample() };
        assert!(matches!(
            compared((&sample(), "a\n"), (&other, "a\n")),
            Some(Mismatch::Outcome { field, .. }) if field == "events"
        ));
    }
}
