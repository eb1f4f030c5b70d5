//! What a cluster comes to after the heal: pods ready, the dataset bound, mounts that answer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::base::SimTime;
use crate::kube::kind::ObjectKey;
use crate::kube::store::Selection;
use crate::oracle::cluster::{Aim, DATASET_CONVERGES, MOUNTS_CONVERGE, PODS_CONVERGE};
use crate::sim::kubernetes::Kubernetes;
use crate::sim::scenario::Scenario;

/// All aims by what they are about.
#[derive(Default)]
pub(super) struct Aims {
    aims: BTreeMap<String, Aim>,
}

impl Aims {
    /// Looks at everything that should come to something. What is gone is no aim any more.
    pub fn look(&mut self, kubernetes: &Kubernetes, scenario: &Scenario, now: SimTime) {
        let mut seen = pods(kubernetes);
        seen.extend(dataset(kubernetes, scenario));
        seen.extend(mounts(kubernetes));
        let mut next = BTreeMap::new();
        for (what, wanted, is, within) in seen {
            let before = self.aims.get(&what).filter(|aim| aim.seen == aim.wanted).and_then(|aim| aim.since);
            let since = (is == wanted).then(|| before.unwrap_or(now));
            next.insert(what.clone(), Aim { what, wanted, seen: is, since, within });
        }
        self.aims = next;
    }

    /// All of them.
    pub fn told(self) -> Vec<Aim> {
        self.aims.into_values().collect()
    }
}

/// What, as it should be, as it is, within how long.
type Seen = (String, String, String, Duration);

fn pods(kubernetes: &Kubernetes) -> Vec<Seen> {
    kubernetes.server.with_store(|store| {
        let Some(kind) = store.kinds().by_word("pods") else { return Vec::new() };
        let one = |pod: Value| {
            let text = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let what = format!("pod {}/{}", text("/metadata/namespace"), text("/metadata/name"));
            let phase = text("/status/phase");
            let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
            let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
            let is = if ready { "Ready".into() } else { phase };
            // A job's pod that has ended well has come to what it should.
            let wanted = if is == "Succeeded" { "Succeeded" } else { "Ready" };
            (what, wanted.to_owned(), is, PODS_CONVERGE)
        };
        store.list(kind, &Selection::default()).map(|pod| one(pod.to_value())).collect()
    })
}

fn dataset(kubernetes: &Kubernetes, scenario: &Scenario) -> Option<Seen> {
    let meta = &scenario.dataset.metadata;
    let dataset = kubernetes.server.with_store(|store| {
        let kind = store.kinds().by_word("datasets")?;
        Some(store.find(kind, &ObjectKey::new(meta.namespace.as_str(), meta.name.as_str()))?.to_value())
    })?;
    let phase = dataset.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((format!("dataset {}/{}", meta.namespace, meta.name), "Bound".into(), phase, DATASET_CONVERGES))
}

/// The topmost mount at each place answers.
fn mounts(kubernetes: &Kubernetes) -> Vec<Seen> {
    let mut all = Vec::new();
    for node in &kubernetes.nodes {
        let table = node.machine.table();
        let mut places: BTreeMap<&str, bool> = BTreeMap::new();
        for mount in table.mounts() {
            places.insert(&mount.target, table.answers(&mount.place.fs));
        }
        let name = &node.machine.id.node;
        all.extend(places.into_iter().map(|(target, answers)| {
            let is = if answers { "answers" } else { "is not connected" };
            (format!("mount {target} on {name}"), "answers".into(), is.into(), MOUNTS_CONVERGE)
        }));
    }
    all
}
