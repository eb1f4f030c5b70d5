//! Which unknown outcomes can bear on which paths: independent groups are searched apart.
//!
//! A path is tainted by a change of unknown outcome that may write it. Taint spreads along renames; two changes belong to
//! one group when they taint one path, or when some operation's answer ties their paths together. The groups only tell the
//! search which of its choices cannot matter to a dead end. An answer that no taint reaches is wrong whatever the choices.

use std::collections::{BTreeMap, BTreeSet};

use super::footprint::{Reach, Solid, Whereabouts, moved, reads, writes};
use super::order::Placed;
use crate::oracle::history::{Answer, Call, Operation};
use crate::oracle::model::split;

/// Renames in a circle could taint ever more and longer paths; beyond this all changes form one group.
const TAINTED_MAX: usize = 4_096;
/// The same for the length of a path, in bytes.
const PATH_MAX: usize = 512;

/// The groups.
#[derive(Debug)]
pub struct Components<'a> {
    places: &'a Whereabouts,
    parent: Vec<usize>,
    tainted: BTreeMap<String, usize>,
    joined: bool,
}

impl<'a> Components<'a> {
    /// Groups the floating changes of a history.
    pub fn new(placed: &[Placed<'_>], floating: &[(u32, &Operation)], solid: &Solid, places: &'a Whereabouts) -> Self {
        let mut groups =
            Self { places, parent: (0..floating.len()).collect(), tainted: BTreeMap::new(), joined: false };
        if floating.is_empty() {
            return groups;
        }
        let mentioned: BTreeSet<&str> = placed
            .iter()
            .map(|p| p.op)
            .chain(floating.iter().map(|f| f.1))
            .flat_map(|op| reads(&op.call, places))
            .map(|r| r.0)
            .collect();
        for (i, (_, op)) in floating.iter().enumerate() {
            for path in writes(&op.call, places) {
                if solid.since(path).is_some() {
                    continue;
                }
                groups.joined |= path == "/";
                groups.taint(path, i);
                let below = format!("{path}/");
                for other in mentioned.range(below.as_str()..).take_while(|p| p.starts_with(&below)) {
                    groups.taint(other, i);
                }
            }
        }
        groups.spread(placed, floating);
        if !groups.joined {
            groups.tie(placed, floating);
        }
        groups
    }

    /// Along renames, until nothing changes.
    fn spread(&mut self, placed: &[Placed<'_>], floating: &[(u32, &Operation)]) {
        let mut renames: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in placed.iter().map(|p| p.op).chain(floating.iter().map(|f| f.1)).filter_map(moved) {
            renames.entry(from).or_default().insert(to);
        }
        let mut work: Vec<(String, usize)> = self.tainted.iter().map(|(p, g)| (p.clone(), *g)).collect();
        while let Some((path, group)) = work.pop() {
            let mut at = path.as_str();
            while at != "/" {
                for to in renames.get(at).into_iter().flatten() {
                    let image = format!("{to}{}", &path[at.len()..]);
                    if self.taint(&image, group) {
                        self.joined |= image.len() > PATH_MAX || self.tainted.len() > TAINTED_MAX;
                        work.push((image, group));
                    }
                }
                at = split(at).0;
            }
            if self.joined {
                return;
            }
        }
        for (from, to) in renames.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
            let all: Vec<usize> = self.below(from).chain(self.below(to)).map(|t| t.1).collect();
            self.join_all(&all);
        }
    }

    /// Joins what one operation or one directory ties together.
    fn tie(&mut self, placed: &[Placed<'_>], floating: &[(u32, &Operation)]) {
        let paths: Vec<(String, usize)> = self.tainted.iter().map(|(p, g)| (p.clone(), *g)).collect();
        for (path, group) in paths {
            let mut all = self.above(&path);
            all.push(group);
            self.join_all(&all);
        }
        for (i, (_, op)) in floating.iter().enumerate() {
            let mut all = self.footprint(&op.call);
            all.push(i);
            self.join_all(&all);
        }
        // A refusal may have any of several reasons.
        for p in placed.iter().filter(|p| matches!(p.answer, Answer::Refused(_))) {
            let all = self.footprint(&p.op.call);
            self.join_all(&all);
        }
    }

    /// The group of a floating change.
    pub fn of(&self, floating: usize) -> usize {
        if self.joined { 0 } else { self.find(floating) }
    }

    /// The groups that can bear on the answer of `call`; `entry` is the one wrong entry if it is a listing.
    pub fn bearing_on(&self, call: &Call, entry: Option<&str>) -> BTreeSet<usize> {
        if self.joined {
            return if self.parent.is_empty() { BTreeSet::new() } else { BTreeSet::from([0]) };
        }
        let found = match (call, entry) {
            (Call::List { path }, Some(name)) => self.above(&format!("{}/{name}", path.trim_end_matches('/'))),
            _ => self.footprint(call),
        };
        found.into_iter().map(|group| self.find(group)).collect()
    }

    /// Taints on all that a call reads.
    fn footprint(&self, call: &Call) -> Vec<usize> {
        let mut all = Vec::new();
        for (path, reach) in reads(call, self.places) {
            all.extend(self.above(path));
            all.extend(self.below(path).filter_map(|(at, group)| match reach {
                Reach::Path => None,
                Reach::Entries => (split(at).0 == path).then_some(group),
                Reach::Below => Some(group),
            }));
        }
        all
    }

    /// Taints on a path and above it.
    fn above(&self, path: &str) -> Vec<usize> {
        let mut all = Vec::new();
        let mut at = path;
        while at != "/" {
            all.extend(self.tainted.get(at));
            at = split(at).0;
        }
        all
    }

    /// Taints on a path and below it.
    fn below(&self, path: &str) -> impl Iterator<Item = (&str, usize)> {
        let deeper = format!("{}/", path.trim_end_matches('/'));
        let last = format!("{}0", path.trim_end_matches('/')); // '0' follows '/'
        let here = self.tainted.get_key_value(path).filter(|_| path != "/");
        here.into_iter().chain(self.tainted.range(deeper..last)).map(|(at, group)| (at.as_str(), *group))
    }

    /// Whether the path was clean before.
    fn taint(&mut self, path: &str, group: usize) -> bool {
        if let Some(other) = self.tainted.get(path) {
            self.join(*other, group);
            return false;
        }
        self.tainted.insert(path.into(), group);
        true
    }

    fn join_all(&mut self, groups: &[usize]) {
        groups.windows(2).for_each(|pair| self.join(pair[0], pair[1]));
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
    }

    fn find(&self, mut at: usize) -> usize {
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::linearizable::order::sort;
    use crate::oracle::testing::History;

    /// Runs `check` on the groups of a history.
    fn with_groups(h: &History, check: impl Fn(&Components<'_>)) {
        let sorted = sort(&h.ops);
        let solid = Solid::new(&sorted.placed, &sorted.floating, &[]);
        let places = Whereabouts::new(h.ops.iter());
        check(&Components::new(&sorted.placed, &sorted.floating, &solid, &places));
    }

    #[test]
    fn changes_of_different_paths_stay_apart() {
        let mut h = History::default();
        h.create("/a").span(0, 1);
        h.create("/b").span(0, 1);
        with_groups(&h, |groups| {
            assert_ne!(groups.of(0), groups.of(1));
            assert_eq!(groups.bearing_on(&Call::Stat { path: "/c".into() }, None), BTreeSet::new());
        });
    }

    #[test]
    fn a_rename_ties_source_and_target() {
        let mut h = History::default();
        h.create("/a").span(0, 1);
        h.create("/b").span(0, 1);
        h.rename("/a", "/b").span(2, 3).acked(5);
        with_groups(&h, |groups| assert_eq!(groups.of(0), groups.of(1)));
    }

    #[test]
    fn a_first_mkdir_does_not_tie_what_is_made_below_it() {
        let mut h = History::default();
        h.mkdir("/d").span(0, 1);
        h.create("/d/x").span(2, 3);
        h.create("/d/y").span(2, 3);
        h.create("/d/z").span(2, 3).acked(5);
        with_groups(&h, |groups| assert_ne!(groups.of(1), groups.of(2)));
    }

    #[test]
    fn renames_in_a_circle_end() {
        let mut h = History::default();
        h.create("/x").span(0, 1);
        h.rename("/x", "/y/x").span(2, 3).acked(5);
        h.rename("/y", "/x").span(4, 5).acked(6);
        with_groups(&h, |groups| assert_eq!(groups.of(0), 0));
    }
}
