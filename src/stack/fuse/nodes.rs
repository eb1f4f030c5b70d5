//! Node ids, as the kernel's FUSE protocol has them: numbers that stand for names.
//!
//! A node is a place in the tree of names this client has seen, not an inode of the master: as with libfuse's path-based
//! interface, a node whose name another client moved answers `ENOENT`. The root is node 1. The kernel counts its lookups
//! and takes them back by `forget`; nodes it does not hold may be dropped when room is needed. Bounded.
//! Order of facts: every node but the root is its parent's child under its own name; ids are never reused.

use std::collections::BTreeMap;

use super::errno::Errno;

/// Linux's NAME_MAX, bytes.
const NAME_MAX: usize = 255;
/// Linux's PATH_MAX, bytes.
const PATH_MAX: usize = 4096;

/// A node id. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// `/`.
    pub const ROOT: Self = Self(1);
}

#[derive(Debug)]
struct Node {
    parent: NodeId,
    name: String,
    children: BTreeMap<String, NodeId>,
    /// Lookups that the kernel has not taken back.
    lookups: u64,
}

/// All nodes.
#[derive(Debug)]
pub struct Nodes {
    nodes: BTreeMap<NodeId, Node>,
    next: u64,
    capacity: usize,
}

impl Nodes {
    /// The root alone; at most `capacity` nodes.
    pub fn new(capacity: usize) -> Self {
        let root = Node { parent: NodeId::ROOT, name: String::new(), children: BTreeMap::new(), lookups: 1 };
        Self { nodes: BTreeMap::from([(NodeId::ROOT, root)]), next: 2, capacity: capacity.max(1) }
    }

    /// Number of nodes, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Always false: the root stays.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The path of a node; `ESTALE` if the id is not known (any more).
    pub fn path(&self, node: NodeId) -> Result<String, Errno> {
        let mut names = Vec::new();
        let mut at = node;
        while at != NodeId::ROOT {
            let found = self.nodes.get(&at).ok_or(Errno::ESTALE)?;
            names.push(found.name.as_str());
            at = found.parent;
        }
        if names.is_empty() {
            return Ok("/".into());
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        Ok(path)
    }

    /// The path of `name` in `parent`.
    pub fn path_in(&self, parent: NodeId, name: &str) -> Result<String, Errno> {
        check_name(name)?;
        let mut path = self.path(parent)?;
        if path != "/" {
            path.push('/');
        }
        path.push_str(name);
        if path.len() > PATH_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(path) }
    }

    /// The node of `name` in `parent`, made if need be; `ENFILE` if there is no room.
    pub fn intern(&mut self, parent: NodeId, name: &str) -> Result<NodeId, Errno> {
        check_name(name)?;
        let above = self.nodes.get(&parent).ok_or(Errno::ESTALE)?;
        if let Some(known) = above.children.get(name) {
            return Ok(*known);
        }
        self.make_room(parent)?;
        let id = NodeId(self.next);
        self.next += 1;
        let node = Node { parent, name: name.into(), children: BTreeMap::new(), lookups: 0 };
        self.nodes.insert(id, node);
        if let Some(above) = self.nodes.get_mut(&parent) {
            above.children.insert(name.into(), id);
        }
        Ok(id)
    }

    /// The node of an absolute path, made if need be.
    pub fn walk(&mut self, path: &str) -> Result<NodeId, Errno> {
        let rest = path.strip_prefix('/').ok_or(Errno::EINVAL)?;
        let names = rest.split('/').filter(|name| !name.is_empty());
        names.clone().try_for_each(check_name)?;
        names.into_iter().try_fold(NodeId::ROOT, |at, name| self.intern(at, name))
    }

    /// Counts a lookup.
    pub fn looked_up(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.lookups = node.lookups.saturating_add(1);
        }
    }

    /// Takes lookups back, and the node with the last of them.
    pub fn forget(&mut self, node: NodeId, lookups: u64) {
        let Some(found) = self.nodes.get_mut(&node) else { return };
        found.lookups = found.lookups.saturating_sub(lookups);
        self.drop_unused(node);
    }

    /// A name is gone: what the kernel still holds below it goes stale.
    pub fn removed(&mut self, parent: NodeId, name: &str) {
        let gone = self.nodes.get_mut(&parent).and_then(|above| above.children.remove(name));
        gone.into_iter().for_each(|node| self.drop_tree(node));
    }

    /// A name moved, over whatever had the new name.
    pub fn renamed(&mut self, from: (NodeId, &str), to: (NodeId, &str)) {
        if from == to {
            return;
        }
        self.removed(to.0, to.1);
        let Some(moved) = self.nodes.get_mut(&from.0).and_then(|above| above.children.remove(from.1)) else { return };
        let Some(above) = self.nodes.get_mut(&to.0) else { return self.drop_tree(moved) };
        above.children.insert(to.1.into(), moved);
        if let Some(node) = self.nodes.get_mut(&moved) {
            (node.parent, node.name) = (to.0, to.1.into());
        }
    }

    /// Drops the oldest nodes that nobody holds, apart from `keep` and what is above it, when the table is full.
    fn make_room(&mut self, keep: NodeId) -> Result<(), Errno> {
        while self.nodes.len() >= self.capacity {
            let unused = |(id, node): (&NodeId, &Node)| node.lookups == 0 && node.children.is_empty() && *id != keep;
            let oldest = self.nodes.iter().find(|(id, node)| unused((id, node))).map(|(id, _)| *id);
            self.drop_unused(oldest.ok_or(Errno::ENFILE)?);
        }
        Ok(())
    }

    /// Drops a node that nobody holds.
    fn drop_unused(&mut self, node: NodeId) {
        let Some(found) = self.nodes.get(&node) else { return };
        if node == NodeId::ROOT || found.lookups > 0 || !found.children.is_empty() {
            return;
        }
        let Some(found) = self.nodes.remove(&node) else { return };
        if let Some(above) = self.nodes.get_mut(&found.parent) {
            above.children.remove(&found.name);
        }
    }

    fn drop_tree(&mut self, node: NodeId) {
        let mut gone = vec![node];
        while let Some(id) = gone.pop() {
            gone.extend(self.nodes.remove(&id).into_iter().flat_map(|node| node.children.into_values()));
        }
    }

    #[cfg(test)]
    fn check(&self) -> Result<(), String> {
        for (id, node) in &self.nodes {
            let above = self.nodes.get(&node.parent).ok_or(format!("{id:?} has no parent"))?;
            if *id != NodeId::ROOT && above.children.get(&node.name) != Some(id) {
                return Err(format!("{id:?} is not its parent's child"));
            }
            if let Some((name, child)) = node.children.iter().find(|(_, child)| !self.nodes.contains_key(child)) {
                return Err(format!("{child:?} named {name} in {id:?} does not exist"));
            }
        }
        if self.nodes.len() > self.capacity { Err("more than its capacity".into()) } else { Ok(()) }
    }
}

/// What Linux would refuse before asking the file system.
fn check_name(name: &str) -> Result<(), Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let bad = name.is_empty() || name == "." || name == ".." || name.bytes().any(|b| b == b'/' || b == 0);
    if bad { Err(Errno::EINVAL) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_checked_as_linux_does() {
        let mut nodes = Nodes::new(10);
        let long = "n".repeat(256);
        for (name, errno) in [
            ("", Errno::EINVAL),
            (".", Errno::EINVAL),
            ("..", Errno::EINVAL),
            ("a/b", Errno::EINVAL),
            ("a\0", Errno::EINVAL),
            (long.as_str(), Errno::ENAMETOOLONG),
        ] {
            assert_eq!(nodes.intern(NodeId::ROOT, name), Err(errno), "{name:?}");
        }
        assert_eq!(nodes.path(NodeId(77)), Err(Errno::ESTALE));
        assert_eq!(nodes.walk("a"), Err(Errno::EINVAL));
    }

    #[test]
    fn what_the_kernel_holds_is_kept_and_the_table_says_when_it_is_full() {
        let mut nodes = Nodes::new(3);
        let a = nodes.walk("/a").unwrap();
        nodes.looked_up(a);
        let b = nodes.walk("/a/b").unwrap();
        let c = nodes.walk("/a/c").unwrap();
        assert_eq!((nodes.path(a), nodes.path(b)), (Ok("/a".into()), Err(Errno::ESTALE)));
        nodes.looked_up(c);
        assert_eq!(nodes.intern(a, "d"), Err(Errno::ENFILE));
        nodes.forget(c, 1);
        assert!(nodes.intern(a, "d").is_ok());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Walk(Vec<u8>),
        LookUp(u8),
        Forget(u8),
        Remove(u8, u8),
        Rename(u8, u8, u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(0u8..3, 1..4).prop_map(Step::Walk),
            (0u8..20).prop_map(Step::LookUp),
            (0u8..20).prop_map(Step::Forget),
            (0u8..20, 0u8..3).prop_map(|(p, n)| Step::Remove(p, n)),
            (0u8..20, 0u8..3, 0u8..20, 0u8..3).prop_map(|(p, n, q, m)| Step::Rename(p, n, q, m)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_tree_stays_whole_and_bounded(steps in prop::collection::vec(step(), 0..60)) {
            let name = |n: u8| char::from(b'a' + n).to_string();
            let mut nodes = Nodes::new(12);
            for step in steps {
                match step {
                    Step::Walk(parts) => {
                        let path: String = parts.iter().map(|n| format!("/{}", name(*n))).collect();
                        if let Ok(node) = nodes.walk(&path) {
                            prop_assert_eq!(nodes.path(node), Ok(path));
                        }
                    }
                    Step::LookUp(id) => nodes.looked_up(NodeId(id.into())),
                    Step::Forget(id) if id > 1 => nodes.forget(NodeId(id.into()), 1),
                    Step::Forget(_) => {}
                    Step::Remove(parent, n) => nodes.removed(NodeId(parent.into()), &name(n)),
                    Step::Rename(p, n, q, m) => {
                        let (from, to) = ((NodeId(p.into()), name(n)), (NodeId(q.into()), name(m)));
                        // The master refuses to move a directory into itself.
                        let source = nodes.path_in(from.0, &from.1);
                        let target = nodes.path_in(to.0, &to.1);
                        if let (Ok(source), Ok(target)) = (source, target)
                            && !format!("{target}/").starts_with(&format!("{source}/"))
                            && !format!("{source}/").starts_with(&format!("{target}/"))
                        {
                            nodes.renamed((from.0, &from.1), (to.0, &to.1));
                        }
                    }
                }
                prop_assert_eq!(nodes.check(), Ok(()));
            }
        }
    }
}
