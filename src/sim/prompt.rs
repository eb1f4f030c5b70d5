//! A story that asks what to do next, in place of a list of steps.
//!
//! Rule: whoever answers decides only what is asked. What becomes of it is the world's, so the same questions at the same
//! times under the same seed are the same run.

use std::time::Duration;

use super::outcome::Screen;
use super::scenario::Step;
use crate::base::SimTime;

/// Decides while the run goes on.
pub trait Prompt {
    /// What to do at `now`; none ends the story, and the world is healed, settled and judged.
    fn next(&mut self, now: SimTime) -> Option<Ask>;

    /// What came of the last [`Ask`]. It is not told where the run ended in the middle.
    fn answer(&mut self, now: SimTime, answer: Answer);
}

/// What may be asked of a running world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Do what a scenario's step does.
    Step(Step),
    /// Let at least so many events of the world happen.
    Events(u64),
    /// Tell the last events of the trace, at most so many.
    Trace(usize),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Time passed.
    Passed {
        /// Simulated time.
        took: Duration,
        /// Events of the world meanwhile.
        events: u64,
    },
    /// A command printed this.
    Screen(Screen),
    /// An expectation was looked at.
    Expected {
        /// Whether it came to hold.
        met: bool,
        /// Simulated time until then, or until it was given up.
        took: Duration,
    },
    /// A fault or a remedy acts, in the words of the trace.
    Fault(String),
    /// Events, oldest first.
    Trace(Vec<String>),
    /// It cannot be done now: why. Nothing happened but that time may have passed.
    Refused(String),
}
