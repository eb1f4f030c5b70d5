//! Steps that somebody asks for while the run goes on.

use std::time::Duration;

use super::{End, SLICE, Story};
use crate::sim::prompt::{Answer, Ask, Prompt};
use crate::sim::scenario::Step;
use crate::trace::Kind;

/// The finest time between two looks at how many events there were.
const FINEST: Duration = Duration::from_micros(1);
/// Events are waited for at most for this long: a world may have come to rest.
const EVENTS_WITHIN: Duration = Duration::from_secs(60);

impl Story<'_> {
    /// Does what it is asked until nothing more is.
    pub(super) fn prompted(&mut self, prompt: &mut dyn Prompt) -> Result<(), End> {
        while let Some(ask) = prompt.next(self.now()) {
            let answer = match ask {
                Ask::Step(step) => self.asked_step(&step)?,
                Ask::Events(count) => self.pass_events(count)?,
                Ask::Trace(count) => {
                    let recent = self.lab.world.recent();
                    let last = recent.iter().skip(recent.len().saturating_sub(count));
                    Answer::Trace(last.map(ToString::to_string).collect())
                }
            };
            prompt.answer(self.now(), answer);
        }
        Ok(())
    }

    fn asked_step(&mut self, step: &Step) -> Result<Answer, End> {
        let (since, before) = (self.now(), self.lab.world.events());
        self.lab.world.record(None, Kind::Harness { what: "step", text: step.to_string() });
        match self.step(step) {
            // A scenario cannot go on without its step; whoever sits at a prompt can.
            Err(End::Stuck(why)) => return Ok(Answer::Refused(why)),
            other => other?,
        }
        let took = self.now().since(since);
        let passed = Answer::Passed { took, events: self.lab.world.events() - before };
        Ok(match step {
            Step::Wait(_) => passed,
            Step::Run(_) => self.outcome.screens.last().cloned().map_or(passed, Answer::Screen),
            Step::Expect(_) => {
                let met = self.goals.last().is_some_and(|goal| goal.reached > 0);
                Answer::Expected { met, took }
            }
            Step::Fault(_) => self.last_fault().map_or(passed, Answer::Fault),
        })
    }

    /// What the trace says of the last fault.
    fn last_fault(&self) -> Option<String> {
        self.lab.world.recent().into_iter().rev().find_map(|event| match event.kind {
            Kind::Harness { what: "fault", text } => Some(text),
            _ => None,
        })
    }

    /// Lets time pass in slices that are short where much happens, until there were `count` more events.
    fn pass_events(&mut self, count: u64) -> Result<Answer, End> {
        let (since, before) = (self.now(), self.lab.world.events());
        let (enough, end) = (before.saturating_add(count), since + EVENTS_WITHIN);
        let mut slice = FINEST;
        while self.lab.world.events() < enough && self.now() < end {
            let seen = self.lab.world.events();
            self.advance(self.now() + slice)?;
            let quiet = self.lab.world.events() == seen;
            slice = if quiet { (slice * 2).min(SLICE) } else { (slice / 2).max(FINEST) };
        }
        Ok(Answer::Passed { took: self.now().since(since), events: self.lab.world.events() - before })
    }
}
