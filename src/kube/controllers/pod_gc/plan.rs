//! Which pods the pod garbage collector takes: a pure function of pods, nodes and the time.
//!
//! Follows `podgc/gc_controller.go` of Kubernetes 1.3x. Rule: it deletes without grace, so a pod qualifies only if nobody can be
//! running it (no such node, node out of service, never bound) or if it ended long ago and there are too many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::kube::controllers::meta::{moment, name, terminating};
use crate::kube::controllers::node::{is_ready, taints};
use crate::kube::controllers::pod::{is_finished, node_name, phase};
use crate::kube::controllers::taints::OUT_OF_SERVICE;
use crate::rt::time::Instant;

/// Thresholds and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Ended pods that may stay: `--terminated-pod-gc-threshold`. Zero keeps all.
    pub terminated: usize,
    /// How long a node must have been missing: upstream's `quarantineTime`.
    pub quarantine: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { terminated: 12_500, quarantine: Duration::from_secs(40) }
    }
}

/// Why a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Too many ended pods; the oldest go.
    Terminated,
    /// On its way out on a node that is not ready and out of service.
    OutOfService,
    /// Its node does not exist; to be confirmed with the API server.
    Orphaned,
    /// On its way out and never bound.
    Unscheduled,
}

/// Nodes that are missing, and since when.
pub type Quarantine = BTreeMap<String, Instant>;

/// Decides. Updates `quarantine`.
pub fn plan(
    pods: &[Arc<Pod>],
    nodes: &BTreeMap<String, Arc<Node>>,
    quarantine: &mut Quarantine,
    limits: Limits,
    now: Instant,
) -> Vec<(Arc<Pod>, Reason)> {
    let mut taken = Vec::new();
    let mut ended: Vec<&Arc<Pod>> = pods
        .iter()
        .filter(|pod| is_finished(pod) || !matches!(phase(pod), "Pending" | "Running" | "Unknown"))
        .collect();
    if limits.terminated > 0 {
        let excess = ended.len().saturating_sub(limits.terminated);
        ended.sort_by_key(|pod| (moment(pod.metadata.creation_timestamp.as_ref()), name(&pod.metadata)));
        taken.extend(ended.into_iter().take(excess).map(|pod| (pod.clone(), Reason::Terminated)));
    }
    quarantine.retain(|node, _| !nodes.contains_key(node));
    for pod in pods {
        let reason = match node_name(pod) {
            None if terminating(&pod.metadata) => Reason::Unscheduled,
            None => continue,
            Some(node) => match nodes.get(node) {
                Some(node) if terminating(&pod.metadata) && out_of_service(node) => Reason::OutOfService,
                Some(_) => continue,
                None => {
                    let since = *quarantine.entry(node.into()).or_insert(now);
                    if now < since + limits.quarantine {
                        continue;
                    }
                    Reason::Orphaned
                }
            },
        };
        taken.push((pod.clone(), reason));
    }
    let used = |node: &String| pods.iter().any(|pod| node_name(pod) == Some(node));
    quarantine.retain(|node, _| used(node));
    taken
}

fn out_of_service(node: &Node) -> bool {
    !is_ready(node) && taints(node).iter().any(|taint| taint.key == OUT_OF_SERVICE)
}
