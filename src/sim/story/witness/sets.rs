//! The sets of a cache: how many pods each should have, has, and has ready.
//!
//! What is stored of them is read again when something was written, what runs when a container came or went.

use serde_json::Value;

use crate::kube::store::{Object, Selection, Store};
use crate::oracle::cluster::SetTruth;
use crate::sim::kubernetes::{Kubernetes, Node, Part};
use crate::sim::scenario::Scenario;

/// The sets of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sets {
    /// None if there is no such set.
    pub masters: Option<SetTruth>,
    /// None if there is no such set.
    pub workers: Option<SetTruth>,
    /// On nodes where they are counted.
    pub fuses: SetTruth,
}

/// What the store says of the sets.
#[derive(Default)]
pub(super) struct Stored {
    /// The store's decisive revision that this was read at.
    revision: u64,
    /// The machines' turns at the last look, and what it saw.
    last: Option<(u64, Sets)>,
    masters: Set,
    workers: Set,
    fuses: Set,
    /// By node: whether a fuse pod that runs there is counted.
    chosen: Vec<bool>,
}

/// What the store says of one set.
#[derive(Default)]
struct Set {
    name: String,
    /// How many pods it wants and has, if there is such a set.
    numbers: Option<(u32, u32)>,
}

impl Stored {
    /// The sets as they are now.
    pub fn sets(&mut self, kubernetes: &Kubernetes, scenario: &Scenario) -> Sets {
        kubernetes.server.look(|store| {
            if std::mem::replace(&mut self.revision, store.decisive_revision()) != store.decisive_revision() {
                self.read(store, kubernetes, scenario);
                self.last = None;
            }
        });
        let turns = kubernetes.nodes.iter().map(|node| node.machine.turns()).sum();
        if let Some((_, sets)) = self.last.filter(|(then, _)| *then == turns) {
            return sets;
        }
        let truth = |set: &Set, part: fn(&Part) -> bool| {
            let (desired, there) = set.numbers?;
            let ready = kubernetes.nodes.iter().map(|node| running_on(node, &set.name, part)).sum();
            Some(SetTruth { desired, there, ready })
        };
        let fuses = kubernetes.nodes.iter().zip(&self.chosen).filter(|(_, chosen)| **chosen);
        let fuses = fuses.map(|(node, _)| running_on(node, &self.fuses.name, |part| matches!(part, Part::Fuse)));
        let sets = Sets {
            masters: truth(&self.masters, |part| matches!(part, Part::Master(_))),
            workers: truth(&self.workers, |part| matches!(part, Part::Worker(_))),
            fuses: SetTruth { ready: fuses.sum(), ..SetTruth::default() },
        };
        self.last = Some((turns, sets));
        sets
    }

    fn read(&mut self, store: &Store, kubernetes: &Kubernetes, scenario: &Scenario) {
        let meta = scenario.runtime.metadata();
        let flavor = scenario.runtime.flavor();
        let set = |name: String| Set { numbers: numbers(store, &meta.namespace, &name), name };
        self.masters = set(flavor.master(&meta.name));
        self.workers = set(flavor.worker(&meta.name));
        self.fuses = Set { name: flavor.fuse(&meta.name), numbers: None };
        self.chosen = kubernetes.nodes.iter().map(|node| is_chosen(store, &node.machine.id.node)).collect();
    }
}

fn numbers(store: &Store, namespace: &str, name: &str) -> Option<(u32, u32)> {
    let field = |set: &Object, path: &str| set.at(path).and_then(Value::as_u64).unwrap_or(0) as u32;
    let desired = match store.find_word("statefulsets", namespace, name) {
        Some(set) => field(set, "spec.replicas"),
        None => field(store.find_word("daemonsets", namespace, name)?, "status.desiredNumberScheduled"),
    };
    Some((desired, pods(store, name)))
}

fn pods(store: &Store, set: &str) -> u32 {
    let Some(kind) = store.kinds().by_word("pods") else { return 0 };
    store.list(kind, &Selection::default()).filter(|pod| is_of_set(&pod.key.name, set)).count() as u32
}

fn is_of_set(pod: &str, set: &str) -> bool {
    pod.strip_prefix(set).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| !rest.contains('-'))
}

fn running_on(node: &Node, set: &str, part: fn(&Part) -> bool) -> u32 {
    node.machine.containers(|all| {
        let own = all.iter().filter(|c| c.runs() && c.process.is_some() && part(&c.part));
        own.filter(|c| is_of_set(&c.spec.pod.name, set)).count() as u32
    })
}

/// Fuse pods as a DaemonSet counts them: one that runs on where a taint keeps new ones away is misscheduled, and no more
/// counted as ready.
fn is_chosen(store: &Store, node: &str) -> bool {
    let taints = store.find_word("nodes", "", node).and_then(|node| node.at("spec.taints")).and_then(Value::as_array);
    // What the control plane puts on a node that is not well is tolerated by every DaemonSet.
    let own = |taint: &Value| taint["key"].as_str().is_some_and(|key| !key.starts_with("node.kubernetes.io/"));
    !taints.into_iter().flatten().any(|taint| own(taint) && taint["effect"] != "PreferNoSchedule")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_of_the_set_that_its_name_begins_with() {
        for (pod, set, want) in [
            ("demo-master-0", "demo-master", true),
            ("demo-fuse-x7k2p", "demo-fuse", true),
            ("demo-master-0-0", "demo-master", false),
            ("demo-master0", "demo-master", false),
            ("demo-master", "demo-master", false),
            ("a-demo-master-0", "demo-master", false),
        ] {
            assert_eq!(is_of_set(pod, set), want, "{pod}");
            assert_eq!(pod.rsplit_once('-').is_some_and(|(own, _)| own == set), want, "{pod}");
        }
    }
}
