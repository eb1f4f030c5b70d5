//! Labels of the nodes: where the dataset has workers, for applications that want to be near.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::params::ListParams;
use serde_json::{Value, json};

use super::{Controller, RoundError, RuntimeKind, labelled};
use crate::kube::client::Patch;
use crate::kube::fluid::api::Placement;
use crate::kube::fluid::chart::Blueprint;
use crate::kube::fluid::labels;

fn label<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn name(node: &Node) -> String {
    node.metadata.name.clone().unwrap_or_default()
}

/// Nodes for workers that no scheduler places: those that have the label already, then others by name. None that belongs to
/// another dataset, and none new that is cordoned: a cordon drives nobody away.
fn choose(nodes: &[Node], mark: &str, exclusive: &str, count: usize) -> Vec<String> {
    let free = |node: &&Node| {
        let closed = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        let open = !closed || label(node, mark).is_some();
        open && label(node, labels::EXCLUSIVE).is_none_or(|owner| owner == exclusive)
    };
    let mut fit: Vec<_> = nodes.iter().filter(free).map(|node| (label(node, mark).is_none(), name(node))).collect();
    fit.sort();
    fit.into_iter().take(count).map(|(_, name)| name).collect()
}

impl<K: RuntimeKind> Controller<K> {
    /// Labels as many nodes as there are to be workers; the DaemonSet does the rest.
    pub(super) async fn choose_nodes(&self, b: &Blueprint) -> Result<(), RoundError> {
        let nodes = self.client.list::<Node>("", &ListParams::default()).await?.items;
        let mark = labels::runtime(b.flavor, &b.namespace, &b.name, &b.dataset_uid);
        let chosen = choose(&nodes, &mark, &labels::exclusive(&b.namespace, &b.name), b.workers as usize);
        self.mark(b, &nodes, &chosen.into_iter().collect()).await
    }

    /// Labels the nodes where the workers are, and no others.
    pub(super) async fn label_nodes(&self, b: &Blueprint) -> Result<(), RoundError> {
        use crate::kube::fluid::profile::WorkerSet;
        if b.profile.workers == WorkerSet::DaemonSet {
            return Ok(());
        }
        let selector = format!("release={},role={}", b.name, b.flavor.role("worker"));
        let pods = self.client.list::<Pod>(&b.namespace, &labelled(&selector)).await?.items;
        let there = pods.into_iter().filter_map(|pod| pod.spec?.node_name).collect();
        let nodes = self.client.list::<Node>("", &ListParams::default()).await?.items;
        self.mark(b, &nodes, &there).await
    }

    async fn mark(&self, b: &Blueprint, nodes: &[Node], chosen: &BTreeSet<String>) -> Result<(), RoundError> {
        for node in nodes {
            let wanted = chosen.contains(&name(node));
            let patch = change(b, node, wanted);
            if patch.as_object().is_some_and(|labels| !labels.is_empty()) {
                let patch = Patch::Merge(json!({ "metadata": { "labels": patch } }));
                self.client.patch::<Node>("", &name(node), &patch).await?;
            }
        }
        Ok(())
    }

    /// Takes the labels from all nodes.
    pub(super) async fn unlabel_nodes(&self, b: &Blueprint) -> Result<(), RoundError> {
        let nodes = self.client.list::<Node>("", &ListParams::default()).await?.items;
        self.mark(b, &nodes, &BTreeSet::new()).await
    }
}

/// The labels to add, or to take away as nulls.
fn change(b: &Blueprint, node: &Node, wanted: bool) -> Value {
    let owner = labels::exclusive(&b.namespace, &b.name);
    let common = labels::common(&b.namespace, &b.name, &b.dataset_uid);
    let mut own = vec![
        (common.clone(), "true".to_string()),
        (labels::runtime(b.flavor, &b.namespace, &b.name, &b.dataset_uid), "true".to_string()),
    ];
    if b.placement == Placement::Exclusive {
        own.push((labels::EXCLUSIVE.to_string(), owner));
    }
    let had = label(node, &common).is_some();
    let mut patch = json!({});
    for (name, value) in own {
        let before = label(node, &name);
        if wanted && before != Some(&value) {
            patch[name] = value.into();
        } else if !wanted && before == Some(&value) {
            patch[name] = Value::Null;
        }
    }
    if wanted != had {
        let count = label(node, labels::DATASET_COUNT).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        let count = if wanted { count.saturating_add(1) } else { count.saturating_sub(1) };
        patch[labels::DATASET_COUNT] = if count == 0 { Value::Null } else { count.to_string().into() };
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, labels: &[(&str, &str)], unschedulable: bool) -> Node {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": labels },
            "spec": { "unschedulable": unschedulable },
        }))
        .expect("a node")
    }

    #[test]
    fn nodes_that_have_the_label_come_first_and_foreign_ones_never() {
        let nodes = [
            node("n1", &[], false),
            node("n2", &[(labels::EXCLUSIVE, "default_spark")], false),
            node("n3", &[], true),
            node("n4", &[("mark", "true"), (labels::EXCLUSIVE, "default_hbase")], false),
        ];
        assert_eq!(choose(&nodes, "mark", "default_hbase", 3), ["n4", "n1"]);
        assert_eq!(choose(&nodes, "mark", "default_hbase", 1), ["n4"]);
    }

    #[test]
    fn a_cordoned_node_keeps_its_worker() {
        let nodes = [node("n1", &[], true), node("n2", &[("mark", "true")], true), node("n3", &[], false)];
        assert_eq!(choose(&nodes, "mark", "default_hbase", 3), ["n2", "n3"]);
    }
}
