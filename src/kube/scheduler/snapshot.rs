//! The cluster as one scheduling decision sees it.
//!
//! Cheap to copy, so that preemption can ask "what if": nodes are shared until changed. It holds no clock and no client;
//! [`Cache`](super::cache::Cache) keeps it up to date.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Service, Taint};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};

use super::pod::{Key, PodInfo};
use super::resources::Resources;
use crate::kube::matching::{Labels, whole};

/// A node, what it has and who is there.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// The object.
    pub node: Arc<Node>,
    /// What pods may use.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub pods_max: i64,
    /// The pods on it, assumed ones too.
    pub pods: BTreeMap<Key, Arc<PodInfo>>,
    /// The sum of what they ask for.
    pub requested: Resources,
    /// The sum of what scores assume that they ask for.
    pub assumed: Resources,
}

impl NodeInfo {
    /// An empty node.
    pub fn new(node: Arc<Node>) -> Self {
        let list = node.status.as_ref().and_then(|status| status.allocatable.clone()).unwrap_or_default();
        let pods_max = list.get("pods").and_then(whole).unwrap_or(0);
        let (requested, assumed) = (Resources::default(), Resources::default());
        Self { allocatable: Resources::of(&list), pods_max, pods: BTreeMap::new(), requested, assumed, node }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }

    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Its taints.
    pub fn taints(&self) -> &[Taint] {
        self.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// Puts a pod there; one of the same name is replaced.
    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.remove(&pod.key);
        self.requested.add(&pod.requests);
        self.assumed.add(&pod.assumed_requests);
        self.pods.insert(pod.key.clone(), pod);
    }

    /// Takes a pod away.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(key)?;
        self.requested.subtract(&pod.requests);
        self.assumed.subtract(&pod.assumed_requests);
        Some(pod)
    }
}

/// What the scheduler knows beside nodes and pods.
#[derive(Debug, Default, Clone)]
pub struct Catalog {
    /// Claims by namespace and name.
    pub claims: BTreeMap<Key, Arc<PersistentVolumeClaim>>,
    /// Volumes by name.
    pub volumes: BTreeMap<String, Arc<PersistentVolume>>,
    /// Storage classes by name.
    pub classes: BTreeMap<String, Arc<StorageClass>>,
    /// What each node's storage drivers say.
    pub csi_nodes: BTreeMap<String, Arc<CSINode>>,
    /// Labels of the namespaces.
    pub namespaces: BTreeMap<String, Labels>,
    /// Services, for the system's default spread.
    pub services: BTreeMap<Key, Arc<Service>>,
    /// Stateful sets, likewise.
    pub stateful_sets: BTreeMap<Key, Arc<StatefulSet>>,
    /// Claims that pods under binding have chosen volumes or nodes for, and the API does not show it yet.
    pub assumed_claims: BTreeMap<Key, AssumedClaim>,
}

/// What was decided about a claim that is not bound yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssumedClaim {
    /// This volume will be its.
    Volume(String),
    /// A volume will be provisioned where this node can use it.
    Provision(String),
}

/// Everything that one decision looks at.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// The rest.
    pub catalog: Arc<Catalog>,
}

impl Snapshot {
    /// The node, to be changed.
    pub fn node_mut(&mut self, name: &str) -> Option<&mut NodeInfo> {
        self.nodes.get_mut(name).map(Arc::make_mut)
    }

    /// All pods with the nodes that they are on.
    pub fn pods(&self) -> impl Iterator<Item = (&NodeInfo, &Arc<PodInfo>)> {
        self.nodes.values().flat_map(|node| node.pods.values().map(move |pod| (&**node, pod)))
    }
}
