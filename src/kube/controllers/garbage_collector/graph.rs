//! Who owns whom, and what happens to the owned when an owner goes.
//!
//! Follows `garbagecollector/graph_builder.go` and `garbagecollector.go` of Kubernetes 1.3x. Rule: an object goes only when all its
//! owners are gone or wait for it, and an owner counts as gone only after the API server itself said so. Pure: events in,
//! objects to look at out; the looking and the deleting is the loop's.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::kube::controllers::meta::{has_finalizer, name, namespace, terminating, uid};

/// Finalizer: the dependents go first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer: the dependents stay.
pub const ORPHAN: &str = "orphan";

/// What kind an object is, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Kind, such as `Pod`.
    pub kind: String,
    /// Namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

/// An object in the graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// Which object.
    pub identity: Identity,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// It was deleted.
    pub deleting: bool,
    /// It was deleted in the foreground: its dependents go first.
    pub awaits_dependents: bool,
    /// It was deleted with its dependents to be left alone.
    pub orphans_dependents: bool,
}

impl Node {
    fn new(kind: &str, meta: &ObjectMeta) -> Self {
        let identity = Identity {
            kind: kind.into(),
            namespace: namespace(meta).into(),
            name: name(meta).into(),
            uid: uid(meta).into(),
        };
        Self {
            identity,
            owners: meta.owner_references.clone().unwrap_or_default(),
            deleting: terminating(meta),
            awaits_dependents: terminating(meta) && has_finalizer(meta, FOREGROUND),
            orphans_dependents: terminating(meta) && has_finalizer(meta, ORPHAN),
        }
    }
}

/// What to do with an object, once its owners were looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Keep,
    /// Drop the references to owners with these uids: they are gone, others remain.
    Unreference(Vec<String>),
    /// Delete it in the background, or as its own finalizers ask.
    Delete,
    /// Delete it in the foreground: an owner waits for it, and others wait for it in turn.
    DeleteForeground,
    /// Take the foreground finalizer off: nothing blocks any more.
    FinishForeground,
    /// Drop the reference from all dependents, then take the orphan finalizer off.
    Orphan(Vec<Identity>),
}

/// All objects by uid, and who depends on whom.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<String, Node>,
    /// Owner's uid to dependents' uids.
    dependents: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// An object was seen. Gives the uids to look at.
    pub fn seen(&mut self, kind: &str, meta: &ObjectMeta) -> Vec<String> {
        let node = Node::new(kind, meta);
        let id = node.identity.uid.clone();
        let before = self.nodes.get(&id);
        let changed = before.is_none_or(|old| {
            old.owners != node.owners
                || old.deleting != node.deleting
                || old.awaits_dependents != node.awaits_dependents
                || old.orphans_dependents != node.orphans_dependents
        });
        if !changed {
            return Vec::new();
        }
        let mut look = Vec::new();
        self.unlink(&id);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(id.clone());
            // An owner that waits for its dependents may have one blocking reference less.
            if self.nodes.get(&owner.uid).is_some_and(|owner| owner.awaits_dependents) {
                look.push(owner.uid.clone());
            }
        }
        if node.awaits_dependents {
            look.extend(self.dependents(&id));
        }
        look.push(id.clone());
        self.nodes.insert(id, node);
        look
    }

    /// An object is gone. Gives the uids to look at: its dependents, and owners that waited for it.
    pub fn gone(&mut self, meta: &ObjectMeta) -> Vec<String> {
        let id = uid(meta);
        self.unlink(id);
        let mut look = self.dependents(id);
        if let Some(node) = self.nodes.remove(id) {
            let waits =
                |owner: &&OwnerReference| self.nodes.get(&owner.uid).is_some_and(|owner| owner.awaits_dependents);
            look.extend(node.owners.iter().filter(waits).map(|owner| owner.uid.clone()));
        }
        look
    }

    fn unlink(&mut self, id: &str) {
        let owners = self.nodes.get(id).map(|node| node.owners.clone()).unwrap_or_default();
        for owner in owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(id);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    fn dependents(&self, id: &str) -> Vec<String> {
        self.dependents.get(id).into_iter().flatten().cloned().collect()
    }

    /// An object of the graph.
    pub fn node(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Whether an owner is certainly there: it is in the graph, in the namespace that it must be in.
    pub fn holds(&self, owner: &OwnerReference, namespace: &str) -> bool {
        self.nodes.get(&owner.uid).is_some_and(|node| {
            let here = &node.identity;
            here.kind == owner.kind
                && here.name == owner.name
                && (here.namespace.is_empty() || here.namespace == namespace)
        })
    }

    /// What to do with an object; `absent` says of an owner that the API server does not have it.
    pub fn action(&self, uid: &str, absent: impl Fn(&OwnerReference) -> bool) -> Action {
        let Some(node) = self.nodes.get(uid) else { return Action::Keep };
        if node.orphans_dependents {
            let of = |id: &String| self.nodes.get(id).map(|node| node.identity.clone());
            return Action::Orphan(self.dependents(uid).iter().filter_map(of).collect());
        }
        if node.awaits_dependents {
            return if self.blocked(uid) { Action::Keep } else { Action::FinishForeground };
        }
        if node.deleting || node.owners.is_empty() {
            return Action::Keep;
        }
        let (dangling, there): (Vec<_>, Vec<_>) = node.owners.iter().partition(|owner| absent(owner));
        let waits = |owner: &&OwnerReference| {
            let waiting = self.nodes.get(&owner.uid).is_some_and(|owner| owner.awaits_dependents);
            waiting && owner.block_owner_deletion == Some(true)
        };
        let (waiting, solid): (Vec<_>, Vec<_>) = there.into_iter().partition(waits);
        let useless = || dangling.iter().chain(&waiting).map(|owner| owner.uid.clone()).collect::<Vec<_>>();
        match (solid.is_empty(), waiting.is_empty()) {
            (false, true) if dangling.is_empty() => Action::Keep,
            (false, _) => Action::Unreference(useless()),
            (true, false) if self.dependents.contains_key(uid) => Action::DeleteForeground,
            (true, _) => Action::Delete,
        }
    }

    /// Whether a dependent holds back an owner that was deleted in the foreground.
    fn blocked(&self, uid: &str) -> bool {
        let blocks = |id: &String| {
            let owners = self.nodes.get(id).map(|node| node.owners.as_slice()).unwrap_or_default();
            owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
        };
        self.dependents.get(uid).into_iter().flatten().any(blocks)
    }
}
