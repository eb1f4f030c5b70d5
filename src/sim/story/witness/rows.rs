//! Rows of the dataset and its runtime, beside what is true at that moment.

use std::time::Duration;

use serde_json::Value;

use crate::base::SimTime;
use crate::kube::fluid::api::{DatasetStatus, RuntimeStatus};
use crate::kube::kind::ObjectKey;
use crate::oracle::cluster::{CacheTruth, RowSeen, SetTruth};
use crate::sim::cluster::{Cluster, cached_bytes};
use crate::sim::kubernetes::{Kubernetes, Node, Part};
use crate::sim::scenario::Scenario;
use crate::sim::scenario::target::Role;
use crate::world::lab::Lab;

/// Between two looks: Fluid's own shortest interval.
const EVERY: Duration = Duration::from_secs(5);

/// All rows.
#[derive(Default)]
pub(super) struct Rows {
    all: Vec<RowSeen>,
    looked: Option<SimTime>,
    /// The dataset was bound once: before that its phase is an aim.
    bound: bool,
}

fn status<T: serde::de::DeserializeOwned>(object: Option<Value>) -> Option<T> {
    serde_json::from_value(object?.get("status")?.clone()).ok()
}

fn object(kubernetes: &Kubernetes, word: &str, namespace: &str, name: &str) -> Option<Value> {
    kubernetes.server.with_store(|store| {
        let kind = store.kinds().by_word(word)?;
        Some(store.find(kind, &ObjectKey::new(namespace, name))?.to_value())
    })
}

impl Rows {
    /// Reads the rows and reckons the truth.
    pub fn look(&mut self, lab: &Lab, cluster: &Cluster, scenario: &Scenario, now: SimTime) {
        if self.looked.is_some_and(|at| now.since(at) < EVERY) {
            return;
        }
        self.looked = Some(now);
        let (Some(kubernetes), Some(spec)) = (&cluster.kubernetes, &scenario.spec.kubernetes) else { return };
        let meta = &scenario.dataset.metadata;
        let find = |word: &str| object(kubernetes, word, &meta.namespace, &meta.name);
        let flavor = scenario.runtime.flavor();
        let runtimes = format!("{}runtimes", flavor.word());
        // Fluid unbinds a dataset whose runtime goes; what its row says then is an aim again.
        let stays = find(&runtimes).is_some_and(|runtime| runtime.pointer("/metadata/deletionTimestamp").is_none());
        let dataset = find("datasets").filter(|_| stays);
        let Some(dataset) = status::<DatasetStatus>(dataset) else {
            self.bound = false;
            return;
        };
        self.bound |= dataset.phase.to_string() == "Bound";
        if !self.bound {
            return;
        }
        let truth = truth(lab, cluster, kubernetes, scenario);
        let name = format!("{}/{}", meta.namespace, meta.name);
        let mut row = truth.dataset(now, &name, &dataset, spec.fluid.profile().health, flavor);
        if scenario.spec.workload.clients > 0 {
            // It changes with every write: the row may show what was true between two looks.
            row.cells.iter_mut().filter(|cell| cell.name == "cached").for_each(|cell| cell.truth.clear());
        }
        let blind = blind(cluster);
        self.all.push(RowSeen { blind: blind.clone(), ..row });
        if let Some(runtime) = status::<RuntimeStatus>(find(&runtimes)) {
            self.all.push(RowSeen { blind, ..truth.runtime(now, &name, &runtime) });
        }
    }

    /// All of them.
    pub fn told(self) -> Vec<RowSeen> {
        self.all
    }
}

/// Fluid asks master 0 and nobody else.
fn blind(cluster: &Cluster) -> Option<String> {
    let first = cluster.of(Role::Master).next()?;
    let member = &cluster.members[first];
    (member.process.is_none() || !member.running()).then(|| format!("{} does not answer", member.plan.name))
}

fn truth(lab: &Lab, cluster: &Cluster, kubernetes: &Kubernetes, scenario: &Scenario) -> CacheTruth {
    let meta = scenario.runtime.metadata();
    let flavor = scenario.runtime.flavor();
    let set = |name: String, part: fn(&Part) -> bool| {
        let field = |set: &Value, path: &str| set.pointer(path).and_then(Value::as_u64).unwrap_or(0) as u32;
        let stateful = object(kubernetes, "statefulsets", &meta.namespace, &name);
        let daemon = || object(kubernetes, "daemonsets", &meta.namespace, &name);
        let desired = match stateful {
            Some(set) => field(&set, "/spec/replicas"),
            None => field(&daemon()?, "/status/desiredNumberScheduled"),
        };
        Some(SetTruth { desired, there: pods(kubernetes, &name), ready: running(kubernetes, &name, part) })
    };
    let masters = set(flavor.master(&meta.name), |part| matches!(part, Part::Master(_)));
    let workers = set(flavor.worker(&meta.name), |part| matches!(part, Part::Worker(_)));
    let fuses = SetTruth { ready: fuses(kubernetes, &flavor.fuse(&meta.name)), ..SetTruth::default() };
    let quota: u64 = scenario.runtime.tieredstore().levels.iter().flat_map(|l| l.dirs()).map(|(_, q)| q).sum();
    let ready = workers.map_or(0, |workers| u64::from(workers.ready));
    let cached =
        cluster.of(Role::Worker).filter(|w| cluster.members[*w].running()).map(|w| cached_bytes(lab, cluster, w));
    let (under_stores, files) = below(cluster, scenario);
    CacheTruth { masters, workers, fuses, cached: cached.sum(), capacity: quota * ready, under_stores, files }
}

fn pods(kubernetes: &Kubernetes, set: &str) -> u32 {
    kubernetes.server.with_store(|store| {
        let Some(kind) = store.kinds().by_word("pods") else { return 0 };
        let of_set = |name: &str| name.rsplit_once('-').is_some_and(|(own, _)| own == set);
        store.list(kind, &Default::default()).filter(|pod| of_set(&pod.key.name)).count() as u32
    })
}

fn running(kubernetes: &Kubernetes, set: &str, part: fn(&Part) -> bool) -> u32 {
    kubernetes.nodes.iter().map(|node| running_on(node, set, part)).sum()
}

fn running_on(node: &Node, set: &str, part: fn(&Part) -> bool) -> u32 {
    let of_set = |pod: &str| pod.rsplit_once('-').is_some_and(|(own, _)| own == set);
    node.machine.containers(|all| {
        all.iter().filter(|c| c.runs() && c.process.is_some() && part(&c.part) && of_set(&c.spec.pod.name)).count()
            as u32
    })
}

/// Fuse pods as a DaemonSet counts them: one that runs on where a taint keeps new ones away is misscheduled, and no more
/// counted as ready.
fn fuses(kubernetes: &Kubernetes, set: &str) -> u32 {
    let chosen = |node: &&Node| {
        let taints = object(kubernetes, "nodes", "", &node.machine.id.node)
            .and_then(|node| node.pointer("/spec/taints").and_then(Value::as_array).cloned())
            .unwrap_or_default();
        // What the control plane puts on a node that is not well is tolerated by every DaemonSet.
        let own = |taint: &Value| taint["key"].as_str().is_some_and(|key| !key.starts_with("node.kubernetes.io/"));
        !taints.iter().any(|taint| own(taint) && taint["effect"] != "PreferNoSchedule")
    };
    kubernetes.nodes.iter().filter(chosen).map(|node| running_on(node, set, |part| matches!(part, Part::Fuse))).sum()
}

/// Bytes and number of the under-stores' files below the dataset's mounts.
fn below(cluster: &Cluster, scenario: &Scenario) -> (u64, u64) {
    let of = |mount: &crate::kube::fluid::api::Mount| cluster.programs().bytes_below(&mount.mount_point);
    scenario.dataset.spec.mounts.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}
