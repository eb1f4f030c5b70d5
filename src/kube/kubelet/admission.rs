//! Whether a node takes a pod that was bound to it.
//!
//! The scheduler decided on what it saw; the kubelet decides on what is so. Upstream's `lifecycle/predicate.go`: resources
//! first, then node affinity; the first resource that is short names the refusal. A refused pod is Failed for good and its
//! controller makes another. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, Pod, PodSpec, ResourceRequirements};

use super::config::Capacity;
use crate::kube::matching::{milli, pod_selects_node, untolerated, whole};
use crate::kube::runtime::Resources;

/// Why a node refuses a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `status.reason`: `OutOfcpu`, `NodeAffinity`, …
    pub reason: String,
    /// The message behind "Pod was rejected: ".
    pub message: String,
}

impl Refusal {
    /// Whether other labels of the node would have let the pod in.
    pub fn is_for_labels(&self) -> bool {
        self.reason == "NodeAffinity"
    }
}

fn amount(resources: Option<&ResourceRequirements>, name: &str, limit: bool) -> Option<u64> {
    let resources = resources?;
    let of = |list: &Option<BTreeMap<String, _>>| list.as_ref().and_then(|l| l.get(name)).cloned();
    // A limit without a request is its own request.
    let given = if limit { of(&resources.limits) } else { of(&resources.requests).or_else(|| of(&resources.limits)) };
    let value = given.and_then(|q| if name == "cpu" { milli(&q) } else { whole(&q) })?;
    u64::try_from(value).ok()
}

/// What a container asks for and may use.
pub fn resources(container: &Container) -> Resources {
    let of = |name, limit| amount(container.resources.as_ref(), name, limit);
    Resources {
        cpu_milli_request: of("cpu", false),
        cpu_milli_limit: of("cpu", true),
        memory_request: of("memory", false),
        memory_limit: of("memory", true),
    }
}

/// What a pod takes of its node: the sum of its containers, or its greediest init container, whichever is more.
pub fn requests(pod: &PodSpec) -> Capacity {
    let of = |name: &str| {
        let ask = |c: &Container| amount(c.resources.as_ref(), name, false).unwrap_or(0);
        let sum = pod.containers.iter().map(ask).fold(0u64, u64::saturating_add);
        let init = pod.init_containers.iter().flatten().map(ask).max().unwrap_or(0);
        sum.max(init)
    };
    Capacity { cpu_milli: of("cpu"), memory: of("memory"), ephemeral_storage: of("ephemeral-storage"), pods: 1 }
}

/// Looks at a pod that is to run beside the pods that do.
///
/// # Errors
/// The refusal.
pub fn admit(pod: &Pod, node: &Node, allocatable: Capacity, others: &[Capacity]) -> Result<(), Refusal> {
    type Of = fn(&Capacity) -> u64;
    let Some(spec) = &pod.spec else { return Ok(()) };
    let used = |of: Of| others.iter().map(of).fold(0u64, u64::saturating_add);
    let wants = requests(spec);
    let rows: [(&str, Of); 4] = [
        ("pods", |c| c.pods),
        ("cpu", |c| c.cpu_milli),
        ("memory", |c| c.memory),
        ("ephemeral-storage", |c| c.ephemeral_storage),
    ];
    for (name, of) in rows {
        let (requested, used, capacity) = (of(&wants), used(of), of(&allocatable));
        if requested > 0 && used.saturating_add(requested) > capacity {
            let message = format!(
                "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
            );
            return Err(Refusal { reason: format!("OutOf{name}"), message });
        }
    }
    let failed = |reason: &str, what: &str| Refusal {
        reason: reason.into(),
        message: format!("Predicate {reason} failed: {what}"),
    };
    if !pod_selects_node(spec, node) {
        return Err(failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
    }
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    if untolerated(taints, spec.tolerations.as_deref().unwrap_or_default(), &["NoExecute"]).is_some() {
        return Err(failed("TaintToleration", "node(s) had taints that the pod didn't tolerate"));
    }
    match spec.init_containers.iter().flatten().find(|c| c.restart_policy.is_some()) {
        Some(sidecar) => Err(Refusal {
            reason: "UnsupportedField".into(),
            message: format!("init container {} has a restartPolicy: sidecars are not simulated", sidecar.name),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    fn container(cpu: &str, memory: &str) -> Container {
        let list = [("cpu", cpu), ("memory", memory)].into_iter().filter(|(_, v)| !v.is_empty());
        let requests = list.map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))).collect();
        let resources = ResourceRequirements { requests: Some(requests), ..ResourceRequirements::default() };
        Container { name: "c".into(), resources: Some(resources), ..Container::default() }
    }

    fn pod(init: &[(&str, &str)], main: &[(&str, &str)]) -> Pod {
        let list = |rows: &[(&str, &str)]| rows.iter().map(|(cpu, memory)| container(cpu, memory)).collect();
        let spec = PodSpec { init_containers: Some(list(init)), containers: list(main), ..PodSpec::default() };
        Pod { spec: Some(spec), ..Pod::default() }
    }

    #[test]
    fn the_first_short_resource_names_the_refusal() {
        let room = Capacity { cpu_milli: 2000, memory: 1 << 30, ephemeral_storage: 0, pods: 2 };
        let other = Capacity { cpu_milli: 1500, memory: 1 << 20, ephemeral_storage: 0, pods: 1 };
        let rows = [
            (pod(&[], &[("500m", "512Mi")]), vec![other], None),
            (pod(&[], &[("501m", "2Gi")]), vec![other], Some("OutOfcpu")),
            (pod(&[], &[("250m", ""), ("251m", "")]), vec![other], Some("OutOfcpu")),
            (pod(&[("501m", "")], &[("1m", "")]), vec![other], Some("OutOfcpu")),
            (pod(&[], &[("", "1Gi")]), vec![other], Some("OutOfmemory")),
            (pod(&[], &[("", "")]), vec![Capacity::NONE, other, other], Some("OutOfpods")),
            (pod(&[], &[("", "")]), vec![Capacity { cpu_milli: 9000, ..other }], None),
        ];
        for (n, (pod, others, want)) in rows.into_iter().enumerate() {
            let got = admit(&pod, &Node::default(), room, &others);
            assert_eq!(got.as_ref().err().map(|r| r.reason.as_str()), want, "row {n}: {got:?}");
        }
        let refused = admit(&pod(&[], &[("600m", "")]), &Node::default(), room, &[other]).unwrap_err();
        let want = "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000";
        assert_eq!(refused.message, want);
    }

    #[test]
    fn a_pod_that_selects_another_node_is_refused() {
        let mut wanted = pod(&[], &[("", "")]);
        let spec = wanted.spec.get_or_insert_default();
        spec.node_selector = Some([("zone".to_owned(), "a".to_owned())].into());
        let room = Capacity { cpu_milli: 0, memory: 0, ephemeral_storage: 0, pods: 1 };
        let refused = admit(&wanted, &Node::default(), room, &[]).unwrap_err();
        assert_eq!(refused.reason, "NodeAffinity");
        let mut node = Node::default();
        node.metadata.labels = Some([("zone".to_owned(), "a".to_owned())].into());
        assert_eq!(admit(&wanted, &node, room, &[]), Ok(()));
    }
}
