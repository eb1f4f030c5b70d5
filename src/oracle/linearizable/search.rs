//! Placing unknown outcomes among the answers, by search.
//!
//! The answers stand in the journal's order; each change of unknown outcome goes before one of them, or nowhere. After Wing
//! and Gong (1993) with Lowe's memoisation (2017): depth first, remembering failed states. Three things keep it near
//! linear. A change is placed as late as it can be: only right before an answer that it, or another candidate with it, does
//! not commute with. "Nowhere yet" is tried first. A dead end jumps back over choices whose group cannot bear on it.

use std::collections::{BTreeMap, BTreeSet};

use super::components::Components;
use super::diagnose::{Evidence, explain};
use super::footprint::{Solid, Whereabouts, reads, touches, writes};
use super::order::{Sorted, external};
use crate::base::seed::mix;
use crate::oracle::history::Operation;
use crate::oracle::model::Model;
use crate::oracle::record::Setup;
use crate::oracle::violation::Violation;

/// How a search ends.
#[derive(Debug)]
pub enum Placing {
    /// An order was found that explains every answer.
    Found {
        /// Steps taken, answers replayed and changes placed.
        steps: u64,
        /// Which changes of unknown outcome took effect, and before which answer.
        effects: Vec<(usize, u32)>,
    },
    /// There is none; the furthest contradiction.
    Impossible(Box<Violation>),
    /// The budget ran out first.
    Undecided(Box<Violation>),
}

/// How late a change of unknown outcome may take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Only until its client gave up: by far the usual case, and a small search. Finding an order so is finding one; finding
    /// none proves nothing.
    WhileAwaited,
    /// At any time after its invocation.
    AnyTime,
}

/// What a dead end says: the groups whose choices could have avoided it.
type Blame = BTreeSet<usize>;
/// Remembered failures: position, state, changes used.
type Failed = BTreeMap<(usize, u128, u64), Blame>;

struct Floating<'a> {
    ordinal: u32,
    op: &'a Operation,
    first: usize,
    last: usize,
    writes: Vec<(&'a str, usize)>,
    used: bool,
}

enum Choice {
    Go,
    Place(usize),
}

struct Frame {
    pos: usize,
    mark: usize,
    placed: usize,
    key: (usize, u128, u64),
    choices: Vec<Choice>,
    next: usize,
    blame: Blame,
}

/// The search over one history.
pub struct Search<'a> {
    sorted: &'a Sorted<'a>,
    history: &'a [&'a Operation],
    model: Model,
    floating: Vec<Floating<'a>>,
    groups: Components<'a>,
    /// Floating changes that do not commute with the answer at a position.
    direct: Vec<Vec<usize>>,
    /// The same among floating changes.
    among: Vec<Vec<usize>>,
    frames: Vec<Frame>,
    placed: Vec<(usize, usize)>,
    used: u64,
    failed: Failed,
    jump: bool,
    steps: u64,
    budget: u64,
    furthest: Option<(usize, Violation)>,
}

impl<'a> Search<'a> {
    /// Prepares the search. Operations that touch external paths must have been taken out of `sorted`.
    pub fn new(
        sorted: &'a Sorted<'a>,
        history: &'a [&'a Operation],
        places: &'a Whereabouts,
        setup: &Setup,
        reach: Window,
        budget: u64,
    ) -> Self {
        let solid = Solid::new(&sorted.placed, &sorted.floating, &setup.directories);
        let groups = Components::new(&sorted.placed, &sorted.floating, &solid, places);
        let mut floating: Vec<Floating<'a>> = sorted
            .floating
            .iter()
            .map(|(ordinal, op)| Floating::new(*ordinal, op, sorted, &solid, places, reach))
            .collect();
        let hits = |f: &Floating<'_>, pos: usize| {
            let p = &sorted.placed[pos];
            let by_read = reads(&p.op.call, places).iter().any(|(path, reach)| {
                f.writes.iter().any(|(written, until)| pos < *until && touches(written, path, *reach))
            });
            by_read
                || p.op.acked_change()
                    && reads(&f.op.call, places).iter().any(|(path, reach)| {
                        writes(&p.op.call, places).iter().any(|written| touches(written, path, *reach))
                    })
        };
        let mut direct: Vec<Vec<usize>> = vec![vec![]; sorted.placed.len()];
        for (i, f) in floating.iter_mut().enumerate() {
            let mut touched = (f.first..sorted.placed.len()).filter(|pos| hits(f, *pos)).collect::<Vec<_>>();
            // Placed as late as can be, it stands before the first answer past its window that it touches.
            let kept = touched.partition_point(|pos| *pos < f.last);
            touched.truncate(kept + 1);
            f.last = touched.get(kept).copied().unwrap_or(usize::MAX);
            touched.into_iter().for_each(|pos| direct[pos].push(i));
        }
        let among = floating
            .iter()
            .map(|a| (0..floating.len()).filter(|b| collide(a.op, floating[*b].op, places)).collect())
            .collect();
        Self {
            sorted,
            history,
            model: Model::new(setup),
            floating,
            groups,
            direct,
            among,
            frames: vec![],
            placed: vec![],
            used: 0,
            failed: BTreeMap::new(),
            jump: true,
            steps: 0,
            budget,
            furthest: None,
        }
    }

    /// Steps back one choice at a time, never over several: slower, and right even if the groups were wrong. For tests.
    #[cfg(test)]
    pub fn without_jumps(mut self) -> Self {
        self.jump = false;
        self
    }

    /// Runs to the end, or until the budget is used up.
    pub fn run(mut self) -> Placing {
        let mut pos = 0;
        while pos < self.sorted.placed.len() {
            if self.steps > self.budget {
                return self.undecided(pos);
            }
            let candidates = self.candidates(pos);
            let next = if candidates.is_empty() {
                match self.go(pos) {
                    Ok(()) => Some(pos + 1),
                    Err(blame) => self.back(blame),
                }
            } else {
                let key = (pos, self.model.hash(), self.used);
                match self.failed.get(&key).cloned() {
                    Some(blame) => self.back(blame),
                    None => {
                        let choices =
                            std::iter::once(Choice::Go).chain(candidates.into_iter().map(Choice::Place)).collect();
                        let (mark, placed) = (self.model.mark(), self.placed.len());
                        self.frames.push(Frame { pos, mark, placed, key, choices, next: 0, blame: Blame::new() });
                        self.forward()
                    }
                }
            };
            match next {
                Some(next) => pos = next,
                None => return self.impossible(),
            }
        }
        let ordinal = |i: usize| self.floating[i].ordinal;
        Placing::Found { steps: self.steps, effects: self.placed.iter().map(|(pos, i)| (*pos, ordinal(*i))).collect() }
    }

    fn impossible(self) -> Placing {
        match self.furthest {
            Some((_, violation)) => Placing::Impossible(Box::new(violation)),
            None => unreachable!("a dead end leaves its contradiction"),
        }
    }

    fn undecided(&self, pos: usize) -> Placing {
        let at = self.furthest.as_ref().map_or(pos, |f| f.0);
        Placing::Undecided(Box::new(Violation::Undecided {
            steps: self.steps,
            unknown: self.floating.len(),
            operation: Box::new(self.sorted.placed[at].op.clone()),
        }))
    }

    /// Unused changes worth trying before the answer at `pos`: those that do not commute with it, and those that do not
    /// commute with one of these.
    fn candidates(&self, pos: usize) -> Vec<usize> {
        let free = |i: &usize| {
            let f = &self.floating[*i];
            !f.used && (f.first..=f.last).contains(&pos)
        };
        let mut found: Vec<usize> = self.direct[pos].iter().copied().filter(free).collect();
        let mut at = 0;
        while at < found.len() {
            for other in self.among[found[at]].iter().filter(|i| free(i)) {
                if !found.contains(other) {
                    found.push(*other);
                }
            }
            at += 1;
        }
        // Most changes take effect soon after their invocation.
        found.sort_by_key(|i| std::cmp::Reverse(self.floating[*i].first));
        found
    }

    /// Replays the answer at `pos`.
    fn go(&mut self, pos: usize) -> Result<(), Blame> {
        self.steps += 1;
        let p = &self.sorted.placed[pos];
        let mark = self.model.mark();
        let Err(wrong) = self.model.step(&p.op.call, p.ordinal, p.index, p.answer) else { return Ok(()) };
        self.model.undo_to(mark);
        if self.furthest.as_ref().is_none_or(|(at, _)| *at < pos) {
            let evidence = Evidence { history: self.history, placed: &self.sorted.placed, pos, wrong: &wrong };
            self.furthest = Some((pos, explain(&mut self.model, &evidence)));
            self.model.undo_to(mark);
        }
        // Directories that are there for good carry no taint; who made them before their first proof still matters.
        let early = |i: &&usize| self.floating[**i].writes.iter().any(|(_, until)| *until != usize::MAX);
        let mut blame = self.groups.bearing_on(&p.op.call, wrong.entry());
        blame.extend(self.direct[pos].iter().filter(early).map(|i| self.groups.of(*i)));
        Err(blame)
    }

    /// Tries the next choice of the last frame, stepping back where it has none left. The position to go on from.
    fn forward(&mut self) -> Option<usize> {
        loop {
            let frame = self.frames.last_mut()?;
            let (pos, mark, placed) = (frame.pos, frame.mark, frame.placed);
            let choice = frame.choices.get(frame.next);
            frame.next += 1;
            let place = match choice {
                None => return self.exhausted(),
                Some(Choice::Go) => None,
                Some(Choice::Place(i)) => Some(*i),
            };
            self.rewind(mark, placed);
            match place {
                None => match self.go(pos) {
                    Ok(()) => return Some(pos + 1),
                    Err(blame) => return self.back(blame),
                },
                Some(i) => {
                    self.steps += 1;
                    let (ordinal, op) = (self.floating[i].ordinal, self.floating[i].op);
                    if self.model.try_apply(&op.call, ordinal) {
                        self.floating[i].used = true;
                        self.used ^= mix(i as u64 + 1);
                        self.placed.push((pos, i));
                        return Some(pos);
                    }
                }
            }
        }
    }

    /// The last frame has no choice left: its state is a failure to remember.
    fn exhausted(&mut self) -> Option<usize> {
        let frame = self.frames.pop()?;
        self.failed.insert(frame.key, frame.blame.clone());
        self.back(frame.blame)
    }

    /// Steps back to the last choice that bears on a dead end.
    fn back(&mut self, blame: Blame) -> Option<usize> {
        while let Some(frame) = self.frames.last_mut() {
            let bears = |choice: &Choice| matches!(choice, Choice::Place(i) if blame.contains(&self.groups.of(*i)));
            if !self.jump || frame.choices.iter().any(bears) {
                frame.blame.extend(&blame);
                return self.forward();
            }
            self.failed.insert(frame.key, blame.clone());
            self.frames.pop();
        }
        None
    }

    fn rewind(&mut self, mark: usize, placed: usize) {
        self.model.undo_to(mark);
        for (_, i) in self.placed.drain(placed..) {
            self.floating[i].used = false;
            self.used ^= mix(i as u64 + 1);
        }
    }
}

impl<'a> Floating<'a> {
    fn new(
        ordinal: u32,
        op: &'a Operation,
        sorted: &Sorted<'_>,
        solid: &Solid,
        places: &'a Whereabouts,
        reach: Window,
    ) -> Self {
        let placed = &sorted.placed;
        // Nothing that had returned before the invocation may come after it.
        let first = placed.iter().rposition(|p| p.returned < op.invoked).map_or(0, |pos| pos + 1);
        // Acknowledged without an index: before anything that was invoked after the answer.
        let last = match op.returned() {
            Some(returned) if op.answer().is_some() || reach == Window::WhileAwaited => {
                placed.iter().position(|p| p.op.invoked > returned).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        };
        let writes = writes(&op.call, places)
            .into_iter()
            .map(|path| (path, solid.since(path).unwrap_or(usize::MAX)))
            .filter(|(_, until)| *until > first)
            .collect();
        Self { ordinal, op, first, last, writes, used: false }
    }
}

/// Whether two changes may give different results in different orders.
fn collide(a: &Operation, b: &Operation, places: &Whereabouts) -> bool {
    let hits = |a: &Operation, b: &Operation| {
        reads(&b.call, places)
            .iter()
            .any(|(path, reach)| writes(&a.call, places).iter().any(|w| touches(w, path, *reach)))
    };
    a.op != b.op && (hits(a, b) || hits(b, a))
}

/// Takes out what the model cannot replay. How many operations that was.
pub fn without_external(sorted: &mut Sorted<'_>, setup: &Setup) -> usize {
    let before = sorted.placed.len() + sorted.floating.len();
    sorted.placed.retain(|p| !external(&p.op.call, setup));
    sorted.floating.retain(|(_, op)| !external(&op.call, setup));
    before - sorted.placed.len() - sorted.floating.len()
}
