//! Who decides what a power loss leaves of the unsynced changes: chance, or a walk over all legal states.
//!
//! A crash is a series of picks, one per unsynced thing; the picks alone determine the state. [`CrashStates`] walks the
//! tree of picks depth first, so it needs to know nothing of what is picked.

use crate::base::Stream;

use super::fs::FileSystem;

/// Picks what survives.
pub trait Survival {
    /// One of `versions` (never empty), given by the order of the changes that made them: the first is the durable one,
    /// the last the newest. Gives an index.
    fn pick(&mut self, versions: &[u64]) -> usize;
}

/// Nothing unsynced survives.
#[derive(Debug, Clone, Copy)]
pub struct Oldest;

/// Everything survives.
#[derive(Debug, Clone, Copy)]
pub struct Newest;

impl Survival for Oldest {
    fn pick(&mut self, _versions: &[u64]) -> usize {
        0
    }
}

impl Survival for Newest {
    fn pick(&mut self, versions: &[u64]) -> usize {
        versions.len() - 1
    }
}

/// Survival by chance. Half of the crashes mix freely; the others are the shapes that real disks favour: nothing,
/// everything, or a prefix in the order of writing.
#[derive(Debug)]
pub struct ByStream<'a> {
    stream: &'a mut Stream,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Nothing,
    Everything,
    UpTo(u64),
    Mixed,
}

impl<'a> ByStream<'a> {
    /// Draws the shape of this crash; changes are numbered `first..=last`.
    pub fn new(stream: &'a mut Stream, first: u64, last: u64) -> Self {
        let shape = match stream.below(8) {
            0 => Shape::Nothing,
            1 => Shape::Everything,
            2 | 3 => Shape::UpTo(stream.range(first..=last)),
            _ => Shape::Mixed,
        };
        Self { stream, shape }
    }
}

impl Survival for ByStream<'_> {
    fn pick(&mut self, versions: &[u64]) -> usize {
        match self.shape {
            Shape::Nothing => 0,
            Shape::Everything => versions.len() - 1,
            Shape::UpTo(last) => versions.iter().rposition(|seq| *seq <= last).unwrap_or(0),
            Shape::Mixed => self.stream.below(versions.len() as u64) as usize,
        }
    }
}

/// Every file system that a power loss may leave, one by one, up to a bound.
#[derive(Debug)]
pub struct CrashStates<'a> {
    fs: &'a FileSystem,
    left: usize,
    path: Vec<(usize, usize)>,
    done: bool,
}

impl<'a> CrashStates<'a> {
    /// At most `limit` states of `fs`, the one where nothing survived first.
    pub fn new(fs: &'a FileSystem, limit: usize) -> Self {
        Self { fs, left: limit, path: Vec::new(), done: false }
    }

    /// Whether every legal state was given (the bound was not reached first).
    pub fn complete(&self) -> bool {
        self.done
    }
}

/// Replays the picks of `path` and takes the oldest where it ends.
struct Walk<'a> {
    path: &'a mut Vec<(usize, usize)>,
    at: usize,
}

impl Survival for Walk<'_> {
    fn pick(&mut self, versions: &[u64]) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, versions.len()));
        }
        self.at += 1;
        self.path[self.at - 1].0
    }
}

impl Iterator for CrashStates<'_> {
    type Item = FileSystem;

    fn next(&mut self) -> Option<FileSystem> {
        if self.done || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let mut state = self.fs.clone();
        state.crash(&mut Walk { path: &mut self.path, at: 0 });
        while self.path.last().is_some_and(|(pick, of)| pick + 1 == *of) {
            self.path.pop();
        }
        match self.path.last_mut() {
            Some(last) => last.0 += 1,
            None => self.done = true,
        }
        Some(state)
    }
}
