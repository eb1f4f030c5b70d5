//! One scheduling cycle, pure: filters, scores, the choice among equals.
//!
//! Nodes are asked in the order of their names, from where the last cycle stopped. Differs: upstream takes them in turn
//! from each zone; that matters only for clusters so large that not all nodes are asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::SchedulerConfig;
use super::filter::{Filters, NodeVolumes, Rejection};
use super::message::FitError;
use super::pod::{Key, PodInfo};
use super::score::scores;
use super::snapshot::{NodeInfo, Snapshot};
use crate::base::Stream;

/// Pods that wait for the victims of their preemption to go, with the node that they were promised.
pub type Nominated = BTreeMap<Key, (String, Arc<PodInfo>)>;

/// Where a pod goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The node.
    pub node: String,
    /// What has to be done about its volumes first.
    pub volumes: NodeVolumes,
}

/// What a cycle looks at beside the pod.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// Promises that hold against pods of lower or equal priority.
    pub nominated: &'a Nominated,
    /// The numbers.
    pub config: &'a SchedulerConfig,
}

/// Finds the best node for `pod`. `start` is the node at which the search begins and moves on.
///
/// # Errors
/// No node can run it; preemption is not tried here.
pub fn place(view: View<'_>, pod: &PodInfo, start: &mut usize, chance: &mut Stream) -> Result<Placement, FitError> {
    let nodes: Vec<&NodeInfo> = view.snapshot.nodes.values().map(|node| &**node).collect();
    let mut error =
        FitError { nodes: nodes.len(), everywhere: None, verdicts: BTreeMap::new(), preemption: String::new() };
    let filters = match Filters::new(view.snapshot, pod) {
        Ok(filters) => filters,
        Err(rejection) => {
            error.everywhere = Some(rejection);
            return Err(error);
        }
    };
    if let Some(promised) = promised(view, pod, &filters) {
        return Ok(promised);
    }
    let enough = enough(nodes.len(), view.config);
    let (mut feasible, mut asked) = (Vec::new(), 0);
    for at in 0..nodes.len() {
        let node = nodes[(*start + at) % nodes.len()];
        asked += 1;
        match fits(view, pod, node, &filters) {
            Ok(volumes) => feasible.push((node, volumes)),
            Err(rejection) => drop(error.verdicts.insert(node.name().into(), rejection)),
        }
        if feasible.len() >= enough {
            break;
        }
    }
    *start = if nodes.is_empty() { 0 } else { (*start + asked) % nodes.len() };
    let Some(best) = choose(view, pod, &feasible, chance) else { return Err(error) };
    let (node, volumes) = feasible.swap_remove(best);
    Ok(Placement { node: node.name().into(), volumes })
}

/// The node that preemption promised to the pod, if it fits there now.
fn promised(view: View<'_>, pod: &PodInfo, filters: &Filters<'_>) -> Option<Placement> {
    let node = view.snapshot.nodes.get(&view.nominated.get(&pod.key)?.0)?;
    let volumes = fits(view, pod, node, filters).ok()?;
    Some(Placement { node: node.name().into(), volumes })
}

/// Upstream's `RunFilterPluginsWithNominatedPods`: the pod must fit with the promises to pods of at least its priority
/// kept, and also without them, since affinity might rest on them.
pub fn fits(view: View<'_>, pod: &PodInfo, node: &NodeInfo, filters: &Filters<'_>) -> Result<NodeVolumes, Rejection> {
    let before_it = |other: &PodInfo| other.key != pod.key && other.priority() >= pod.priority();
    let here = view.nominated.values().filter(|(name, other)| name == node.name() && before_it(other));
    let promised: Vec<_> = here.map(|(_, other)| other.clone()).collect();
    if !promised.is_empty() {
        let mut kept = view.snapshot.clone();
        if let Some(node) = kept.node_mut(node.name()) {
            promised.into_iter().for_each(|pod| node.add(pod));
        }
        let node = kept.nodes.get(node.name()).cloned();
        if let Some(node) = node {
            Filters::new(&kept, pod)?.node(&node)?;
        }
    }
    filters.node(node)
}

/// How many feasible nodes are enough: all of a small cluster, a falling share of a large one (`numFeasibleNodesToFind`).
pub fn enough(nodes: usize, config: &SchedulerConfig) -> usize {
    if nodes < config.feasible_min {
        return nodes;
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(config.feasible_min)
}

/// The index of the node with the highest score; one of several by chance.
fn choose(view: View<'_>, pod: &PodInfo, feasible: &[(&NodeInfo, NodeVolumes)], chance: &mut Stream) -> Option<usize> {
    if feasible.len() <= 1 {
        return feasible.len().checked_sub(1);
    }
    let nodes: Vec<&NodeInfo> = feasible.iter().map(|(node, _)| *node).collect();
    let scores = scores(view.snapshot, pod, &nodes, view.config);
    let totals: Vec<i64> = scores.iter().map(|scores| scores.total(&view.config.weights)).collect();
    let most = totals.iter().max().copied()?;
    let best: Vec<usize> = (0..totals.len()).filter(|at| totals[*at] == most).collect();
    chance.pick(&best).copied()
}
