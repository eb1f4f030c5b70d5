//! PodTopologySpread: hard constraints, and what hard and soft ones share.
//!
//! Skew of a domain = matching pods there + the pod itself if it matches - the fewest in any eligible domain.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Plugin, Rejection};
use crate::kube::matching::taint::{NO_EXECUTE, NO_SCHEDULE};
use crate::kube::matching::{labels_match, pod_selects_node, untolerated};
use crate::kube::scheduler::pod::{PodInfo, require};
use crate::kube::scheduler::snapshot::{NodeInfo, Snapshot};

/// One constraint, with the pod's own labels merged in (`matchLabelKeys`).
#[derive(Debug, Clone)]
pub struct Constraint {
    /// The label of nodes that makes a domain.
    pub key: String,
    /// The largest allowed skew.
    pub max_skew: i64,
    /// Fewer domains than this count as if one were empty.
    pub domains_min: usize,
    selector: Option<LabelSelector>,
    honour_affinity: bool,
    honour_taints: bool,
}

impl Constraint {
    fn new(constraint: &TopologySpreadConstraint, pod: &PodInfo) -> Self {
        let mut selector = constraint.label_selector.clone();
        let of_pod = |key: &String| Some(require(key, "In", pod.labels()?.get(key)?));
        let own: Vec<_> = constraint.match_label_keys.iter().flatten().filter_map(of_pod).collect();
        if let Some(selector) = selector.as_mut().filter(|_| !own.is_empty()) {
            selector.match_expressions.get_or_insert_default().extend(own);
        }
        Self {
            key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew.into(),
            domains_min: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            selector,
            honour_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honour_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// One of the system's defaults, for the pods that `selector` matches.
    pub fn soft(key: &str, max_skew: i64, selector: LabelSelector) -> Self {
        let selector = Some(selector);
        Self { key: key.into(), max_skew, domains_min: 1, selector, honour_affinity: true, honour_taints: false }
    }

    /// How many living pods of the pod's namespace match on a node.
    pub fn count(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let counts = |other: &&std::sync::Arc<PodInfo>| {
            other.key.0 == pod.key.0 && other.key != pod.key && !other.terminating() && self.selects(other)
        };
        i64::try_from(node.pods.values().filter(counts).count()).unwrap_or(i64::MAX)
    }

    /// Whether the constraint is about `pod`.
    pub fn selects(&self, pod: &PodInfo) -> bool {
        self.selector.as_ref().is_some_and(|selector| labels_match(selector, pod.labels()))
    }

    /// Whether the pods on `node` count (`nodeAffinityPolicy`, `nodeTaintsPolicy`).
    pub fn counts_node(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let affinity = !self.honour_affinity || pod_selects_node(pod.spec(), &node.node);
        let taints =
            !self.honour_taints || untolerated(node.taints(), pod.tolerations(), &[NO_SCHEDULE, NO_EXECUTE]).is_none();
        affinity && taints
    }
}

/// The pod's constraints: hard (`DoNotSchedule`) or soft (`ScheduleAnyway`).
pub fn constraints(pod: &PodInfo, hard: bool) -> Vec<Constraint> {
    let wanted = if hard { "DoNotSchedule" } else { "ScheduleAnyway" };
    let given = pod.spec().topology_spread_constraints.iter().flatten();
    given.filter(|c| c.when_unsatisfiable == wanted).map(|c| Constraint::new(c, pod)).collect()
}

/// Whether the node has the label of every constraint.
pub fn has_all_keys(constraints: &[Constraint], node: &NodeInfo) -> bool {
    constraints.iter().all(|constraint| node.label(&constraint.key).is_some())
}

/// The hard constraints of a pod, with the pods of each domain counted.
#[derive(Debug, Default)]
pub struct Hard {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    constraint: Constraint,
    counts: BTreeMap<String, i64>,
    own: i64,
}

impl Hard {
    /// Counts the domains of the cluster.
    pub fn of(snapshot: &Snapshot, pod: &PodInfo) -> Self {
        let constraints = constraints(pod, true);
        let eligible: Vec<&NodeInfo> =
            snapshot.nodes.values().map(|node| &**node).filter(|node| has_all_keys(&constraints, node)).collect();
        let row = |constraint: &Constraint| {
            let mut counts = BTreeMap::new();
            for node in eligible.iter().filter(|node| constraint.counts_node(pod, node)) {
                let domain = node.label(&constraint.key).unwrap_or_default();
                *counts.entry(domain.to_string()).or_default() += constraint.count(pod, node);
            }
            Row { counts, own: i64::from(constraint.selects(pod)), constraint: constraint.clone() }
        };
        Self { rows: constraints.iter().map(row).collect() }
    }

    /// Whether the pod may go to `node`.
    pub fn node(&self, node: &NodeInfo) -> Result<(), Rejection> {
        for row in &self.rows {
            let Some(domain) = node.label(&row.constraint.key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Rejection::unresolvable(Plugin::PodTopologySpread, reason));
            };
            let few = row.counts.len() < row.constraint.domains_min;
            let fewest = if few { 0 } else { row.counts.values().min().copied().unwrap_or(0) };
            let there = row.counts.get(domain).copied().unwrap_or(0);
            if there + row.own - fewest > row.constraint.max_skew {
                let reason = "node(s) didn't match pod topology spread constraints";
                return Err(Rejection::resolvable(Plugin::PodTopologySpread, reason));
            }
        }
        Ok(())
    }
}
