//! Histories made from the model: valid by construction, then broken in one answer.

use proptest::prelude::*;

use super::components::Components;
use super::footprint::{Solid, Whereabouts};
use super::order::sort;
use super::search::{Placing, Search, Window};
use super::*;
use crate::base::Seed;
use crate::base::Stream;
use crate::oracle::history::Content;
use crate::oracle::history::Refusal;
use crate::oracle::model::Model;
use crate::oracle::testing::at;
use crate::oracle::violation::Violation;
use crate::stack::wire::InodeId;

/// A naive file system that answers as the stack would, with inode numbers and versions.
struct Server {
    model: Model,
    paths: BTreeMap<String, Seen>,
    index: u64,
    inodes: u64,
}

impl Server {
    fn new() -> Self {
        Self { model: Model::new(&Setup::default()), paths: BTreeMap::new(), index: 1, inodes: 0 }
    }

    /// Takes effect now; the answer, and the index that it reflects.
    fn serve(&mut self, call: &Call, ordinal: u32) -> (u64, Answer) {
        let allowed = self.model.allowed(call);
        if call.changes() {
            self.index += 1;
        }
        if !allowed.ok {
            return (self.index, Answer::Refused(allowed.no.iter().next().expect("a reason")));
        }
        let answer = self.effect(call);
        self.model.step(call, ordinal, self.index, &answer).expect("the server answers as the model");
        (self.index, answer)
    }

    fn effect(&mut self, call: &Call) -> Answer {
        match call {
            Call::Mkdir { path, .. } => self.insert(path, true),
            Call::Create { path } => self.insert(path, false),
            Call::Complete { file, length, .. } => {
                let seen = self.paths.values_mut().find(|seen| seen.id == *file).expect("the model allowed it");
                (seen.completed, seen.length, seen.version) = (true, *length, self.index);
                Answer::Info(seen.clone())
            }
            Call::Rename { from, to } if from != to => {
                self.remove(to);
                let moved: Vec<(String, Seen)> =
                    self.paths.iter().filter(|(p, _)| within(p, from)).map(|(p, s)| (p.clone(), s.clone())).collect();
                self.remove(from);
                for (path, mut seen) in moved {
                    let path = format!("{to}{}", &path[from.len()..]);
                    seen.name = split(&path).1.into();
                    self.paths.insert(path, seen);
                }
                Answer::Done
            }
            Call::Delete { path, .. } => {
                self.remove(path);
                Answer::Done
            }
            Call::Stat { path } => Answer::Info(self.paths[path].clone()),
            Call::List { path } => {
                let inside = |p: &str| p != "/" && split(p).0 == path;
                let mut entries: Vec<Seen> =
                    self.paths.iter().filter(|(p, _)| inside(p)).map(|(_, seen)| seen.clone()).collect();
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                Answer::Entries(entries)
            }
            _ => Answer::Done,
        }
    }

    fn insert(&mut self, path: &str, dir: bool) -> Answer {
        for (i, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            if !self.paths.contains_key(&path[..i]) {
                self.inodes += 1;
                let dir = dir || i < path.len();
                let id = InodeId(self.inodes);
                let name = split(&path[..i]).1.to_string();
                let seen = Seen { name, id, dir, length: 0, completed: dir, version: self.index };
                self.paths.insert(path[..i].into(), seen);
            }
        }
        Answer::Info(self.paths[path].clone())
    }

    fn remove(&mut self, path: &str) {
        self.paths.retain(|p, _| !within(p, path));
    }
}

/// Clients that contend for few paths: `ops` operations, of which one in `unknown` loses its answer.
/// Paths have one to three parts; more than five names make it the usual shape of two levels, where files move and
/// directories stay.
fn generate(seed: u64, ops: usize, unknown: u64, names: u64) -> Vec<Operation> {
    let mut chance = Seed(seed).stream("history", 0);
    let mut server = Server::new();
    let mut history: Vec<Operation> = Vec::new();
    for ordinal in 0..ops {
        let call = draw(&mut chance, &server, names);
        let invoked = at(ordinal as u64 * 10).0.saturating_sub(chance.below(40_000_000));
        let lost = call.changes() && chance.ratio(1, unknown);
        let returned = at(ordinal as u64 * 10 + 1).0 + chance.below(40_000_000);
        let (invoked, returned) = (SimTime(invoked), SimTime(returned));
        let outcome = if lost {
            // Half of the lost ones take effect.
            if chance.ratio(1, 2) {
                server.serve(&call, ordinal as u32);
            }
            Outcome::Unknown { returned, error: "timed out".into(), documented: true }
        } else {
            let (index, answer) = server.serve(&call, ordinal as u32);
            Outcome::Acked { returned, index, term: 1, answer }
        };
        let op = OpId { client: 1, seq: ordinal as u64 };
        history.push(Operation { client: 1, op, call, invoked, attempts: 1, outcome });
    }
    history
}

fn draw(chance: &mut Stream, server: &Server, names: u64) -> Call {
    let usual = names > 5;
    let path = |chance: &mut Stream| {
        let depth = if usual { 2 } else { 1 + chance.below(3) };
        (0..depth).map(|_| format!("/{}", (b'a' + chance.below(names) as u8) as char)).collect::<String>()
    };
    let recursive = chance.ratio(1, 3);
    match chance.below(20) {
        0..3 if usual => Call::Mkdir { path: split(&path(chance)).0.into(), recursive: true },
        0..3 => Call::Mkdir { path: path(chance), recursive },
        3..7 => Call::Create { path: path(chance) },
        7..9 => {
            let open: Vec<_> = server.paths.iter().filter(|(_, seen)| !seen.completed).collect();
            match chance.pick(&open) {
                Some((path, seen)) => Call::Complete {
                    file: seen.id,
                    path: (*path).clone(),
                    length: chance.below(100),
                    content: Content { key: (*path).clone(), version: 1 },
                },
                None => Call::Stat { path: path(chance) },
            }
        }
        9..12 => Call::Rename { from: path(chance), to: path(chance) },
        12..14 => Call::Delete { path: path(chance), recursive: recursive && !usual },
        14..18 => Call::Stat { path: path(chance) },
        _ => Call::List { path: split(&path(chance)).0.into() },
    }
}

/// What the search says, with and without its jumps.
fn verdicts(history: &[Operation], window: Window, jumps: bool) -> Placing {
    let sorted = sort(history);
    let history: Vec<&Operation> = history.iter().collect();
    let places = Whereabouts::new(history.iter().copied());
    let setup = Setup::default();
    let search = Search::new(&sorted, &history, &places, &setup, window, 200_000);
    if jumps { search.run() } else { search.without_jumps().run() }
}

/// Swaps one answer for another that may or may not be right.
fn mutate(history: &mut [Operation], seed: u64) {
    let mut chance = Seed(seed).stream("mutation", 0);
    let at = chance.below(history.len() as u64) as usize;
    let Outcome::Acked { answer, .. } = &mut history[at].outcome else { return };
    *answer = match answer.clone() {
        Answer::Info(seen) if chance.ratio(1, 2) => Answer::Info(Seen { length: seen.length + 1, ..seen }),
        Answer::Refused(Refusal::NotFound) => Answer::Refused(Refusal::AlreadyExists),
        Answer::Entries(mut entries) if !entries.is_empty() => {
            entries.remove(0);
            Answer::Entries(entries)
        }
        _ => Answer::Refused(Refusal::NotFound),
    };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_model_made_passes(seed: u64, ops in 1usize..80, names in 2u64..5) {
        let record = RunRecord { history: generate(seed, ops, 6, names), ..RunRecord::default() };
        let found = check(&record).violations;
        prop_assert!(found.is_empty(), "{}", found[0]);
    }

    #[test]
    fn jumping_over_choices_changes_no_verdict(seed: u64, ops in 4usize..24) {
        let mut history = generate(seed, ops, 4, 3);
        mutate(&mut history, seed);
        match (verdicts(&history, Window::AnyTime, true), verdicts(&history, Window::AnyTime, false)) {
            (Placing::Found { .. }, Placing::Impossible(v)) => prop_assert!(false, "only the fast search passes: {v}"),
            (Placing::Impossible(v), Placing::Found { .. }) => prop_assert!(false, "only the fast search fires: {v}"),
            _ => {}
        }
    }

    #[test]
    fn a_certainly_wrong_answer_is_found(seed: u64, ops in 20usize..60) {
        // With unknown changes about, a new inode may well be at an old path.
        let mut history = generate(seed, ops, u64::MAX, 3);
        // An inode number that nothing ever had, on an answer about something that an earlier answer showed.
        let mut known = std::collections::BTreeSet::new();
        for op in &mut history {
            let Outcome::Acked { answer: Answer::Info(seen), .. } = &mut op.outcome else { continue };
            if !known.insert(seen.id) {
                seen.id = InodeId(999_999);
                let violations = check(&RunRecord { history, ..RunRecord::default() }).violations;
                prop_assert!(!violations.is_empty());
                return Ok(());
            }
        }
    }
}

#[test]
fn ten_thousand_operations_with_dozens_of_unknown_ones_are_decided() {
    let history = generate(11, 10_000, 120, 8);
    let unknown = history.iter().filter(|op| matches!(op.outcome, Outcome::Unknown { .. })).count();
    assert!((24..120).contains(&unknown), "{unknown}");
    match verdicts(&history, Window::WhileAwaited, true) {
        Placing::Found { steps, .. } => assert!(steps < 40_000, "{steps} steps"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_answer_in_a_long_history_is_named() {
    let mut history = generate(12, 3_000, 100, 8);
    let seen = |op: &Operation| matches!(op.answer(), Some(Answer::Info(_))) && !op.call.changes();
    let at = history.iter().position(|op| seen(op) && op.op.seq > 1_000);
    let at = at.expect("a stat that found something");
    if let Outcome::Acked { answer, .. } = &mut history[at].outcome {
        *answer = Answer::Refused(Refusal::NotFound);
    }
    let found = check(&RunRecord { history, ..RunRecord::default() }).violations;
    let named = |v: &Violation| matches!(v.name(), "LostAckedWrite" | "StaleRead" | "NotLinearizable");
    assert!(found.len() == 1 && named(&found[0]), "{found:?}");
}

#[test]
fn groups_of_a_history_without_unknown_outcomes_are_empty() {
    let history = generate(13, 50, u64::MAX, 3);
    let sorted = sort(&history);
    let places = Whereabouts::new(history.iter());
    let groups = Components::new(&sorted.placed, &sorted.floating, &Solid::default(), &places);
    assert!(groups.bearing_on(&history[0].call, None).is_empty());
}
