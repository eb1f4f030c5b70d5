//! InterPodAffinity's score: preferred terms of the pod and of the pods that run, and required terms of those.

use std::collections::BTreeMap;

use super::MAX;
use crate::kube::scheduler::pod::{PodInfo, Term};
use crate::kube::scheduler::snapshot::{NodeInfo, Snapshot};

/// Weight by domain: key, then value.
type Domains = BTreeMap<String, BTreeMap<String, i64>>;

fn weigh(domains: &mut Domains, term: &Term, node: &NodeInfo, weight: i64) {
    if let Some(value) = node.label(&term.topology_key) {
        *domains.entry(term.topology_key.clone()).or_default().entry(value.into()).or_default() += weight;
    }
}

/// Normalised scores of `nodes`, in their order: the lowest sum is 0, the highest 100.
pub fn scores(snapshot: &Snapshot, pod: &PodInfo, nodes: &[&NodeInfo], hard_weight: i64) -> Vec<i64> {
    let namespaces = &snapshot.catalog.namespaces;
    let mut domains = Domains::new();
    for (node, other) in snapshot.pods().filter(|(_, other)| other.key != pod.key) {
        for (terms, sign) in [(&pod.terms.preferred, 1), (&pod.terms.avoided, -1)] {
            let matching = terms.iter().filter(|term| term.matches(other, namespaces));
            matching.for_each(|term| weigh(&mut domains, term, node, sign * term.weight));
        }
        let theirs = &other.terms;
        for term in theirs.affinity.iter().filter(|term| term.matches(pod, namespaces)) {
            weigh(&mut domains, term, node, hard_weight);
        }
        for (terms, sign) in [(&theirs.preferred, 1), (&theirs.avoided, -1)] {
            let matching = terms.iter().filter(|term| term.matches(pod, namespaces));
            matching.for_each(|term| weigh(&mut domains, term, node, sign * term.weight));
        }
    }
    if domains.is_empty() {
        return vec![0; nodes.len()];
    }
    let of = |node: &&NodeInfo| -> i64 {
        let rows = domains.iter().filter_map(|(key, values)| values.get(node.label(key)?));
        rows.sum()
    };
    let sums: Vec<i64> = nodes.iter().map(of).collect();
    let (least, most) = (sums.iter().min().copied().unwrap_or(0), sums.iter().max().copied().unwrap_or(0));
    let normal = |sum: i64| match most - least {
        0 => 0,
        span => (MAX as f64 * ((sum - least) as f64 / span as f64)) as i64,
    };
    sums.into_iter().map(normal).collect()
}
