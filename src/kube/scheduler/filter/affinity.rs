//! InterPodAffinity: required affinity and anti-affinity, the pod's own and that of the pods that run.
//!
//! A domain is a label's key with its value. The first pod of a group that is drawn to itself may go anywhere.

use std::collections::BTreeMap;

use super::{Plugin, Rejection};
use crate::kube::scheduler::pod::{PodInfo, Term};
use crate::kube::scheduler::snapshot::{NodeInfo, Snapshot};

/// How often each domain was hit.
type Domains = BTreeMap<(String, String), usize>;

/// What the cluster's pods mean for one pod.
#[derive(Debug, Default)]
pub struct Required {
    /// Domains of pods that refuse this one.
    refused: Domains,
    /// Domains of pods that match all affinity terms of this one.
    wanted: Domains,
    /// Domains of pods that match an anti-affinity term of this one.
    avoided: Domains,
}

fn hit(domains: &mut Domains, term: &Term, node: &NodeInfo) {
    if let Some(value) = node.label(&term.topology_key) {
        *domains.entry((term.topology_key.clone(), value.into())).or_default() += 1;
    }
}

fn is_hit(domains: &Domains, key: &str, value: &str) -> bool {
    domains.contains_key(&(key.to_string(), value.to_string()))
}

impl Required {
    /// Looks at every pod once.
    pub fn of(snapshot: &Snapshot, pod: &PodInfo) -> Self {
        let namespaces = &snapshot.catalog.namespaces;
        let mut found = Self::default();
        for (node, other) in snapshot.pods().filter(|(_, other)| other.key != pod.key) {
            let refusing = other.terms.anti_affinity.iter().filter(|term| term.matches(pod, namespaces));
            refusing.for_each(|term| hit(&mut found.refused, term, node));
            let terms = &pod.terms.affinity;
            if !terms.is_empty() && terms.iter().all(|term| term.matches(other, namespaces)) {
                terms.iter().for_each(|term| hit(&mut found.wanted, term, node));
            }
            let avoiding = pod.terms.anti_affinity.iter().filter(|term| term.matches(other, namespaces));
            avoiding.for_each(|term| hit(&mut found.avoided, term, node));
        }
        found
    }

    /// Whether the pod may go to `node`.
    pub fn node(&self, snapshot: &Snapshot, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if !self.drawn(snapshot, pod, node) {
            let reason = "node(s) didn't match pod affinity rules";
            return Err(Rejection::unresolvable(Plugin::InterPodAffinity, reason));
        }
        let avoids = |term: &Term| {
            node.label(&term.topology_key).is_some_and(|value| is_hit(&self.avoided, &term.topology_key, value))
        };
        if pod.terms.anti_affinity.iter().any(avoids) {
            let reason = "node(s) didn't match pod anti-affinity rules";
            return Err(Rejection::resolvable(Plugin::InterPodAffinity, reason));
        }
        if self.refused.keys().any(|(key, value)| node.label(key) == Some(value)) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Err(Rejection::resolvable(Plugin::InterPodAffinity, reason));
        }
        Ok(())
    }

    fn drawn(&self, snapshot: &Snapshot, pod: &PodInfo, node: &NodeInfo) -> bool {
        let terms = &pod.terms.affinity;
        let values: Vec<_> = terms.iter().map(|term| (term, node.label(&term.topology_key))).collect();
        if values.iter().any(|(_, value)| value.is_none()) {
            return false;
        }
        let there = |(term, value): &(&Term, Option<&str>)| {
            value.is_some_and(|value| is_hit(&self.wanted, &term.topology_key, value))
        };
        let itself = || terms.iter().all(|term| term.matches(pod, &snapshot.catalog.namespaces));
        values.iter().all(there) || (self.wanted.is_empty() && itself())
    }
}
