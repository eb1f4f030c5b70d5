//! The first difference of two traces, with what led to it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead};

/// Where two traces part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Ordinal of the first event that differs, from 1.
    pub ordinal: u64,
    /// The last common events, oldest first.
    pub before: Vec<String>,
    /// The event of the first trace; none if it ended.
    pub left: Option<String>,
    /// The event of the second trace; none if it ended.
    pub right: Option<String>,
}

/// Compares two traces line by line, keeping `context` common lines. None if they are equal.
///
/// # Errors
/// When reading fails.
pub fn first_difference(left: impl BufRead, right: impl BufRead, context: usize) -> io::Result<Option<Difference>> {
    let (mut left, mut right) = (left.lines(), right.lines());
    let mut before = VecDeque::with_capacity(context + 1);
    for ordinal in 1.. {
        match (left.next().transpose()?, right.next().transpose()?) {
            (None, None) => break,
            (Some(l), Some(r)) if l == r => {
                before.push_back(l);
                if before.len() > context {
                    before.pop_front();
                }
            }
            (left, right) => return Ok(Some(Difference { ordinal, before: before.into(), left, right })),
        }
    }
    Ok(None)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "first difference at event {}:", self.ordinal)?;
        for line in &self.before {
            writeln!(f, "    {line}")?;
        }
        let side = |line: &Option<String>| line.clone().unwrap_or_else(|| "(the trace ends here)".into());
        writeln!(f, "  - {}", side(&self.left))?;
        write!(f, "  + {}", side(&self.right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(left: &str, right: &str) -> Option<Difference> {
        first_difference(left.as_bytes(), right.as_bytes(), 2).unwrap()
    }

    #[test]
    fn equal_traces_have_none() {
        assert_eq!(diff("a\nb\n", "a\nb\n"), None);
        assert_eq!(diff("", ""), None);
    }

    #[test]
    fn the_first_difference_comes_with_its_context() {
        let d = diff("a\nb\nc\nd\n", "a\nb\nc\nx\n").unwrap();
        assert_eq!((d.ordinal, d.before), (4, vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!((d.left.as_deref(), d.right.as_deref()), (Some("d"), Some("x")));
    }

    #[test]
    fn a_trace_that_ends_early_differs() {
        let d = diff("a\n", "a\nb\n").unwrap();
        assert_eq!((d.ordinal, d.left, d.right.as_deref()), (2, None, Some("b")));
    }
}
