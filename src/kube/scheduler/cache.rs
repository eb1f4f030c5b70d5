//! What the scheduler remembers: the snapshot, kept up to date change by change, and the pods it has assumed.
//!
//! Rule: a pod that was given a node counts there from that moment, before the API says so, until the API contradicts or
//! the binding fails. Pods that have ended do not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::event::ClusterEvent;
use super::pod::{Key, PodInfo, key_of};
use super::snapshot::{AssumedClaim, Catalog, NodeInfo, Snapshot};

/// The snapshot and how it came about.
#[derive(Debug, Default)]
pub struct Cache {
    snapshot: Snapshot,
    /// Pods with a node, with its name; the node itself may not be known (yet).
    placed: BTreeMap<Key, (String, Arc<PodInfo>)>,
    /// Pods whose binding is under way, with the claims that go with them.
    assumed: BTreeMap<Key, Vec<Key>>,
}

impl Cache {
    /// The cluster as it is known now.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is known beside nodes and pods, to be changed.
    pub fn catalog_mut(&mut self) -> &mut Catalog {
        Arc::make_mut(&mut self.snapshot.catalog)
    }

    /// A node appeared or changed. Gives the event if scheduling may care.
    pub fn node(&mut self, node: Arc<Node>) -> Option<ClusterEvent> {
        let name = node.metadata.name.clone().unwrap_or_default();
        match self.snapshot.node_mut(&name) {
            Some(known) if same(&known.node, &node) => {
                known.node = node;
                None
            }
            Some(known) => {
                let fresh = NodeInfo::new(node);
                (known.node, known.allocatable, known.pods_max) = (fresh.node, fresh.allocatable, fresh.pods_max);
                Some(ClusterEvent::Node(name))
            }
            None => {
                let mut fresh = NodeInfo::new(node);
                let here = self.placed.values().filter(|(node, _)| *node == name);
                here.for_each(|(_, pod)| fresh.add(pod.clone()));
                self.snapshot.nodes.insert(name.clone(), Arc::new(fresh));
                Some(ClusterEvent::Node(name))
            }
        }
    }

    /// A node is gone. Its pods stay known.
    pub fn node_gone(&mut self, name: &str) -> ClusterEvent {
        self.snapshot.nodes.remove(name);
        ClusterEvent::NodeGone
    }

    /// A pod appeared or changed; only those with a node are kept.
    pub fn pod(&mut self, pod: &Arc<Pod>) -> Option<ClusterEvent> {
        let key = key_of(pod);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        if has_ended(pod) {
            return self.pod_gone(&key);
        }
        if node.is_empty() {
            return None;
        }
        let fresh = Arc::new(PodInfo::new(pod.clone()));
        self.assumed.remove(&key);
        let before = self.placed.get(&key);
        let same = before.is_some_and(|(old, before)| *old == node && before.labels() == fresh.labels());
        self.put(&node, fresh);
        (!same).then_some(ClusterEvent::PodPlaced)
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, key: &Key) -> Option<ClusterEvent> {
        self.assumed.remove(key);
        self.take(key).then_some(ClusterEvent::PodGone)
    }

    /// The pod counts on `node` from now on, and its claims are spoken for.
    pub fn assume(&mut self, pod: &Arc<PodInfo>, node: &str, claims: Vec<(Key, AssumedClaim)>) {
        self.put(node, pod.clone());
        self.assumed.insert(pod.key.clone(), claims.iter().map(|(key, _)| key.clone()).collect());
        if !claims.is_empty() {
            self.catalog_mut().assumed_claims.extend(claims);
        }
    }

    /// The binding failed: the pod has no node after all.
    pub fn forget(&mut self, key: &Key) {
        if let Some(claims) = self.assumed.remove(key) {
            self.release(&claims);
            self.take(key);
        }
    }

    /// Claims that the API shows as bound need no assumption.
    pub fn release(&mut self, claims: &[Key]) {
        if claims.iter().any(|claim| self.snapshot.catalog.assumed_claims.contains_key(claim)) {
            let assumed = &mut self.catalog_mut().assumed_claims;
            claims.iter().for_each(|claim| drop(assumed.remove(claim)));
        }
    }

    /// Whether the pod's binding is under way.
    pub fn is_assumed(&self, key: &Key) -> bool {
        self.assumed.contains_key(key)
    }

    /// Whether the pod has a node, by the API or by assumption.
    pub fn has(&self, key: &Key) -> bool {
        self.placed.contains_key(key)
    }

    fn put(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.take(&pod.key);
        if let Some(info) = self.snapshot.node_mut(node) {
            info.add(pod.clone());
        }
        self.placed.insert(pod.key.clone(), (node.into(), pod));
    }

    fn take(&mut self, key: &Key) -> bool {
        let Some((node, _)) = self.placed.remove(key) else { return false };
        if let Some(info) = self.snapshot.node_mut(&node) {
            info.remove(key);
        }
        true
    }
}

/// Whether nothing that scheduling looks at has changed, images aside: a heartbeat.
fn same(before: &Node, after: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    before.metadata.labels == after.metadata.labels
        && before.spec == after.spec
        && allocatable(before) == allocatable(after)
}

/// Whether the pod's containers have ended for good.
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
