//! One binding with everything that the scheduler had to respect.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, PersistentVolume, Pod, PodAffinityTerm, Taint, Toleration};
use serde::{Deserialize, Serialize};

use crate::base::SimTime;

/// A pod on the node that the scheduler chose.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// When the choice was made: before its volumes were waited for.
    pub decided: SimTime,
    /// Since when node and neighbours are as told here. A scheduler's cache lags behind what has just changed.
    pub settled: SimTime,
    /// Of the pod.
    pub namespace: String,
    /// Of the pod.
    pub pod: String,
    /// Which node.
    pub node: String,
    /// The pod's.
    pub tolerations: Vec<Toleration>,
    /// The pod's `nodeSelector`.
    pub selector: BTreeMap<String, String>,
    /// The pod's required node affinity.
    pub affinity: Option<NodeSelector>,
    /// The pod's required anti-affinity to other pods.
    pub repels: Vec<PodAffinityTerm>,
    /// The pod's volumes with the nodes where each can be.
    pub volumes: Vec<(String, NodeSelector)>,
    /// The node's.
    pub labels: BTreeMap<String, String>,
    /// The node's.
    pub taints: Vec<Taint>,
    /// Whether the node is closed to new pods.
    pub cordoned: bool,
    /// Pods that were bound to nodes already and had not ended.
    pub neighbours: Vec<Neighbour>,
}

/// Another pod at that time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Of the pod.
    pub namespace: String,
    /// Of the pod.
    pub pod: String,
    /// The pod's.
    pub labels: BTreeMap<String, String>,
    /// Those of its node.
    pub node_labels: BTreeMap<String, String>,
}

impl Placement {
    /// From the objects as they were. `volumes` are those that the pod's claims are bound to, `others` the pods that have
    /// nodes, with them.
    pub fn of(
        (decided, settled): (SimTime, SimTime),
        pod: &Pod,
        node: &Node,
        volumes: &[&PersistentVolume],
        others: &[(&Pod, &Node)],
    ) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let affinity = spec.affinity.unwrap_or_default();
        let of_node = node.spec.clone().unwrap_or_default();
        let reach = |volume: &&PersistentVolume| {
            let required = volume.spec.as_ref()?.node_affinity.as_ref()?.required.clone()?;
            Some((volume.metadata.name.clone().unwrap_or_default(), required))
        };
        let neighbour = |(pod, node): &(&Pod, &Node)| Neighbour {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            node_labels: node.metadata.labels.clone().unwrap_or_default(),
        };
        let required = |terms: k8s_openapi::api::core::v1::PodAntiAffinity| {
            terms.required_during_scheduling_ignored_during_execution.unwrap_or_default()
        };
        Self {
            decided,
            settled,
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            node: node.metadata.name.clone().unwrap_or_default(),
            tolerations: spec.tolerations.unwrap_or_default(),
            selector: spec.node_selector.unwrap_or_default(),
            affinity: affinity.node_affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution),
            repels: affinity.pod_anti_affinity.map(required).unwrap_or_default(),
            volumes: volumes.iter().filter_map(reach).collect(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: of_node.taints.unwrap_or_default(),
            cordoned: of_node.unschedulable.unwrap_or(false),
            neighbours: others.iter().map(neighbour).collect(),
        }
    }
}
