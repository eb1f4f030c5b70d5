//! The file system against a naive model: one that keeps every state that ever was and replays.
//!
//! The model knows the rule, not the means: a length and a sector may be any version since the last sync, a set of name
//! changes is legal if it holds what its members need.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use proptest::prelude::*;

use super::crash::ByStream;
use super::fs::{FileSystem, Inode, ROOT};
use super::{Newest, Oldest, SECTOR};
use crate::base::Seed;

const NAMES: [&str; 6] = ["/f", "/g", "/d", "/d/f", "/d/g", "/e"];

#[derive(Debug, Clone)]
enum Op {
    Write(usize, usize, usize),
    SetLen(usize, usize),
    MakeDir(usize),
    Remove(usize),
    RemoveDir(usize),
    Rename(usize, usize),
    Sync(usize),
    SyncDir(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let name = || 0..NAMES.len();
    let size = || prop_oneof![0usize..20, 500usize..530, 900usize..1300];
    prop_oneof![
        6 => (name(), size(), size()).prop_map(|(n, at, len)| Op::Write(n, at, len)),
        2 => (name(), size()).prop_map(|(n, len)| Op::SetLen(n, len)),
        2 => name().prop_map(Op::MakeDir),
        1 => name().prop_map(Op::Remove),
        1 => name().prop_map(Op::RemoveDir),
        3 => (name(), name()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => name().prop_map(Op::Sync),
        2 => name().prop_map(Op::SyncDir),
    ]
}

/// A change of names as the model sees it: which names point where afterwards.
#[derive(Debug, Clone)]
struct Change {
    sets: Vec<(usize, String, Option<usize>)>,
    concerns: Vec<usize>,
    moves_dir: bool,
    durable: bool,
}

#[derive(Debug, Clone)]
struct Thing {
    dir: bool,
    /// Every content since the last sync, oldest first.
    versions: Vec<Vec<u8>>,
}

/// Things by number (0 is the root), and every change of names that ever was.
struct Model {
    things: Vec<Thing>,
    changes: Vec<Change>,
}

type Tree = BTreeMap<String, usize>;

impl Model {
    fn new() -> Self {
        Self { things: vec![Thing { dir: true, versions: vec![] }], changes: vec![] }
    }

    /// All paths after the chosen changes.
    fn tree(&self, chosen: impl Fn(usize) -> bool) -> Tree {
        let mut names: BTreeMap<(usize, String), usize> = BTreeMap::new();
        for (_, change) in self.changes.iter().enumerate().filter(|(i, _)| chosen(*i)) {
            for (dir, name, to) in &change.sets {
                match to {
                    Some(thing) => names.insert((*dir, name.clone()), *thing),
                    None => names.remove(&(*dir, name.clone())),
                };
            }
        }
        let mut tree = Tree::from([(String::new(), 0)]);
        let mut todo = vec![(String::new(), 0)];
        while let Some((path, thing)) = todo.pop() {
            for ((_, name), inner) in names.iter().filter(|((dir, _), _)| *dir == thing) {
                let path = format!("{path}/{name}");
                assert!(tree.insert(path.clone(), *inner).is_none() && tree.len() < 100, "a cycle");
                todo.push((path, *inner));
            }
        }
        tree
    }

    fn now(&self) -> Tree {
        self.tree(|_| true)
    }

    fn needs(&self, later: usize, earlier: usize) -> bool {
        let (a, b) = (&self.changes[later], &self.changes[earlier]);
        earlier < later && (a.moves_dir || a.concerns.iter().any(|thing| b.concerns.contains(thing)))
    }

    /// Every tree that a crash may leave.
    fn legal_trees(&self) -> Vec<Tree> {
        let open: Vec<usize> = (0..self.changes.len()).filter(|i| !self.changes[*i].durable).collect();
        let masks = 0u32..1 << open.len();
        let sets = masks.map(|mask| {
            let chosen: BTreeSet<usize> =
                open.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, i)| *i).collect();
            chosen
        });
        let closed =
            sets.filter(|chosen| chosen.iter().all(|i| open.iter().all(|j| !self.needs(*i, *j) || chosen.contains(j))));
        closed.map(|chosen| self.tree(|i| self.changes[i].durable || chosen.contains(&i))).collect()
    }

    fn sync_dir(&mut self, dir: usize) {
        for i in 0..self.changes.len() {
            self.changes[i].durable |= self.changes[i].sets.iter().any(|(d, ..)| *d == dir);
        }
        for i in (0..self.changes.len()).rev().filter(|i| self.changes[*i].durable).collect::<Vec<_>>() {
            self.persist_needs(i);
        }
    }

    fn persist_needs(&mut self, i: usize) {
        for j in 0..i {
            if !self.changes[j].durable && self.needs(i, j) {
                self.changes[j].durable = true;
                self.persist_needs(j);
            }
        }
    }

    /// Whether a crash may leave `content` in this thing.
    fn legal_content(&self, thing: usize, content: &[u8]) -> bool {
        let versions = &self.things[thing].versions;
        let piece = |version: &[u8], at: usize| -> Vec<u8> {
            (at..at + SECTOR).map(|i| version.get(i).copied().unwrap_or(0)).collect()
        };
        versions.iter().any(|version| version.len() == content.len())
            && (0..content.len()).step_by(SECTOR).all(|at| {
                let end = content.len().min(at + SECTOR) - at;
                versions.iter().any(|version| piece(version, at)[..end] == content[at..at + end])
            })
    }

    fn change(&mut self, sets: Vec<(usize, String, Option<usize>)>, concerns: Vec<usize>, moves_dir: bool) {
        self.changes.push(Change { sets, concerns, moves_dir, durable: false });
    }

    fn split(path: &str) -> (&str, String) {
        let (above, name) = path.rsplit_once('/').expect("absolute");
        (above, name.to_owned())
    }

    fn make(&mut self, path: &str, dir: bool) -> Option<usize> {
        let (above, name) = Self::split(path);
        let above = *self.now().get(above).filter(|thing| self.things[**thing].dir)?;
        self.things.push(Thing { dir, versions: vec![vec![]] });
        let thing = self.things.len() - 1;
        self.change(vec![(above, name, Some(thing))], vec![thing], false);
        Some(thing)
    }

    fn edit(&mut self, path: &str, create: bool, f: impl FnOnce(&mut Vec<u8>)) -> Option<()> {
        let thing = match self.now().get(path) {
            Some(thing) => *thing,
            None if create => self.make(path, false)?,
            None => return None,
        };
        let thing = Some(&mut self.things[thing]).filter(|thing| !thing.dir)?;
        let mut content = thing.versions.last().cloned()?;
        f(&mut content);
        thing.versions.push(content);
        Some(())
    }

    fn remove(&mut self, path: &str, dir: bool) -> Option<()> {
        let tree = self.now();
        let thing = *tree.get(path).filter(|thing| self.things[**thing].dir == dir)?;
        let (above, name) = Self::split(path);
        let below = format!("{path}/");
        if tree.keys().any(|other| other.starts_with(&below)) {
            return None;
        }
        self.change(vec![(tree[above], name, None)], vec![thing], false);
        Some(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Option<()> {
        let tree = self.now();
        let moved = *tree.get(from)?;
        let ((from_dir, from_name), (to_dir, to_name)) = (Self::split(from), Self::split(to));
        let to_dir = *tree.get(to_dir).filter(|thing| self.things[**thing].dir)?;
        let replaced = tree.get(to).copied();
        let is_dir = self.things[moved].dir;
        if replaced == Some(moved) {
            return Some(());
        }
        let below = format!("{to}/");
        if to.starts_with(&format!("{from}/"))
            || replaced.is_some_and(|thing| self.things[thing].dir != is_dir)
            || tree.keys().any(|other| other.starts_with(&below))
        {
            return None;
        }
        let concerns = [Some(moved), replaced].into_iter().flatten().collect();
        self.change(vec![(tree[from_dir], from_name, None), (to_dir, to_name, Some(moved))], concerns, is_dir);
        Some(())
    }

    fn apply(&mut self, op: &Op, byte: u8) -> Option<()> {
        match *op {
            Op::Write(n, at, len) => self.edit(NAMES[n], true, |content| {
                if len > 0 {
                    content.resize(content.len().max(at + len), 0);
                    content[at..at + len].fill(byte);
                }
            }),
            Op::SetLen(n, len) => self.edit(NAMES[n], false, |content| content.resize(len, 0)),
            Op::MakeDir(n) if self.now().contains_key(NAMES[n]) => None,
            Op::MakeDir(n) => self.make(NAMES[n], true).map(|_| ()),
            Op::Remove(n) => self.remove(NAMES[n], false),
            Op::RemoveDir(n) => self.remove(NAMES[n], true),
            Op::Rename(a, b) => self.rename(NAMES[a], NAMES[b]),
            Op::Sync(n) => {
                let thing = *self.now().get(NAMES[n])?;
                let thing = Some(&mut self.things[thing]).filter(|thing| !thing.dir)?;
                thing.versions.drain(..thing.versions.len() - 1);
                Some(())
            }
            Op::SyncDir(n) => {
                let dir = dir_of(n);
                let thing = *self.now().get(dir).filter(|thing| self.things[**thing].dir)?;
                self.sync_dir(thing);
                Some(())
            }
        }
    }
}

/// The root for most, so that it is synced often enough.
fn dir_of(n: usize) -> &'static str {
    if n < 3 { "" } else { NAMES[n] }
}

fn inode(fs: &FileSystem, path: &str) -> io::Result<Inode> {
    if path.is_empty() { Ok(ROOT) } else { fs.lookup(path) }
}

fn apply(fs: &mut FileSystem, op: &Op, byte: u8) -> io::Result<()> {
    match *op {
        Op::Write(n, at, len) => {
            let inode = fs.open(NAMES[n], true, false)?;
            fs.write_at(inode, at as u64, &vec![byte; len], u64::MAX).map(|_| ())
        }
        Op::SetLen(n, len) => {
            let inode = fs.open(NAMES[n], false, false)?;
            fs.set_len(inode, len as u64, u64::MAX)
        }
        Op::MakeDir(n) => fs.create_dir(NAMES[n]),
        Op::Remove(n) => fs.remove_file(NAMES[n]),
        Op::RemoveDir(n) => fs.remove_dir(NAMES[n]),
        Op::Rename(a, b) => fs.rename(NAMES[a], NAMES[b]),
        Op::Sync(n) => {
            let (inode, seq) = (inode(fs, NAMES[n])?, fs.seq());
            fs.file_mut(inode)?.persist(seq);
            Ok(())
        }
        Op::SyncDir(n) => {
            let (inode, seq) = (inode(fs, dir_of(n))?, fs.seq());
            fs.read_dir(dir_of(n))?;
            fs.persist_dir(inode, seq);
            Ok(())
        }
    }
}

/// Whether some legal tree with legal contents is what `fs` shows.
fn legal(model: &Model, trees: &[Tree], fs: &FileSystem) -> bool {
    let found = fs.walk();
    trees.iter().any(|tree| {
        tree.keys().eq(found.keys())
            && tree.iter().zip(found.values()).all(|((_, thing), content)| match content {
                None => model.things[*thing].dir,
                Some(bytes) => !model.things[*thing].dir && model.legal_content(*thing, bytes),
            })
    })
}

fn paths(fs: &FileSystem) -> Vec<String> {
    fs.walk().into_keys().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn visible_is_the_replay_and_a_crash_is_legal(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        let (mut fs, mut model) = (FileSystem::new(1 << 30), Model::new());
        for (i, op) in ops.iter().enumerate() {
            let byte = i as u8 + 1;
            let (got, want) = (apply(&mut fs, op, byte), model.apply(op, byte));
            prop_assert_eq!(got.is_ok(), want.is_some(), "{:?}: {:?}", op, got);
            let tree = model.now();
            let shown = fs.walk();
            prop_assert!(tree.keys().eq(shown.keys()), "{:?}", op);
            for ((path, thing), content) in tree.iter().zip(shown.values()) {
                let thing = &model.things[*thing];
                prop_assert_eq!(content.is_none(), thing.dir, "{}", path);
                prop_assert_eq!(content.map(<[u8]>::to_vec), thing.versions.last().cloned().filter(|_| !thing.dir));
            }
        }
        let used: usize = fs.walk().values().flatten().map(|content| content.len()).sum();
        prop_assert_eq!(fs.used(), used as u64);

        let trees = model.legal_trees();
        let mut states = fs.crash_states(300);
        let mut seen = BTreeSet::new();
        for state in states.by_ref() {
            prop_assert!(legal(&model, &trees, &state), "{:?}", state.walk());
            seen.insert(paths(&state));
        }
        if states.complete() {
            let possible: BTreeSet<Vec<String>> = trees.iter().map(|tree| tree.keys().cloned().collect()).collect();
            prop_assert_eq!(seen, possible, "every legal tree is reached");
        }
        let mut chance = Seed(seed).stream("crash", 0);
        for _ in 0..20 {
            let mut state = fs.clone();
            let last = state.seq();
            state.crash(&mut ByStream::new(&mut chance, 0, last));
            prop_assert!(legal(&model, &trees, &state), "{:?}", state.walk());
            let settled = state.clone();
            state.crash(&mut Oldest);
            prop_assert_eq!(state.walk(), settled.walk(), "what a crash left is durable");
        }
        let mut kept = fs.clone();
        kept.crash(&mut Newest);
        prop_assert_eq!(kept.walk(), fs.walk());
        fs.sync_all();
        let mut synced = fs.clone();
        synced.crash(&mut Oldest);
        prop_assert_eq!(synced.walk(), fs.walk());
    }
}

#[test]
fn all_versions_of_one_file_are_walked() {
    let mut fs = FileSystem::new(1 << 20);
    let file = fs.open("/f", true, false).unwrap();
    fs.write_at(file, 0, &[1; 1000], u64::MAX).unwrap();
    fs.sync_all();
    fs.write_at(file, 500, &[2; 100], u64::MAX).unwrap();
    fs.write_at(file, 1000, &[3; 10], u64::MAX).unwrap();
    let mut states = fs.crash_states(1000);
    let found: BTreeSet<Vec<u8>> = states.by_ref().map(|state| state.contents("/f").unwrap().to_vec()).collect();
    assert!(states.complete());
    // Length 1000 or 1010; first sector old or new; second old, new, or newer, whose end shows with the longer length.
    assert_eq!(found.len(), 2 * 2 + 2 * 3);
}
