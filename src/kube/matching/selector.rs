//! Selectors: labels of objects, labels and names of nodes.
//!
//! Rules of upstream's `apimachinery/labels` and `component-helpers/nodeaffinity`: `NotIn` and `DoesNotExist` match what
//! has no such label, an empty label selector matches everything, an empty node selector term matches nothing, and terms
//! of a node selector are alternatives.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// Whether an object with these `labels` (none is the same as empty) is selected.
pub fn labels_match(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let equal = selector.match_labels.iter().flatten().all(|(key, want)| value(key) == Some(want.as_str()));
    let holds = |r: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement| {
        one(&r.operator, value(&r.key), r.values.as_deref().unwrap_or_default())
    };
    equal && selector.match_expressions.iter().flatten().all(holds)
}

/// Whether `node` satisfies one of the selector's terms.
pub fn node_matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// Whether `node` satisfies every requirement of `term`. An empty term matches nothing.
pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |r: &NodeSelectorRequirement| {
        let value = node.metadata.labels.as_ref().and_then(|labels| labels.get(&r.key));
        one(&r.operator, value.map(String::as_str), r.values.as_deref().unwrap_or_default())
    };
    expressions.iter().all(label) && fields.iter().all(|r| field(r, node))
}

/// Whether the pod's `nodeSelector` and required node affinity let it run on `node`.
pub fn pod_selects_node(pod: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let plain = pod.node_selector.iter().flatten();
    let mut plain = plain.map(|(key, want)| labels.and_then(|labels| labels.get(key)) == Some(want));
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    plain.all(|matches| matches) && required.is_none_or(|required| node_matches(required, node))
}

/// A requirement on `metadata.name`, the only field there is; one value exactly.
fn field(requirement: &NodeSelectorRequirement, node: &Node) -> bool {
    let [value] = requirement.values.as_deref().unwrap_or_default() else { return false };
    let same = node.metadata.name.as_ref() == Some(value);
    requirement.key == "metadata.name"
        && match requirement.operator.as_str() {
            "In" => same,
            "NotIn" => !same,
            _ => false,
        }
}

/// One requirement on a label's value.
fn one(operator: &str, value: Option<&str>, values: &[String]) -> bool {
    let listed = |value: &str| values.iter().any(|v| v == value);
    let bound = || <[String; 1]>::try_from(values.to_vec()).ok()?[0].parse::<i64>().ok();
    let number = || value?.parse::<i64>().ok();
    match operator {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number().zip(bound()).is_some_and(|(number, bound)| number > bound),
        "Lt" => number().zip(bound()).is_some_and(|(number, bound)| number < bound),
        _ => false,
    }
}
