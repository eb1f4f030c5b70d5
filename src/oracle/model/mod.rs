//! A naive namespace: what the master promises, written from the protocol's comments and not from the master's code.
//!
//! A tree of nodes with an undo log, so that a search can take steps back. What a client cannot know (the inode of a file
//! whose create was never answered) is left open and bound by the first answer that shows it. Not here: mounts, blocks,
//! workers, times.

mod answers;
mod rules;

use std::collections::BTreeMap;

pub use answers::Wrong;
pub use rules::{Allowed, RefusalSet};

use super::history::Call;
use super::record::Setup;
use crate::base::seed::mix;
use crate::stack::wire::InodeId;

/// Index of a node in the arena.
pub type NodeIx = u32;
/// The root directory.
pub const ROOT: NodeIx = 0;
/// Ordinal of no operation: made before the history began.
pub const NOBODY: u32 = u32::MAX;

/// What is known of one inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Directory or file.
    pub dir: bool,
    /// The inode's number, once an answer showed it.
    pub id: Option<InodeId>,
    /// Bytes, once complete.
    pub length: u64,
    /// Whether its writer has finished.
    pub completed: bool,
    /// The highest version that an answer showed.
    pub version: u64,
    /// Ordinal of the operation that made it or put it where it is.
    pub maker: u32,
    /// Ordinal of the operation that took it away, if it is gone.
    pub remover: u32,
}

#[derive(Debug, Clone)]
struct Node {
    key: u64,
    attr: Attr,
    parent: Option<NodeIx>,
    children: BTreeMap<Box<str>, NodeIx>,
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// A part of it does not exist.
    Missing,
    /// A part of it is a file.
    UnderFile,
}

#[derive(Debug, Clone)]
enum Undo {
    Made,
    Child { parent: NodeIx, name: Box<str>, was: Option<NodeIx> },
    Parent { node: NodeIx, was: Option<NodeIx> },
    Attr { node: NodeIx, was: Attr },
    Id { id: InodeId, was: Option<NodeIx> },
}

/// The namespace at one point of a history.
#[derive(Debug, Clone)]
pub struct Model {
    nodes: Vec<Node>,
    by_id: BTreeMap<InodeId, NodeIx>,
    protected: Vec<String>,
    undo: Vec<Undo>,
    hash: u128,
}

impl Model {
    /// The namespace before the history begins.
    pub fn new(setup: &Setup) -> Self {
        let mut model =
            Self { nodes: vec![], by_id: BTreeMap::new(), protected: setup.external.clone(), undo: vec![], hash: 0 };
        model.make(true, NOBODY, 0);
        for path in &setup.directories {
            model.make_directories(path, NOBODY);
        }
        model.undo.clear();
        model
    }

    /// Digest of the state; equal for equal states reached by different orders of the same operations.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// A point to come back to.
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back everything since `mark`.
    pub fn undo_to(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Made) => {
                    self.hash ^= self.attr_hash(self.nodes.len() as NodeIx - 1);
                    self.nodes.pop();
                }
                Some(Undo::Child { parent, name, was }) => self.put_child(parent, name, was),
                Some(Undo::Parent { node, was }) => self.nodes[node as usize].parent = was,
                Some(Undo::Attr { node, was }) => self.put_attr(node, was),
                Some(Undo::Id { id, was: Some(node) }) => drop(self.by_id.insert(id, node)),
                Some(Undo::Id { id, was: None }) => drop(self.by_id.remove(&id)),
                None => return,
            }
        }
    }

    /// What is known of a node.
    pub fn attr(&self, node: NodeIx) -> &Attr {
        &self.nodes[node as usize].attr
    }

    /// Finds what a path names.
    pub fn walk(&self, path: &str) -> Result<NodeIx, Gap> {
        let mut at = ROOT;
        for name in parts(path) {
            if !self.attr(at).dir {
                return Err(Gap::UnderFile);
            }
            at = *self.nodes[at as usize].children.get(name).ok_or(Gap::Missing)?;
        }
        Ok(at)
    }

    /// The node of an inode number that an answer has shown, whether it is still in the tree or not.
    pub fn inode(&self, id: InodeId) -> Option<NodeIx> {
        self.by_id.get(&id).copied()
    }

    /// The node of an inode number; if no answer has shown it yet, a file of unknown number at the path where it was made.
    pub(super) fn named(&self, id: InodeId, path: &str) -> Option<NodeIx> {
        let unknown = |node: &NodeIx| !self.attr(*node).dir && self.attr(*node).id.is_none();
        self.inode(id).or_else(|| self.walk(path).ok().filter(unknown))
    }

    /// The topmost node above `node`: the root if it is still in the tree, else what was cut off with it.
    pub fn top(&self, node: NodeIx) -> NodeIx {
        let mut at = node;
        while let Some(parent) = self.nodes[at as usize].parent {
            at = parent;
        }
        at
    }

    /// Takes the change if its rules allow it. `ordinal` names the operation.
    pub fn try_apply(&mut self, call: &Call, ordinal: u32) -> bool {
        let ok = call.changes() && self.allowed(call).ok;
        if ok {
            self.apply(call, ordinal);
        }
        ok
    }

    /// Takes a change that [`Model::allowed`] allows.
    fn apply(&mut self, call: &Call, ordinal: u32) {
        match call {
            Call::Mkdir { path, .. } => self.make_directories(path, ordinal),
            Call::Create { path } => {
                let (parent, name) = split(path);
                if let Ok(parent) = self.walk(parent) {
                    let node = self.make(false, ordinal, name_key(name));
                    self.link(parent, name, node);
                }
            }
            Call::Complete { file, path, length, .. } => {
                if let Some(node) = self.named(*file, path) {
                    if self.inode(*file).is_none() {
                        self.bind(node, *file);
                    }
                    self.set(node, Attr { length: *length, completed: true, ..*self.attr(node) });
                }
            }
            Call::Rename { from, to } if from != to => self.rename(from, to, ordinal),
            Call::Delete { path, .. } => {
                let _removed = self.cut(path, ordinal);
            }
            Call::Rename { .. } | Call::Stat { .. } | Call::List { .. } | Call::Read { .. } => {}
        }
    }

    fn rename(&mut self, from: &str, to: &str, ordinal: u32) {
        let Some(node) = self.cut(from, ordinal) else { return };
        let _replaced = self.cut(to, ordinal);
        let (parent, name) = split(to);
        if let Ok(parent) = self.walk(parent) {
            self.set(node, Attr { maker: ordinal, remover: NOBODY, ..*self.attr(node) });
            self.link(parent, name, node);
        }
    }

    /// Makes what is missing of a path; the parts that exist are directories.
    fn make_directories(&mut self, path: &str, ordinal: u32) {
        let mut at = ROOT;
        let mut key = 0u64;
        for name in parts(path) {
            key = mix(key ^ name_key(name));
            at = match self.nodes[at as usize].children.get(name) {
                Some(next) => *next,
                None => {
                    let node = self.make(true, ordinal, key);
                    self.link(at, name, node);
                    node
                }
            };
        }
    }

    /// Unlinks what `path` names and returns it.
    fn cut(&mut self, path: &str, ordinal: u32) -> Option<NodeIx> {
        let (parent, name) = split(path);
        let parent = self.walk(parent).ok()?;
        let node = *self.nodes[parent as usize].children.get(name)?;
        self.undo.push(Undo::Child { parent, name: name.into(), was: Some(node) });
        self.put_child(parent, name.into(), None);
        self.undo.push(Undo::Parent { node, was: Some(parent) });
        self.nodes[node as usize].parent = None;
        self.set(node, Attr { remover: ordinal, ..*self.attr(node) });
        Some(node)
    }

    fn make(&mut self, dir: bool, ordinal: u32, salt: u64) -> NodeIx {
        let attr = Attr { dir, id: None, length: 0, completed: dir, version: 0, maker: ordinal, remover: NOBODY };
        let key = mix(salt ^ mix(u64::from(ordinal)));
        self.nodes.push(Node { key, attr, parent: None, children: BTreeMap::new() });
        let node = self.nodes.len() as NodeIx - 1;
        self.hash ^= self.attr_hash(node);
        self.undo.push(Undo::Made);
        node
    }

    fn link(&mut self, parent: NodeIx, name: &str, node: NodeIx) {
        self.undo.push(Undo::Child { parent, name: name.into(), was: None });
        self.put_child(parent, name.into(), Some(node));
        self.undo.push(Undo::Parent { node, was: self.nodes[node as usize].parent });
        self.nodes[node as usize].parent = Some(parent);
    }

    fn set(&mut self, node: NodeIx, attr: Attr) {
        let was = *self.attr(node);
        if was != attr {
            self.undo.push(Undo::Attr { node, was });
            self.put_attr(node, attr);
        }
    }

    /// Notes which inode a node is.
    fn bind(&mut self, node: NodeIx, id: InodeId) {
        let was = self.by_id.insert(id, node);
        self.undo.push(Undo::Id { id, was });
        self.set(node, Attr { id: Some(id), ..*self.attr(node) });
    }

    fn put_attr(&mut self, node: NodeIx, attr: Attr) {
        self.hash ^= self.attr_hash(node);
        self.nodes[node as usize].attr = attr;
        self.hash ^= self.attr_hash(node);
    }

    fn put_child(&mut self, parent: NodeIx, name: Box<str>, child: Option<NodeIx>) {
        if let Some(old) = self.nodes[parent as usize].children.get(&name) {
            self.hash ^= self.link_hash(parent, &name, *old);
        }
        match child {
            Some(new) => {
                self.hash ^= self.link_hash(parent, &name, new);
                self.nodes[parent as usize].children.insert(name, new);
            }
            None => drop(self.nodes[parent as usize].children.remove(&name)),
        }
    }

    fn link_hash(&self, parent: NodeIx, name: &str, child: NodeIx) -> u128 {
        wide(&[1, self.nodes[parent as usize].key, name_key(name), self.nodes[child as usize].key])
    }

    fn attr_hash(&self, node: NodeIx) -> u128 {
        let Node { key, attr, .. } = &self.nodes[node as usize];
        let flags = u64::from(attr.dir) | u64::from(attr.completed) << 1 | u64::from(attr.id.is_some()) << 2;
        wide(&[2, *key, flags, attr.id.map_or(0, |id| id.0), attr.length, attr.version])
    }
}

/// The parts of an absolute path.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Parent and last part; the root's parent is the root, and its last part is empty.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => ("/", path),
    }
}

/// Whether `path` is `above` or lies below it.
pub(super) fn within(path: &str, above: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn name_key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| mix(h ^ u64::from(b)))
}

/// Two independent chains, so that states that collide by chance need not be thought of.
fn wide(words: &[u64]) -> u128 {
    let chain = |start: u64| words.iter().fold(start, |h, w| mix(h.rotate_left(23) ^ w));
    u128::from(chain(0x243f_6a88_85a3_08d3)) << 64 | u128::from(chain(0x1319_8a2e_0370_7344))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mkdir(path: &str) -> Call {
        Call::Mkdir { path: path.into(), recursive: false }
    }
    fn create(path: &str) -> Call {
        Call::Create { path: path.into() }
    }
    fn rename(from: &str, to: &str) -> Call {
        Call::Rename { from: from.into(), to: to.into() }
    }
    fn delete(path: &str, recursive: bool) -> Call {
        Call::Delete { path: path.into(), recursive }
    }
    fn built(calls: &[Call]) -> Model {
        let mut model = Model::new(&Setup::default());
        for (i, call) in calls.iter().enumerate() {
            assert!(model.try_apply(call, i as u32), "{call}");
        }
        model
    }

    #[test]
    fn a_subtree_moves_with_its_directory() {
        let model = built(&[mkdir("/a"), mkdir("/a/b"), create("/a/b/f"), rename("/a", "/c")]);
        assert!(model.walk("/c/b/f").is_ok());
        assert_eq!(model.walk("/a/b/f"), Err(Gap::Missing));
        assert_eq!(model.walk("/c/b/f/x"), Err(Gap::UnderFile));
    }

    #[test]
    fn a_recursive_delete_takes_everything_below() {
        let model = built(&[mkdir("/a"), create("/a/f"), create("/ab"), delete("/a", true)]);
        assert_eq!(model.walk("/a/f"), Err(Gap::Missing));
        assert!(model.walk("/ab").is_ok());
    }

    #[test]
    fn undo_restores_state_and_hash() {
        let mut model = built(&[mkdir("/a"), create("/a/f"), create("/g")]);
        let (mark, hash) = (model.mark(), model.hash());
        for call in [rename("/g", "/a/f"), delete("/a", true), mkdir("/a"), create("/a/f")] {
            assert!(model.try_apply(&call, 9));
        }
        assert_ne!(model.hash(), hash);
        model.undo_to(mark);
        assert_eq!(model.hash(), hash);
        assert!(model.walk("/a/f").is_ok() && model.walk("/g").is_ok());
    }

    #[test]
    fn the_order_of_independent_changes_leaves_no_trace_in_the_hash() {
        let mut one = Model::new(&Setup::default());
        let mut two = Model::new(&Setup::default());
        assert!(one.try_apply(&mkdir("/a"), 0) && one.try_apply(&create("/f"), 1));
        assert!(two.try_apply(&create("/f"), 1) && two.try_apply(&mkdir("/a"), 0));
        assert_eq!(one.hash(), two.hash());
    }

    #[test]
    fn within_respects_whole_names() {
        for (path, above, want) in
            [("/a/b", "/a", true), ("/ab", "/a", false), ("/a", "/a", true), ("/a", "/", true), ("/a", "/a/b", false)]
        {
            assert_eq!(within(path, above), want, "{path} in {above}");
        }
    }
}
