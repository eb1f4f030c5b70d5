//! PodTopologySpread's score: soft constraints, or the system's defaults for pods of a service or a stateful set.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::MAX;
use crate::kube::matching::{Labels, labels_match};
use crate::kube::scheduler::filter::spread::{Constraint, constraints, has_all_keys};
use crate::kube::scheduler::pod::PodInfo;
use crate::kube::scheduler::snapshot::{NodeInfo, Snapshot};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
/// The system's default constraints: key and allowed skew.
const DEFAULTS: [(&str, i64); 2] = [(HOSTNAME, 3), (ZONE, 5)];

/// Normalised scores of `nodes`, in their order.
pub fn scores(snapshot: &Snapshot, pod: &PodInfo, nodes: &[&NodeInfo], defaults: bool) -> Vec<i64> {
    let mut soft = constraints(pod, false);
    let own = pod.spec().topology_spread_constraints.as_ref().is_some_and(|c| !c.is_empty());
    if !own && defaults {
        let selector = default_selector(snapshot, pod);
        let of = |selector: &LabelSelector| DEFAULTS.map(|(key, skew)| Constraint::soft(key, skew, selector.clone()));
        soft = selector.as_ref().map(of).into_iter().flatten().collect();
    }
    if soft.is_empty() {
        return vec![0; nodes.len()];
    }
    let raw = raw(snapshot, pod, nodes, &soft, own);
    let (least, most) = (raw.iter().flatten().min().copied(), raw.iter().flatten().max().copied());
    let normal = |score: Option<i64>| match (score, least, most) {
        (Some(_), _, Some(0)) => MAX,
        (Some(score), Some(least), Some(most)) => MAX * (most + least - score) / most,
        _ => 0,
    };
    raw.into_iter().map(normal).collect()
}

/// Lower is better; none for a node that lacks a key where all are needed.
fn raw(snapshot: &Snapshot, pod: &PodInfo, nodes: &[&NodeInfo], soft: &[Constraint], all: bool) -> Vec<Option<i64>> {
    let complete = |node: &NodeInfo| !all || has_all_keys(soft, node);
    let counted: Vec<&&NodeInfo> = nodes.iter().filter(|node| complete(node)).collect();
    let domains: Vec<BTreeMap<&str, i64>> = soft
        .iter()
        .map(|constraint| {
            let values = counted.iter().filter_map(|node| node.label(&constraint.key));
            let mut domains: BTreeMap<&str, i64> = values.map(|value| (value, 0)).collect();
            if constraint.key != HOSTNAME {
                for node in snapshot.nodes.values().filter(|node| complete(node) && constraint.counts_node(pod, node)) {
                    let domain = node.label(&constraint.key).and_then(|value| domains.get_mut(value));
                    domain.into_iter().for_each(|count| *count += constraint.count(pod, node));
                }
            }
            domains
        })
        .collect();
    let one = |node: &&NodeInfo| {
        let rows = soft.iter().zip(&domains).filter_map(|(c, domains)| Some((c, domains, node.label(&c.key)?)));
        let sum: f64 = rows
            .map(|(constraint, domains, value)| {
                let host = constraint.key == HOSTNAME;
                let count = if host { constraint.count(pod, node) } else { domains.get(value).copied().unwrap_or(0) };
                let size = if host { counted.len() } else { domains.len() };
                count as f64 * ln(size as u32 + 2) + (constraint.max_skew - 1) as f64
            })
            .sum();
        complete(node).then(|| sum.round() as i64)
    };
    nodes.iter().map(one).collect()
}

/// Everything that selects the pod, merged: its services' selectors and its stateful set's.
fn default_selector(snapshot: &Snapshot, pod: &PodInfo) -> Option<LabelSelector> {
    let mut labels = Labels::new();
    for ((space, _), service) in &snapshot.catalog.services {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|s| !s.is_empty());
        let Some(selector) = selector.filter(|_| *space == pod.key.0) else { continue };
        let wanted = LabelSelector { match_labels: Some(selector.clone()), match_expressions: None };
        if labels_match(&wanted, pod.labels()) {
            labels.extend(selector.clone());
        }
    }
    let owners = pod.pod.metadata.owner_references.iter().flatten();
    let set = owners.into_iter().find(|owner| owner.controller == Some(true) && owner.kind == "StatefulSet");
    let set = set.and_then(|owner| snapshot.catalog.stateful_sets.get(&(pod.key.0.clone(), owner.name.clone())));
    let mut expressions = None;
    if let Some(spec) = set.map(|set| &set.spec) {
        labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
        expressions = spec.selector.match_expressions.clone();
    }
    let empty = labels.is_empty() && expressions.as_ref().is_none_or(Vec::is_empty);
    (!empty).then_some(LabelSelector { match_labels: Some(labels), match_expressions: expressions })
}

/// The natural logarithm, by operations that are the same on every platform: powers of two aside, the series of the
/// inverse hyperbolic tangent.
fn ln(n: u32) -> f64 {
    let exponent = n.max(1).ilog2();
    let mantissa = f64::from(n.max(1)) / f64::from(1u32 << exponent);
    let y = (mantissa - 1.0) / (mantissa + 1.0);
    let mut term = y;
    let mut sum = 0.0;
    for odd in (1..60u32).step_by(2) {
        sum += term / f64::from(odd);
        term *= y * y;
    }
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for n in 1..5000u32 {
            assert!((ln(n) - f64::from(n).ln()).abs() < 1e-12, "{n}");
        }
    }
}
