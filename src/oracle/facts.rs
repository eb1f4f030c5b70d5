//! What is beyond doubt at the end of a history, path by path and without any search.
//!
//! A path is certain if an acknowledged change made or removed it, and no later change that took or may have taken effect
//! touches it or anything above it. "Later" is the journal's order; a change of unknown outcome is always later.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::history::{Call, Operation, Outcome};
use super::model::{split, within};
use super::record::RunRecord;

/// The last acknowledged change of each certain path.
pub struct Facts<'a> {
    made: BTreeMap<&'a str, &'a Operation>,
    removed: BTreeMap<&'a str, &'a Operation>,
}

impl<'a> Facts<'a> {
    /// Reads the facts off a history.
    pub fn new(record: &'a RunRecord) -> Self {
        let mut acked: Vec<(u64, &Operation)> = Vec::new();
        let mut doubts: Vec<&Operation> = Vec::new();
        for op in record.history.iter().filter(|op| op.call.changes()) {
            match &op.outcome {
                Outcome::Acked { index, .. } if *index > 0 && op.acked_change() => acked.push((*index, op)),
                Outcome::Acked { .. } if !op.acked_change() => {}
                _ => doubts.push(op),
            }
        }
        acked.sort_by_key(|(index, _)| *index);
        let mut facts = Self { made: BTreeMap::new(), removed: BTreeMap::new() };
        for (_, op) in &acked {
            facts.take(op);
        }
        for op in doubts {
            facts.doubt(op);
        }
        let external = |path: &str| record.setup.external.iter().any(|mount| within(path, mount));
        facts.made.retain(|path, _| !external(path));
        facts.removed.retain(|path, _| !external(path));
        facts
    }

    /// Paths that must be there, and why.
    pub fn made(&self) -> impl Iterator<Item = (&'a str, &'a Operation)> {
        self.made.iter().map(|(path, op)| (*path, *op))
    }

    /// Paths that must not be there, and why.
    pub fn removed(&self) -> impl Iterator<Item = (&'a str, &'a Operation)> {
        self.removed.iter().map(|(path, op)| (*path, *op))
    }

    fn take(&mut self, op: &'a Operation) {
        match &op.call {
            Call::Mkdir { path, .. } | Call::Create { path } => {
                self.forget_removed(path, true);
                self.made.insert(path, op);
            }
            // The file may have been renamed since it was made: only where its making is certain still.
            Call::Complete { path, .. } => {
                if let Some(made) = self.made.get_mut(path.as_str())
                    && same_file(made, op)
                {
                    *made = op;
                }
            }
            Call::Rename { from, to } if from != to => {
                self.forget_made(from);
                self.forget_made(to);
                self.removed.insert(from, op);
                self.forget_removed(to, false);
                self.made.insert(to, op);
            }
            Call::Delete { path, .. } => {
                self.forget_made(path);
                self.removed.insert(path, op);
            }
            _ => {}
        }
    }

    /// The change may have taken effect at any time.
    fn doubt(&mut self, op: &'a Operation) {
        match &op.call {
            Call::Mkdir { path, .. } | Call::Create { path } => self.forget_removed(path, true),
            Call::Complete { path, .. } => {
                self.made.retain(|at, made| at != path || !matches!(made.call, Call::Create { .. }))
            }
            Call::Rename { from, to } => {
                self.forget_made(from);
                self.forget_made(to);
                self.forget_removed(to, false);
            }
            Call::Delete { path, .. } => self.forget_made(path),
            _ => {}
        }
    }

    fn forget_made(&mut self, path: &str) {
        self.made.remove(path);
        below(&mut self.made, path);
    }

    /// `path` is there: so is all above it; and, unless `alone`, anything may be below it.
    fn forget_removed(&mut self, path: &str, alone: bool) {
        let mut at = path;
        while at != "/" {
            self.removed.remove(at);
            at = split(at).0;
        }
        if !alone {
            below(&mut self.removed, path);
        }
    }
}

/// Forgets what is below `path`: the paths that begin with it and a slash, which stand together.
fn below<'a>(facts: &mut BTreeMap<&'a str, &'a Operation>, path: &str) {
    let dir = format!("{}/", path.trim_end_matches('/'));
    let from = facts.range::<str, _>((Bound::Included(dir.as_str()), Bound::Unbounded));
    let all: Vec<&str> = from.map(|(at, _)| *at).take_while(|at| at.starts_with(&dir)).collect();
    for at in all {
        facts.remove(at);
    }
}

/// Whether a completion belongs to the file that `made` made, as far as the answers tell.
fn same_file(made: &Operation, complete: &Operation) -> bool {
    match (made.answer(), &made.call, &complete.call) {
        (Some(super::Answer::Info(seen)), Call::Create { .. }, Call::Complete { file, .. }) => seen.id == *file,
        (_, Call::Create { .. }, Call::Complete { .. }) => true,
        _ => false,
    }
}
