//! What controllers ask of a node: its conditions, its zone.
//!
//! Which node a pod selects is [`crate::kube::matching`]'s.

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};

/// The zone label.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The region label.
pub const REGION: &str = "topology.kubernetes.io/region";

/// One of its conditions.
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Whether the kubelet says that it is ready, and was heard lately.
pub fn is_ready(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Region and zone, the unit of eviction rates; empty names for what is not labelled.
pub fn zone(node: &Node) -> (String, String) {
    let label = |key| super::meta::label(&node.metadata, key).unwrap_or_default().to_string();
    (label(REGION), label(ZONE))
}

/// Its taints.
pub fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}
