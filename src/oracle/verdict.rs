//! How a run ended, in one word, with a stable exit code.
//!
//! | code | verdict |
//! |---|---|
//! | 0 | pass |
//! | 10 | safety violation |
//! | 11 | liveness violation |
//! | 12 | expected unavailability: beyond the fault budget, and nothing lost |
//! | 13 | vacuous: a fault without effect, a goal not reached, or nothing to judge |
//! | 14 | nondeterministic: two runs of one seed differ |
//! | 15 | crash: a process or the harness panicked |
//! | 16 | over budget: the run or an oracle's search was cut short, so nobody knows |
//! | 17 | skipped: the engine cannot do a fault of the scenario, and nothing else went wrong |
//!
//! Code 1 stays with the operating system's ways to die, 2 with bad input.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The one word. Where several apply the first of safety, crash, nondeterministic, over budget, liveness, vacuous wins:
/// a broken promise stays broken whatever else happened, and a run cut short says nothing about liveness. A run that is
/// vacuous for want of a skipped fault is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every promise was kept.
    Pass,
    /// Something happened that must never happen.
    Safety,
    /// Something did not happen in time.
    Liveness,
    /// Unavailable as it should be, and nothing lost.
    ExpectedUnavailability,
    /// The run proves nothing.
    Vacuous,
    /// Two runs of one seed differ.
    Nondeterministic,
    /// A panic.
    Crash,
    /// Cut short.
    OverBudget,
    /// Kept every promise without a fault that the engine cannot do.
    Skipped,
}

impl Verdict {
    /// All that are not a plain pass, the gravest first: of several, the first names the run, and the sweep.
    pub const GRAVEST_FIRST: [Self; 8] = [
        Self::Safety,
        Self::Crash,
        Self::Nondeterministic,
        Self::OverBudget,
        Self::Liveness,
        Self::Vacuous,
        Self::Skipped,
        Self::ExpectedUnavailability,
    ];

    /// All of them, by exit code.
    pub const ALL: [Self; 9] = [
        Self::Pass,
        Self::Safety,
        Self::Liveness,
        Self::ExpectedUnavailability,
        Self::Vacuous,
        Self::Nondeterministic,
        Self::Crash,
        Self::OverBudget,
        Self::Skipped,
    ];

    /// The process exit code; stable.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Safety => 10,
            Self::Liveness => 11,
            Self::ExpectedUnavailability => 12,
            Self::Vacuous => 13,
            Self::Nondeterministic => 14,
            Self::Crash => 15,
            Self::OverBudget => 16,
            Self::Skipped => 17,
        }
    }

    /// Whether the system behaved as it should and the run shows it.
    pub const fn good(self) -> bool {
        matches!(self, Self::Pass | Self::ExpectedUnavailability)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Safety => "safety violation",
            Self::Liveness => "liveness violation",
            Self::ExpectedUnavailability => "expected unavailability",
            Self::Vacuous => "vacuous",
            Self::Nondeterministic => "nondeterministic",
            Self::Crash => "crash",
            Self::OverBudget => "over budget",
            Self::Skipped => "skipped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_distinct_and_leave_one_and_two_alone() {
        let mut codes: Vec<u8> = Verdict::ALL.iter().map(|v| v.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, [0, 10, 11, 12, 13, 14, 15, 16, 17]);
    }
}
