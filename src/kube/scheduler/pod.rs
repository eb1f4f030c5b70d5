//! A pod as the scheduler sees it: what its rules ask for, computed once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec, Toleration, WeightedPodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::resources::{Resources, requests};
use crate::kube::matching::{Labels, labels_match};

/// Namespace and name.
pub type Key = (String, String);

/// A host port that a pod listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Empty and `0.0.0.0` are all addresses.
    pub ip: String,
    /// `TCP` where the pod does not say.
    pub protocol: String,
    /// 1 to 65535.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot listen on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let all = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        let same = self.ip == other.ip || all(&self.ip) || all(&other.ip);
        same && self.port == other.port && self.protocol == other.protocol
    }
}

/// One term of an affinity between pods.
#[derive(Debug, Clone)]
pub struct Term {
    selector: Option<LabelSelector>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    /// The label of nodes that makes a domain.
    pub topology_key: String,
    /// 1 to 100 in a preferred term, 0 in a required one.
    pub weight: i64,
}

impl Term {
    fn new(term: &PodAffinityTerm, weight: i32, owner: &Pod) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.extend(owner.metadata.namespace.clone());
        }
        let mut selector = term.label_selector.clone();
        let labels = owner.metadata.labels.clone().unwrap_or_default();
        for (keys, operator) in [(&term.match_label_keys, "In"), (&term.mismatch_label_keys, "NotIn")] {
            let known = keys.iter().flatten().filter_map(|key| Some((key, labels.get(key)?)));
            let extra = known.map(|(key, value)| require(key, operator, value)).collect::<Vec<_>>();
            if let Some(selector) = selector.as_mut().filter(|_| !extra.is_empty()) {
                selector.match_expressions.get_or_insert_default().extend(extra);
            }
        }
        let namespace_selector = term.namespace_selector.clone();
        Self {
            selector,
            namespaces,
            namespace_selector,
            topology_key: term.topology_key.clone(),
            weight: weight.into(),
        }
    }

    /// Whether the term means `pod`; `namespaces` are the labels of the namespaces.
    pub fn matches(&self, pod: &PodInfo, namespaces: &BTreeMap<String, Labels>) -> bool {
        let space = &pod.key.0;
        let selected = |selector: &LabelSelector| labels_match(selector, namespaces.get(space));
        (self.namespaces.contains(space) || self.namespace_selector.as_ref().is_some_and(selected))
            && self.selector.as_ref().is_some_and(|selector| labels_match(selector, pod.labels()))
    }
}

/// A requirement made from a label of the pod itself.
pub fn require(
    key: &str,
    operator: &str,
    value: &str,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
        key: key.into(),
        operator: operator.into(),
        values: Some(vec![value.into()]),
    }
}

/// Affinity and anti-affinity to other pods.
#[derive(Debug, Default, Clone)]
pub struct Terms {
    /// Must share a domain with a match.
    pub affinity: Vec<Term>,
    /// Must not share a domain with a match.
    pub anti_affinity: Vec<Term>,
    /// Would rather share.
    pub preferred: Vec<Term>,
    /// Would rather not.
    pub avoided: Vec<Term>,
}

impl Terms {
    fn of(pod: &Pod) -> Self {
        let required = |terms: &Option<Vec<PodAffinityTerm>>| {
            terms.iter().flatten().map(|term| Term::new(term, 0, pod)).collect::<Vec<_>>()
        };
        let weighted = |terms: &Option<Vec<WeightedPodAffinityTerm>>| {
            terms.iter().flatten().map(|term| Term::new(&term.pod_affinity_term, term.weight, pod)).collect::<Vec<_>>()
        };
        let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return Self::default() };
        let mut terms = Self::default();
        if let Some(towards) = &affinity.pod_affinity {
            terms.affinity = required(&towards.required_during_scheduling_ignored_during_execution);
            terms.preferred = weighted(&towards.preferred_during_scheduling_ignored_during_execution);
        }
        if let Some(away) = &affinity.pod_anti_affinity {
            terms.anti_affinity = required(&away.required_during_scheduling_ignored_during_execution);
            terms.avoided = weighted(&away.preferred_during_scheduling_ignored_during_execution);
        }
        terms
    }
}

static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

/// A pod and what follows from it.
#[derive(Debug, Clone)]
pub struct PodInfo {
    /// The object.
    pub pod: Arc<Pod>,
    /// Its namespace and name.
    pub key: Key,
    /// What it asks for.
    pub requests: Resources,
    /// What scores assume that it asks for.
    pub assumed_requests: Resources,
    /// The host ports that it listens on.
    pub ports: Vec<HostPort>,
    /// Its terms towards other pods.
    pub terms: Terms,
}

impl PodInfo {
    /// Computes what the scheduler needs to know of `pod`.
    pub fn new(pod: Arc<Pod>) -> Self {
        let key = key_of(&pod);
        let spec = pod.spec.as_ref().unwrap_or(&NO_SPEC);
        let (requests, assumed_requests) = (requests(spec, true), requests(spec, false));
        Self { key, requests, assumed_requests, ports: ports(spec), terms: Terms::of(&pod), pod }
    }

    /// Its specification; empty if it has none.
    pub fn spec(&self) -> &PodSpec {
        self.pod.spec.as_ref().unwrap_or(&NO_SPEC)
    }

    /// Higher goes first; 0 where the pod has none.
    pub fn priority(&self) -> i32 {
        self.spec().priority.unwrap_or(0)
    }

    /// Its labels.
    pub fn labels(&self) -> Option<&Labels> {
        self.pod.metadata.labels.as_ref()
    }

    /// Its tolerations.
    pub fn tolerations(&self) -> &[Toleration] {
        self.spec().tolerations.as_deref().unwrap_or_default()
    }

    /// The names of the claims that its volumes use, in order. An ephemeral volume's claim is named after pod and volume.
    pub fn claims(&self) -> impl Iterator<Item = String> {
        self.spec().volumes.iter().flatten().filter_map(|volume| {
            match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(claim), _) => Some(claim.claim_name.clone()),
                (None, Some(_)) => Some(format!("{}-{}", self.key.1, volume.name)),
                _ => None,
            }
        })
    }

    /// Whether its deletion has begun.
    pub fn terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// Namespace and name of a pod.
pub fn key_of(pod: &Pod) -> Key {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

/// On the host's network every container port is a host port, as the API server's defaulting has it.
fn ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let host = spec.host_network == Some(true);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let of = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        let number = port.host_port.filter(|port| *port > 0).or_else(|| host.then_some(port.container_port))?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        Some(HostPort { ip: port.host_ip.clone().unwrap_or_default(), protocol, port: number })
    };
    ports.filter_map(of).collect()
}
