//! Which paths an operation reads and writes, and which operations therefore do not commute.
//!
//! Two calls that touch each other's paths nowhere give the same answers and the same state in either order; the search
//! never tries both. An answer about a path depends on the path and on everything above it.

use std::collections::{BTreeMap, BTreeSet};

use super::order::Placed;
use crate::oracle::history::{Answer, Call, Operation};
use crate::oracle::model::{split, within};
use crate::stack::wire::InodeId;

/// How far below its path an operation looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The path itself, and what stands above it.
    Path,
    /// Its entries too.
    Entries,
    /// All that is below.
    Below,
}

/// Where files may have been renamed to: `complete` names an inode, wherever that is by then.
#[derive(Debug, Default)]
pub struct Whereabouts(BTreeMap<InodeId, Vec<String>>);

impl Whereabouts {
    /// More places than this, and the file may be anywhere.
    const PLACES_MAX: usize = 64;

    /// Follows each completed file through all renames that may have moved it.
    pub fn new<'a>(operations: impl Iterator<Item = &'a Operation> + Clone) -> Self {
        let mut renames: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in operations.clone().filter_map(moved) {
            renames.entry(from).or_default().insert(to);
        }
        let mut places = BTreeMap::new();
        for op in operations {
            if let Call::Complete { file, path, .. } = &op.call {
                places.entry(*file).or_insert_with(|| Self::follow(path, &renames));
            }
        }
        Self(places)
    }

    fn follow(path: &str, renames: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
        let mut places = vec![path.to_string()];
        let mut next = 0;
        while next < places.len() {
            let place = places[next].clone();
            let mut at = place.as_str();
            while at != "/" {
                for to in renames.get(at).into_iter().flatten() {
                    let image = format!("{to}{}", &place[at.len()..]);
                    if !places.contains(&image) {
                        places.push(image);
                    }
                }
                at = split(at).0;
            }
            if places.len() > Self::PLACES_MAX {
                return vec!["/".into()];
            }
            next += 1;
        }
        places
    }

    fn of<'a>(&'a self, file: InodeId, path: &'a str) -> Vec<&'a str> {
        self.0.get(&file).map_or_else(|| vec![path], |places| places.iter().map(String::as_str).collect())
    }
}

/// Source and target, if the operation is a rename that may have moved something.
pub fn moved(op: &Operation) -> Option<(&str, &str)> {
    match &op.call {
        Call::Rename { from, to } if from != to && !matches!(op.answer(), Some(Answer::Refused(_))) => Some((from, to)),
        _ => None,
    }
}

/// The paths that a call reads, each with its reach. A write is never without a read of the same path.
pub fn reads<'a>(call: &'a Call, places: &'a Whereabouts) -> Vec<(&'a str, Reach)> {
    match call {
        Call::List { path } | Call::Delete { path, recursive: false } => vec![(path, Reach::Entries)],
        Call::Delete { path, recursive: true } => vec![(path, Reach::Below)],
        Call::Rename { from, to } => vec![(from, Reach::Below), (to, Reach::Below)],
        Call::Complete { file, path, .. } => places
            .of(*file, path)
            .into_iter()
            .map(|at| (at, if at == "/" { Reach::Below } else { Reach::Path }))
            .collect(),
        _ => vec![(call.path(), Reach::Path)],
    }
}

/// The topmost paths that a call may write. All below a written path changes with it.
pub fn writes<'a>(call: &'a Call, places: &'a Whereabouts) -> Vec<&'a str> {
    match call {
        Call::Mkdir { path, recursive: true } => {
            let mut all = vec![path.as_str()];
            let mut at = split(path).0;
            while at != "/" {
                all.push(at);
                at = split(at).0;
            }
            all
        }
        Call::Rename { from, to } => vec![from, to],
        Call::Complete { file, path, .. } => places.of(*file, path),
        Call::Stat { .. } | Call::List { .. } | Call::Read { .. } => vec![],
        _ => vec![call.path()],
    }
}

/// Whether a write of `written` may change what a read of `path` with `reach` gives.
pub fn touches(written: &str, path: &str, reach: Reach) -> bool {
    within(path, written)
        || match reach {
            Reach::Path => false,
            Reach::Entries => split(written).0 == path && written != "/",
            Reach::Below => within(written, path),
        }
}

/// Directories that are never removed once they are there, and since when that is proven.
///
/// Who made such a directory, and when before its first use, changes nothing: that settles the common case of a first
/// `mkdir` whose outcome is unknown.
#[derive(Debug, Default)]
pub struct Solid {
    since: BTreeMap<String, usize>,
    removed: BTreeSet<String>,
}

impl Solid {
    /// Reads the proofs off the answers.
    pub fn new(placed: &[Placed<'_>], floating: &[(u32, &Operation)], directories: &[String]) -> Self {
        let mut solid = Self::default();
        let acked = placed.iter().filter(|p| p.op.acked_change()).map(|p| p.op);
        for op in acked.chain(floating.iter().map(|(_, op)| *op)) {
            match &op.call {
                Call::Delete { path, .. } => drop(solid.removed.insert(path.clone())),
                Call::Rename { from, to } => solid.removed.extend([from.clone(), to.clone()]),
                _ => {}
            }
        }
        for path in directories {
            solid.prove(path, 0);
        }
        for (pos, p) in placed.iter().enumerate() {
            match (&p.op.call, p.answer) {
                (_, Answer::Refused(_)) => {}
                (Call::Mkdir { path, .. } | Call::List { path }, _) => solid.prove(path, pos + 1),
                (Call::Stat { path }, Answer::Info(seen)) if seen.dir => solid.prove(path, pos + 1),
                (Call::Create { path } | Call::Stat { path } | Call::Delete { path, .. }, _) => {
                    solid.prove(split(path).0, pos + 1);
                }
                _ => {}
            }
        }
        solid
    }

    fn prove(&mut self, path: &str, pos: usize) {
        let mut at = path;
        while at != "/" && !self.since.contains_key(at) {
            self.since.insert(at.into(), pos);
            at = split(at).0;
        }
    }

    /// The position from which on `path` is a directory for good; none if it may go away or nothing proves it. The root
    /// stands for "anywhere" ([`Whereabouts`]) and is never solid.
    pub fn since(&self, path: &str) -> Option<usize> {
        let since = self.since.get(path)?;
        let mut at = path;
        while at != "/" {
            if self.removed.contains(at) {
                return None;
            }
            at = split(at).0;
        }
        Some(*since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::linearizable::order::sort;
    use crate::oracle::testing::History;

    #[test]
    fn a_write_reaches_what_is_below_and_what_lists_it() {
        for (written, path, reach, want) in [
            ("/d", "/d/f", Reach::Path, true),
            ("/d/f", "/d", Reach::Path, false),
            ("/d/f", "/d", Reach::Entries, true),
            ("/d/e/f", "/d", Reach::Entries, false),
            ("/d/e/f", "/d", Reach::Below, true),
            ("/d/g", "/d/f", Reach::Below, false),
            ("/df", "/d", Reach::Below, false),
            ("/f", "/", Reach::Entries, true),
        ] {
            assert_eq!(touches(written, path, reach), want, "{written} and {path} {reach:?}");
        }
    }

    #[test]
    fn a_completed_file_is_followed_through_renames() {
        let mut h = History::default();
        h.complete("/tmp/x", 7, 10).span(0, 1);
        h.rename("/tmp/x", "/d/x").span(2, 3);
        h.rename("/d", "/e").span(2, 3).acked(5);
        h.rename("/d", "/z").span(2, 3).acked_with(6, Answer::Refused(crate::oracle::Refusal::NotFound));
        let places = Whereabouts::new(h.ops.iter());
        assert_eq!(writes(&h.ops[0].call, &places), ["/tmp/x", "/d/x", "/e/x"]);
    }

    #[test]
    fn a_directory_is_solid_from_its_first_proof_unless_it_may_go() {
        let mut h = History::default();
        h.mkdir("/a").span(0, 1).acked(1);
        h.create("/b/f").span(2, 3).acked(2);
        h.mkdir("/c").span(2, 3).acked(3);
        h.delete("/c").span(4, 5);
        let sorted = sort(&h.ops);
        let solid = Solid::new(&sorted.placed, &sorted.floating, &[]);
        assert_eq!((solid.since("/a"), solid.since("/b")), (Some(1), Some(2)));
        assert_eq!((solid.since("/c"), solid.since("/b/f")), (None, None));
    }
}
