//! Filters that look at the pod and one node: cordons, names, taints, node affinity, host ports.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, PodSpec, Taint};

use super::{Plugin, Rejection};
use crate::kube::matching::taint::{NO_EXECUTE, NO_SCHEDULE};
use crate::kube::matching::{pod_selects_node, untolerated};
use crate::kube::scheduler::pod::PodInfo;
use crate::kube::scheduler::snapshot::NodeInfo;

/// The taint that a cordoned node has, whether or not the controller has written it yet.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// A cordoned node takes only pods that tolerate the cordon.
pub fn unschedulable(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let cordoned = node.node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let cordon = Taint { key: UNSCHEDULABLE.into(), effect: NO_SCHEDULE.into(), ..Taint::default() };
    if cordoned && untolerated(&[cordon], pod.tolerations(), &[NO_SCHEDULE]).is_some() {
        return Err(Rejection::unresolvable(Plugin::NodeUnschedulable, "node(s) were unschedulable"));
    }
    Ok(())
}

/// The pod names its node.
pub fn name(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let wanted = pod.spec().node_name.as_deref().unwrap_or_default();
    if wanted.is_empty() || wanted == node.name() {
        return Ok(());
    }
    Err(Rejection::unresolvable(Plugin::NodeName, "node(s) didn't match the requested node name"))
}

/// Taints of effect `NoSchedule` and `NoExecute`; the first untolerated one is named.
pub fn taints(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let Some(taint) = untolerated(node.taints(), pod.tolerations(), &[NO_SCHEDULE, NO_EXECUTE]) else { return Ok(()) };
    let value = taint.value.as_deref().unwrap_or_default();
    let reason = format!("node(s) had untolerated taint {{{}: {value}}}", taint.key);
    Err(Rejection::unresolvable(Plugin::TaintToleration, reason))
}

/// Node selector and required node affinity.
pub fn affinity(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    if pod_selects_node(pod.spec(), &node.node) {
        return Ok(());
    }
    Err(Rejection::unresolvable(Plugin::NodeAffinity, "node(s) didn't match Pod's node affinity/selector"))
}

/// Host ports.
pub fn ports(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let mut used = node.pods.values().flat_map(|other| &other.ports);
    if pod.ports.is_empty() || !used.any(|used| pod.ports.iter().any(|wanted| wanted.conflicts(used))) {
        return Ok(());
    }
    let reason = "node(s) didn't have free ports for the requested pod ports";
    Err(Rejection::resolvable(Plugin::NodePorts, reason))
}

/// The nodes that every term of required node affinity names by `metadata.name`, as the pods of a daemon set do: upstream
/// then looks at no other node. None if some term leaves it open.
pub fn named(pod: &PodSpec) -> Option<BTreeSet<String>> {
    let affinity = pod.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut all = BTreeSet::new();
    for term in &required.node_selector_terms {
        all.extend(names_of(term)?);
    }
    (!required.node_selector_terms.is_empty()).then_some(all)
}

/// The requirements of one term hold together.
fn names_of(term: &NodeSelectorTerm) -> Option<BTreeSet<String>> {
    let fields = term.match_fields.iter().flatten().filter(|r| r.key == "metadata.name" && r.operator == "In");
    let sets = fields.map(|r| r.values.iter().flatten().cloned().collect::<BTreeSet<String>>());
    sets.reduce(|a, b| a.intersection(&b).cloned().collect())
}
