//! Scores: which of the nodes that can run a pod should.
//!
//! Each plugin gives every node 0 to 100 after its own normalisation; the weighted sum decides. Integers wherever
//! upstream's are; the floating point that upstream uses (balanced allocation, affinity's normalisation, spread's
//! logarithm) is kept to operations that IEEE 754 defines exactly, so every platform agrees.

use super::config::{SchedulerConfig, Weights};
use super::pod::PodInfo;
use super::snapshot::{NodeInfo, Snapshot};
use crate::kube::matching::selector::term_matches;
use crate::kube::matching::taint::PREFER_NO_SCHEDULE;
use crate::kube::matching::tolerates;

mod resources;

mod spread;

mod affinity;

/// The best score of a plugin.
pub const MAX: i64 = 100;

/// What each plugin gives one node, already normalised and not yet weighted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "upstream's names; `Weights` says what each counts")]
pub struct Scores {
    pub taint_toleration: i64,
    pub node_affinity: i64,
    pub pod_topology_spread: i64,
    pub inter_pod_affinity: i64,
    pub node_resources_fit: i64,
    pub balanced_allocation: i64,
    pub image_locality: i64,
}

impl Scores {
    /// The weighted sum.
    pub fn total(&self, weights: &Weights) -> i64 {
        self.taint_toleration * weights.taint_toleration
            + self.node_affinity * weights.node_affinity
            + self.pod_topology_spread * weights.pod_topology_spread
            + self.inter_pod_affinity * weights.inter_pod_affinity
            + self.node_resources_fit * weights.node_resources_fit
            + self.balanced_allocation * weights.balanced_allocation
            + self.image_locality * weights.image_locality
    }
}

/// The scores of `nodes`, which passed the filters, in their order.
pub fn scores(snapshot: &Snapshot, pod: &PodInfo, nodes: &[&NodeInfo], config: &SchedulerConfig) -> Vec<Scores> {
    let taints = normalise(nodes.iter().map(|node| avoided_taints(pod, node)).collect(), true);
    let wanted = normalise(nodes.iter().map(|node| preferred_nodes(pod, node)).collect(), false);
    let spread = spread::scores(snapshot, pod, nodes, config.default_spread);
    let affinity = affinity::scores(snapshot, pod, nodes, config.hard_affinity_weight);
    let images = resources::Images::of(snapshot);
    let one = |(at, node): (usize, &&NodeInfo)| Scores {
        taint_toleration: taints[at],
        node_affinity: wanted[at],
        pod_topology_spread: spread[at],
        inter_pod_affinity: affinity[at],
        node_resources_fit: resources::least_allocated(pod, node),
        balanced_allocation: resources::balanced(pod, node),
        image_locality: images.score(pod, node),
    };
    nodes.iter().enumerate().map(one).collect()
}

/// Upstream's `DefaultNormalizeScore`: the highest becomes 100, the others their share of it; reversed, 0 is best.
pub fn normalise(raw: Vec<i64>, reverse: bool) -> Vec<i64> {
    let most = raw.iter().copied().max().unwrap_or(0);
    let share = |score: i64| if most == 0 { 0 } else { score.saturating_mul(MAX) / most };
    raw.into_iter().map(|score| if reverse { MAX - share(score) } else { share(score) }).collect()
}

/// Taints of effect `PreferNoSchedule` that nothing tolerates.
fn avoided_taints(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let soft = |effect: Option<&str>| matches!(effect.unwrap_or_default(), "" | PREFER_NO_SCHEDULE);
    let tolerations: Vec<_> = pod.tolerations().iter().filter(|t| soft(t.effect.as_deref())).collect();
    let taints = node.taints().iter().filter(|taint| taint.effect == PREFER_NO_SCHEDULE);
    let count = taints.filter(|taint| !tolerations.iter().any(|t| tolerates(t, taint))).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The weights of the preferred terms that the node satisfies.
fn preferred_nodes(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let affinity = pod.spec().affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let terms = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let satisfied = terms.into_iter().flatten().filter(|term| term_matches(&term.preference, &node.node));
    satisfied.map(|term| i64::from(term.weight)).sum()
}
