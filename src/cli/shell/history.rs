//! What was typed, and the scenario that does the same.
//!
//! Rule: a saved scenario tells the same story. Events and open ends become the time that they took, in whole
//! milliseconds, rounded up.

use std::time::Duration;

use super::line::Line;
use crate::sim::scenario::yaml::Document;
use crate::sim::scenario::{Span, Spec, Step};

/// Why nothing was saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// Nothing happened yet.
    #[error("nothing was done yet that a scenario could do; let time pass or type a command first")]
    Empty,
    /// The scenario cannot be written, or not be read again as it was.
    #[error("the scenario cannot be written as a file: {0}")]
    Form(String),
}

/// The lines of a session and the steps that they were.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct History {
    lines: Vec<String>,
    steps: Vec<Step>,
}

impl History {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a line that was done, and what it did to the story. `took` is the simulated time that passed meanwhile.
    pub fn add(&mut self, text: &str, line: &Line, took: Duration) {
        let text = text.trim();
        if !text.is_empty() && self.lines.last().map(String::as_str) != Some(text) {
            self.lines.push(text.to_owned());
        }
        match line {
            Line::Events(_) | Line::Pass(_) => self.wait(took),
            Line::Until(expect) => {
                let within = expect.within.unwrap_or_else(|| Span(whole(took)));
                let mut expect = expect.clone();
                expect.within = Some(within).filter(|span| *span != Span::default());
                self.steps.push(Step::Expect(expect));
            }
            Line::Do(step) => self.steps.push(step.clone()),
            Line::Nothing | Line::Trace(_) | Line::History | Line::Save(_) | Line::Help | Line::Quit => {}
        }
    }

    /// Waits one after another are one.
    fn wait(&mut self, took: Duration) {
        let more = whole(took);
        match self.steps.last_mut() {
            _ if more.is_zero() => {}
            Some(Step::Wait(span)) => span.0 = span.0.saturating_add(more),
            _ => self.steps.push(Step::Wait(Span(more))),
        }
    }

    /// Lines in the order of typing, without repetitions in a row.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// What was done, as a scenario does it.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The scenario `base` with what was done in place of its steps, under another name, as a file's text.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn scenario(&self, base: &Spec, name: &str) -> Result<String, SaveError> {
        if self.steps.is_empty() {
            return Err(SaveError::Empty);
        }
        let spec = Spec { name: name.to_owned(), steps: self.steps.clone(), ..base.clone() };
        let text = serde_saphyr::to_string(&spec).map_err(|error| SaveError::Form(error.to_string()))?;
        let again: Spec =
            Document::whole(name, text.clone()).parse().map_err(|error| SaveError::Form(error.message))?;
        if again == spec { Ok(text) } else { Err(SaveError::Form("it reads back as another".into())) }
    }
}

/// Whole milliseconds, rounded up.
fn whole(time: Duration) -> Duration {
    let ms = time.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = include_str!("../../../scenarios/goosefs-leader-crash.yaml");

    fn base() -> Spec {
        Document::whole("base", BASE.into()).parse().expect("legal")
    }

    fn typed(lines: &[(&str, u64)]) -> History {
        let mut history = History::new();
        for (text, micros) in lines {
            let line = Line::parse(text).expect(text);
            history.add(text, &line, Duration::from_micros(*micros));
        }
        history
    }

    #[test]
    fn a_saved_session_is_a_scenario_with_its_steps() {
        let history = typed(&[
            ("run 20s", 20_000_000),
            ("step 3", 1_200),
            ("step", 0),
            ("help", 0),
            ("goosefs fs masterInfo", 70_000),
            ("fault kill: leader", 0),
            ("until leader: changed", 4_000_100),
            ("until service: available, within: 60s", 100),
            ("expect live_workers: 3", 0),
        ]);
        let shown: Vec<String> = history.steps().iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], "wait 20s2ms");
        assert_eq!(shown[1], "run goosefs fs masterInfo");
        assert_eq!(shown[3], "expect another leader within 4s1ms");
        assert_eq!(shown[4], "expect service within 1m");
        assert_eq!(shown[5], "expect 3 live workers");
        let text = history.scenario(&base(), "my-own").expect("can be saved");
        let again: Spec = Document::whole("again", text).parse().expect("legal");
        assert_eq!((again.name.as_str(), again.steps.as_slice()), ("my-own", history.steps()));
        assert_eq!(again.nodes, base().nodes);
    }

    #[test]
    fn what_is_only_looked_at_is_no_story() {
        let history = typed(&[("trace", 0), ("history", 0), ("history", 0), ("# x", 0), ("", 0)]);
        assert_eq!(history.lines(), ["trace", "history", "# x"]);
        assert_eq!(history.scenario(&base(), "empty"), Err(SaveError::Empty));
    }

    #[test]
    fn a_condition_that_holds_at_once_waits_for_nothing() {
        let history = typed(&[("until leader: present", 0)]);
        let [Step::Expect(expect)] = history.steps() else { panic!("one step") };
        assert_eq!(expect.within, None);
    }
}
