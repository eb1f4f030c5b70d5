//! The scheduler's choices, with everything that they had to respect at that moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};

use crate::base::SimTime;
use crate::kube::client::decoded;
use crate::kube::kind::{ApiObject, ObjectKey};
use crate::kube::store::{Change, Object, Selection, Store};
use crate::oracle::cluster::Placement;
use crate::sim::kubernetes::Kubernetes;

/// A pod with claims may be bound that long after the choice: a disk is made in between.
const VOLUMES_TAKE: Duration = Duration::from_secs(20);

/// Objects of one kind as their type, decoded once a version.
struct Typed<T>(BTreeMap<ObjectKey, (u64, Arc<T>)>);

impl<T> Default for Typed<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: ApiObject> Typed<T> {
    /// All that there are now, by namespace and name.
    fn all(&mut self, store: &Store, word: &str) -> Vec<Arc<T>> {
        let Some(kind) = store.kinds().by_word(word) else { return Vec::new() };
        let mut known = std::mem::take(&mut self.0);
        for object in store.list(kind, &Selection::default()) {
            let same = known.remove(&object.key).filter(|(version, _)| *version == object.version);
            if let Some(one) = same.or_else(|| Some((object.version, typed(object)?))) {
                self.0.insert(object.key.clone(), one);
            }
        }
        self.0.values().map(|(_, one)| one.clone()).collect()
    }
}

/// What the scheduler looks at.
#[derive(Default)]
struct Seen {
    nodes: Typed<Node>,
    pods: Typed<Pod>,
    claims: Typed<PersistentVolumeClaim>,
    volumes: Typed<PersistentVolume>,
}

/// All bindings.
#[derive(Default)]
pub(super) struct Bindings {
    all: Vec<Placement>,
    pods: u64,
    seen: Seen,
    /// Nodes as they were seen last, and when what the scheduler looks at last changed.
    nodes: BTreeMap<String, Arc<Object>>,
    settled: SimTime,
}

fn typed<T: ApiObject>(object: &Object) -> Option<Arc<T>> {
    decoded(object.json()).ok()
}

fn node_of(object: &Object) -> Option<&str> {
    object.at("spec")?.get("nodeName")?.as_str().filter(|name| !name.is_empty())
}

impl Bindings {
    /// Notes the pods that got a node since the last look.
    pub fn look(&mut self, kubernetes: &Kubernetes, now: SimTime) {
        kubernetes.server.look(|store| {
            self.look_at_nodes(store, now);
            let Some(pods) = store.kinds().by_word("pods") else { return };
            let since = std::mem::replace(&mut self.pods, store.revision());
            let Ok(events) = store.events_after(pods, since) else { return };
            let (mut bound, mut moved) = (Vec::new(), false);
            for event in events {
                let before = event.previous.as_ref().and_then(|pod| node_of(pod));
                let after = node_of(&event.object);
                if event.change != Change::Deleted && before.is_none() && after.is_some() {
                    bound.extend(typed::<Pod>(&event.object));
                }
                moved |= event.change == Change::Deleted && after.is_some();
            }
            let placed: Vec<_> = bound.iter().filter_map(|pod| self.placement(store, pod, now)).collect();
            if !placed.is_empty() || moved {
                self.settled = now;
            }
            self.all.extend(placed);
        });
    }

    fn look_at_nodes(&mut self, store: &Store, now: SimTime) {
        let Some(kind) = store.kinds().by_word("nodes") else { return };
        for node in store.list(kind, &Selection::default()) {
            let before = self.nodes.get(&node.key.name);
            if before.is_some_and(|before| before.version == node.version) {
                continue;
            }
            let same = |before: &Arc<Object>| before.at("spec") == node.at("spec") && before.labels() == node.labels();
            if !before.is_some_and(same) {
                self.settled = now;
            }
            self.nodes.insert(node.key.name.clone(), node.clone());
        }
    }

    fn placement(&mut self, store: &Store, pod: &Pod, now: SimTime) -> Option<Placement> {
        let nodes = self.seen.nodes.all(store, "nodes").into_iter();
        let nodes: BTreeMap<String, Arc<Node>> =
            nodes.filter_map(|node| Some((node.metadata.name.clone()?, node))).collect();
        let spec = pod.spec.as_ref()?;
        // A DaemonSet's pod is bound by the scheduler too; one that names its node itself is nobody's choice.
        let node = nodes.get(spec.node_name.as_ref()?)?;
        let claimed = spec.volumes.iter().flatten().filter_map(|v| v.persistent_volume_claim.as_ref());
        let claims: Vec<&str> = claimed.map(|claim| claim.claim_name.as_str()).collect();
        let namespace = &pod.metadata.namespace;
        let existing = self.seen.claims.all(store, "persistentvolumeclaims");
        let bound: Vec<&String> = existing
            .iter()
            .filter(|claim| claim.metadata.namespace == *namespace)
            .filter(|claim| claims.contains(&claim.metadata.name.as_deref().unwrap_or_default()))
            .filter_map(|claim| claim.spec.as_ref()?.volume_name.as_ref())
            .collect();
        let existing = self.seen.volumes.all(store, "persistentvolumes");
        let named =
            |volume: &&PersistentVolume| volume.metadata.name.as_ref().is_some_and(|name| bound.contains(&name));
        let volumes: Vec<&PersistentVolume> = existing.iter().map(|volume| &**volume).filter(named).collect();
        let decided = if claims.is_empty() { now } else { SimTime::ZERO + now.elapsed().saturating_sub(VOLUMES_TAKE) };
        let pods = self.seen.pods.all(store, "pods");
        let others: Vec<(&Pod, &Node)> = pods
            .iter()
            .filter(|other| other.metadata.uid != pod.metadata.uid && !ended(other))
            .filter_map(|other| Some((&**other, &**nodes.get(other.spec.as_ref()?.node_name.as_ref()?)?)))
            .collect();
        Some(Placement::of((decided, self.settled), pod, node, &volumes, &others))
    }

    /// All of them.
    pub fn told(self) -> Vec<Placement> {
        self.all
    }
}

fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
