//! S11, the scheduler's part: a pod was put where its tolerations, selectors, affinities and volumes let it be.
//!
//! The rules are written down here a second time, from the Kubernetes documentation and not from the scheduler's code, so
//! that the scheduler is held against something that it does not use itself. Only what every pod can demand is judged:
//! scores, spreading and preferences are no promises. What has changed just before the choice is left out: a scheduler
//! decides on a cache.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::cluster::{Neighbour, Placement};
use super::judge::Finding;
use super::violation::Violation;

/// How far the scheduler's cache may lag behind the API server.
const CACHE_LAG: Duration = Duration::from_secs(2);

/// Checks all bindings of a run.
pub fn check(placements: &[Placement], finding: &mut Finding) {
    for placement in placements {
        if placement.decided < placement.settled + CACHE_LAG {
            continue;
        }
        finding.check(broken(placement).map(|rule| Violation::PlacedAgainstRules {
            pod: format!("{}/{}", placement.namespace, placement.pod),
            node: placement.node.clone(),
            rule,
            at: placement.decided,
        }));
    }
}

/// The first rule that the binding breaks.
fn broken(p: &Placement) -> Option<String> {
    let hard = |taint: &&Taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute";
    if let Some(taint) = p.taints.iter().filter(hard).find(|taint| !tolerated(taint, &p.tolerations)) {
        return Some(format!("it does not tolerate the taint {}:{}", taint.key, taint.effect));
    }
    let closed =
        Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    if p.cordoned && !tolerated(&closed, &p.tolerations) {
        return Some("the node is cordoned".into());
    }
    if let Some((key, value)) = p.selector.iter().find(|(key, value)| p.labels.get(*key) != Some(value)) {
        return Some(format!("its nodeSelector asks for {key}={value}"));
    }
    if p.affinity.as_ref().is_some_and(|selector| !selects(selector, p)) {
        return Some("its node affinity asks for other nodes".into());
    }
    if let Some((volume, _)) = p.volumes.iter().find(|(_, selector)| !selects(selector, p)) {
        return Some(format!("its volume {volume} cannot be there"));
    }
    let neighbour = p.neighbours.iter().find(|other| repelled(p, other))?;
    Some(format!("its anti-affinity keeps it from {}/{}", neighbour.namespace, neighbour.pod))
}

fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    tolerations.iter().any(|toleration| {
        let (key, effect) = (text(&toleration.key), text(&toleration.effect));
        let same = match text(&toleration.operator).as_str() {
            "Exists" => key.is_empty() || key == taint.key,
            _ => key == taint.key && !key.is_empty() && text(&toleration.value) == text(&taint.value),
        };
        same && (effect.is_empty() || effect == taint.effect)
    })
}

/// Terms are alternatives; an empty one selects nothing.
fn selects(selector: &NodeSelector, p: &Placement) -> bool {
    let named = BTreeMap::from([("metadata.name".to_string(), p.node.clone())]);
    let term = |term: &NodeSelectorTerm| {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let all = |requirements: &[NodeSelectorRequirement], among: &BTreeMap<String, String>| {
            requirements.iter().all(|r| holds(&r.operator, among.get(&r.key), r.values.as_deref().unwrap_or_default()))
        };
        (!expressions.is_empty() || !fields.is_empty()) && all(expressions, &p.labels) && all(fields, &named)
    };
    selector.node_selector_terms.iter().any(term)
}

fn holds(operator: &str, value: Option<&String>, values: &[String]) -> bool {
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    let numbers = number(value).zip(number(values.first()));
    match operator {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers.is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers.is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// Whether a required anti-affinity term of the pod is about `other`, which is in the same domain.
fn repelled(p: &Placement, other: &Neighbour) -> bool {
    p.repels.iter().any(|term| {
        let domain = p.labels.get(&term.topology_key);
        let same = domain.is_some() && domain == other.node_labels.get(&term.topology_key);
        let listed = term.namespaces.as_deref().unwrap_or_default();
        // A selector of namespaces would need their labels: such a term is not judged.
        let namespace =
            if listed.is_empty() { p.namespace == other.namespace } else { listed.contains(&other.namespace) };
        let about = term.label_selector.as_ref().is_some_and(|selector| labelled(selector, &other.labels));
        same && namespace && term.namespace_selector.is_none() && about
    })
}

fn labelled(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten();
    equal
        && expressions
            .into_iter()
            .all(|r| holds(&r.operator, labels.get(&r.key), r.values.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oracle::testing::at;

    /// A binding from a pod's spec, a node's spec and labels, and a volume's zone.
    fn placement(pod: Value, node: Value, zone: Option<&str>) -> Placement {
        let pod = serde_json::from_value(json!({ "metadata": { "name": "p", "namespace": "default" }, "spec": pod }));
        let labels = json!({ "zone": "a", "kubernetes.io/hostname": "n1", "cores": "8" });
        let node = serde_json::from_value(json!({ "metadata": { "name": "n1", "labels": labels }, "spec": node }));
        let term = |zone| json!({ "matchExpressions": [{ "key": "zone", "operator": "In", "values": [zone] }] });
        let volume = zone.map(|zone| {
            let required = json!({ "nodeSelectorTerms": [term(zone)] });
            let spec = json!({ "nodeAffinity": { "required": required } });
            serde_json::from_value(json!({ "metadata": { "name": "pv" }, "spec": spec })).expect("a volume")
        });
        let other = serde_json::from_value(json!({
            "metadata": { "name": "o", "namespace": "default", "labels": { "app": "cache" } },
        }));
        let (pod, node, other) = (pod.expect("a pod"), node.expect("a node"), other.expect("another pod"));
        let volumes: Vec<_> = volume.iter().collect();
        Placement::of((at(10_000), at(0)), &pod, &node, &volumes, &[(&other, &node)])
    }

    fn rule(placement: Placement) -> Option<String> {
        let mut finding = Finding::default();
        check(&[placement], &mut finding);
        assert_eq!(finding.checks, 1);
        finding.violations.pop().map(|violation| match violation {
            Violation::PlacedAgainstRules { rule, .. } => rule,
            other => other.to_string(),
        })
    }

    #[test]
    fn pods_are_where_they_may_be() {
        let container = || json!({ "containers": [] });
        let pod = |more: Value| {
            let (mut spec, more) = (container(), more);
            spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            spec
        };
        let taint = |effect: &str| json!({ "taints": [{ "key": "k", "value": "v", "effect": effect }] });
        let affinity = |operator: &str, values: Value| {
            let term = json!({ "matchExpressions": [{ "key": "cores", "operator": operator, "values": values }] });
            let required = json!({ "nodeSelectorTerms": [term] });
            pod(
                json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": required } } }),
            )
        };
        let apart = |app: &str| {
            let selector = json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": [app] }] });
            let term = json!({ "labelSelector": selector, "topologyKey": "kubernetes.io/hostname" });
            pod(
                json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } }),
            )
        };
        let tolerating = |t: Value| pod(json!({ "tolerations": [t] }));
        for (why, pod, node, zone, good) in [
            ("nothing asked", container(), json!({}), None, true),
            ("tainted", container(), taint("NoSchedule"), None, false),
            ("tainted, to be evicted", container(), taint("NoExecute"), None, false),
            ("rather not", container(), taint("PreferNoSchedule"), None, true),
            (
                "tolerated by key",
                tolerating(json!({ "key": "k", "operator": "Exists" })),
                taint("NoSchedule"),
                None,
                true,
            ),
            ("tolerated by value", tolerating(json!({ "key": "k", "value": "v" })), taint("NoSchedule"), None, true),
            ("other value", tolerating(json!({ "key": "k", "value": "w" })), taint("NoSchedule"), None, false),
            ("all tolerated", tolerating(json!({ "operator": "Exists" })), taint("NoExecute"), None, true),
            (
                "other effect",
                tolerating(json!({ "operator": "Exists", "effect": "NoExecute" })),
                taint("NoSchedule"),
                None,
                false,
            ),
            ("cordoned", container(), json!({ "unschedulable": true }), None, false),
            ("selected", pod(json!({ "nodeSelector": { "zone": "a" } })), json!({}), None, true),
            ("not selected", pod(json!({ "nodeSelector": { "zone": "b" } })), json!({}), None, false),
            ("enough cores", affinity("Gt", json!(["4"])), json!({}), None, true),
            ("too few cores", affinity("Gt", json!(["8"])), json!({}), None, false),
            ("disk of the zone", container(), json!({}), Some("a"), true),
            ("disk of another zone", container(), json!({}), Some("b"), false),
            ("apart from others", apart("web"), json!({}), None, true),
            ("apart from this one", apart("cache"), json!({}), None, false),
        ] {
            let broken = rule(placement(pod, node, zone));
            assert_eq!(broken.is_none(), good, "{why}: {broken:?}");
        }
    }

    #[test]
    fn what_changed_just_before_the_choice_is_not_judged() {
        let bad = placement(json!({ "containers": [] }), json!({ "unschedulable": true }), None);
        let mut finding = Finding::default();
        check(&[Placement { settled: at(9_000), ..bad }], &mut finding);
        assert_eq!(finding, Finding::default());
    }
}
