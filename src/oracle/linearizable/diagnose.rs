//! Giving a contradiction the name of the promise that it breaks.
//!
//! The search only knows that an answer does not fit. What it shows, set beside what the model expected, often tells more:
//! an entry that was removed is back, an acknowledged one is gone, an operation met its own effect.

use super::order::Placed;
use crate::oracle::history::{Answer, Call, Operation, Refusal, Seen};
use crate::oracle::model::{Gap, Model, NOBODY, Wrong, split, within};
use crate::oracle::violation::Violation;

/// Operations named around a contradiction.
const AROUND: usize = 5;

/// The contradiction.
pub struct Evidence<'a> {
    /// All operations, by ordinal.
    pub history: &'a [&'a Operation],
    /// The answers in the journal's order.
    pub placed: &'a [Placed<'a>],
    /// The one that does not fit.
    pub pos: usize,
    /// Why.
    pub wrong: &'a Wrong,
}

/// Names the broken promise. `model` is the state before the answer; it may be left changed.
pub fn explain(model: &mut Model, evidence: &Evidence<'_>) -> Violation {
    let p = &evidence.placed[evidence.pos];
    let expected = model.expectation(&p.op.call, evidence.wrong);
    resurrected(model, evidence)
        .or_else(|| applied_twice(model, evidence))
        .or_else(|| lost(model, evidence))
        .unwrap_or_else(|| Violation::NotLinearizable {
            operation: Box::new(p.op.clone()),
            expected,
            around: evidence.around(p.op.call.path()),
        })
}

/// The answer shows something whose removal was acknowledged.
fn resurrected(model: &Model, evidence: &Evidence<'_>) -> Option<Violation> {
    let p = &evidence.placed[evidence.pos];
    let (path, seen) = match evidence.wrong {
        Wrong::Shows { name } | Wrong::OtherInode { name } | Wrong::Differs { name, .. } if !name.is_empty() => {
            (join(p.op.call.path(), name), p.entry(name)?)
        }
        Wrong::Rules(_) | Wrong::OtherInode { .. } | Wrong::Differs { .. } => match p.answer {
            Answer::Info(seen) if !p.op.call.changes() => (p.op.call.path().to_string(), seen),
            _ => return None,
        },
        _ => return None,
    };
    let remover = model.removed(seen)?;
    let removed_by = evidence.history.get(remover as usize).copied().filter(|op| op.acked_change())?;
    Some(Violation::ResurrectedEntry {
        path,
        seen: seen.to_string(),
        removed_by: Box::new(removed_by.clone()),
        evidence: p.op.to_string(),
    })
}

/// The operation was refused, would have succeeded, and would be refused just so a second time: it met its own effect.
fn applied_twice(model: &mut Model, evidence: &Evidence<'_>) -> Option<Violation> {
    let p = &evidence.placed[evidence.pos];
    let Answer::Refused(refusal) = p.answer else { return None };
    if !p.op.call.changes() || p.op.attempts == 1 || !model.try_apply(&p.op.call, p.ordinal) {
        return None;
    }
    let mut evidence =
        format!("it should have succeeded, and {refusal:?} is what it would meet after itself; it was sent ");
    evidence +=
        &if p.op.attempts == 0 { "an unknown number of times".into() } else { format!("{} times", p.op.attempts) };
    model
        .allowed(&p.op.call)
        .no
        .contains(*refusal)
        .then(|| Violation::AppliedTwice { operation: Box::new(p.op.clone()), evidence })
}

/// The answer lacks something that was acknowledged and never removed.
fn lost(model: &Model, evidence: &Evidence<'_>) -> Option<Violation> {
    let p = &evidence.placed[evidence.pos];
    let path = match (evidence.wrong, p.answer, &p.op.call) {
        (Wrong::Lacks { name }, ..) => join(p.op.call.path(), name),
        (Wrong::Rules(_), Answer::Refused(Refusal::NotFound), Call::Rename { from, .. }) => from.clone(),
        (Wrong::Rules(_), Answer::Refused(Refusal::NotFound), Call::Create { path } | Call::Mkdir { path, .. }) => {
            split(path).0.to_string()
        }
        (Wrong::Rules(_), Answer::Refused(Refusal::NotFound), call) => call.path().to_string(),
        (Wrong::Differs { name, expected }, answer, _) => return shrunk(expected.completed, name, answer, evidence),
        _ => return None,
    };
    let node = model.walk(&path).ok().or_else(|| highest(model, &path))?;
    let maker = model.attr(node).maker;
    let write = evidence.history.get(maker as usize).copied().filter(|op| maker != NOBODY && op.acked_change())?;
    let later = evidence.placed[evidence.pos + 1..].iter().find(|later| later.shows(&path));
    Some(match later.filter(|_| !p.op.call.changes()) {
        Some(_) => Violation::StaleRead {
            read: Box::new(p.op.clone()),
            missed: Box::new(write.clone()),
            late: p.op.invoked.since(write.returned().unwrap_or(write.invoked)),
        },
        None => Violation::LostAckedWrite { write: Box::new(write.clone()), path, evidence: p.op.to_string() },
    })
}

/// An acknowledged completion is gone: the file is incomplete, or shorter or longer than it was made.
fn shrunk(completed: bool, name: &str, answer: &Answer, evidence: &Evidence<'_>) -> Option<Violation> {
    let p = &evidence.placed[evidence.pos];
    let seen = if name.is_empty() { p.info()? } else { p.entry(name)? };
    let before = &evidence.placed[..evidence.pos];
    // A whole file in the wrong place has lost nothing.
    let less = |length| !seen.completed || seen.length != length;
    let completes =
        |p: &&Placed<'_>| matches!(p.op.call, Call::Complete { file, length, .. } if file == seen.id && less(length));
    let write = before.iter().rev().find(|p| completes(p) && p.op.acked_change()).filter(|_| completed && !seen.dir)?;
    let path = if name.is_empty() { p.op.call.path().into() } else { join(p.op.call.path(), name) };
    let evidence = format!("{} (answer {answer})", p.op);
    Some(Violation::LostAckedWrite { write: Box::new(write.op.clone()), path, evidence })
}

/// The lowest existing directory above a path that the model lacks too.
fn highest(model: &Model, path: &str) -> Option<u32> {
    let mut at = split(path).0;
    loop {
        match model.walk(at) {
            Ok(node) => return Some(node),
            Err(Gap::Missing | Gap::UnderFile) if at == "/" => return None,
            Err(_) => at = split(at).0,
        }
    }
}

impl Placed<'_> {
    fn entry(&self, name: &str) -> Option<&Seen> {
        match self.answer {
            Answer::Entries(entries) => entries.iter().find(|seen| seen.name == name),
            _ => None,
        }
    }

    fn info(&self) -> Option<&Seen> {
        match self.answer {
            Answer::Info(seen) => Some(seen),
            _ => None,
        }
    }

    /// Whether this answer shows that something is at `path`.
    fn shows(&self, path: &str) -> bool {
        match &self.op.call {
            Call::Stat { path: at } => at == path && self.info().is_some(),
            Call::List { path: at } => at == split(path).0 && self.entry(split(path).1).is_some(),
            _ => false,
        }
    }
}

impl Evidence<'_> {
    /// The last few answers before the contradiction that are about the same paths.
    fn around(&self, path: &str) -> Vec<String> {
        let near = |p: &&Placed<'_>| {
            let mut about = vec![p.op.call.path()];
            if let Call::Rename { to, .. } = &p.op.call {
                about.push(to);
            }
            about.iter().any(|at| *at == path || *at != "/" && within(path, at) || split(at).0 == path)
        };
        let mut lines: Vec<String> =
            self.placed[..self.pos].iter().rev().filter(near).take(AROUND).map(|p| format!("after {}", p.op)).collect();
        lines.reverse();
        lines
    }
}

fn join(dir: &str, name: &str) -> String {
    format!("{}/{name}", dir.trim_end_matches('/'))
}
