//! What a cluster comes to after the heal: pods ready or gone, the dataset bound and mounted, mounts that answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use crate::base::SimTime;
use crate::kube::fluid::api::Mount;
use crate::kube::store::Object;
use crate::oracle::cluster::{Aim, DATASET_CONVERGES, MOUNTS_CONVERGE, PODS_CONVERGE, PODS_GO};
use crate::sim::cluster::Cluster;
use crate::sim::kubernetes::Kubernetes;
use crate::sim::scenario::Scenario;

/// Beyond its bound an aim is missed; what was well only some time after the heal is looked at that much longer.
const SLACK: Duration = Duration::from_secs(30);

/// All aims by what they are about.
#[derive(Default)]
pub(super) struct Aims {
    aims: BTreeMap<String, Aim>,
    looked: bool,
}

impl Aims {
    /// Looks at everything that should come to something. What is gone is no aim any more.
    pub fn look(&mut self, cluster: &Cluster, kubernetes: &Kubernetes, scenario: &Scenario, now: SimTime) {
        self.looked = true;
        let mut seen = pods(kubernetes);
        let meta = &scenario.dataset.metadata;
        if let Some(dataset) = kubernetes.object("datasets", &meta.namespace, &meta.name) {
            seen.push(bound(&dataset, scenario));
            seen.extend(mounted(&dataset, cluster, scenario));
        }
        seen.extend(mounts(kubernetes));
        let mut next = BTreeMap::new();
        for (what, wanted, is, within) in seen {
            let before = self.aims.get(&what).filter(|aim| aim.seen == aim.wanted).and_then(|aim| aim.since);
            let since = (is == wanted).then(|| before.unwrap_or(now));
            next.insert(what.clone(), Aim { what, wanted, seen: is, since, within });
        }
        self.aims = next;
    }

    /// Whether waiting shows nothing more: each is reached, or was due.
    pub fn decided(&self, healed: SimTime, now: SimTime) -> bool {
        self.looked && self.aims.values().all(|aim| aim.since.is_some() || now.since(healed) > aim.within + SLACK)
    }

    /// All of them.
    pub fn told(self) -> Vec<Aim> {
        self.aims.into_values().collect()
    }
}

/// What, as it should be, as it is, within how long.
type Seen = (String, String, String, Duration);

fn pods(kubernetes: &Kubernetes) -> Vec<Seen> {
    let aim = |pod: &Arc<Object>| pod_aim(&pod.meta, pod.body.get("status").unwrap_or(&Value::Null));
    kubernetes.objects("pods").iter().filter_map(aim).collect()
}

fn pod_aim(meta: &ObjectMeta, status: &Value) -> Option<Seen> {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let what = format!("pod {}/{}", text(&meta.namespace), text(&meta.name));
    if meta.deletion_timestamp.is_some() {
        let grace = meta.deletion_grace_period_seconds.unwrap_or(0).max(0).unsigned_abs();
        return Some((what, "gone".into(), "Terminating".into(), PODS_GO + Duration::from_secs(grace)));
    }
    let phase = status["phase"].as_str().unwrap_or_default().to_owned();
    if phase == "Failed" && meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty()) {
        // It is over; its owner has made another one.
        return None;
    }
    let conditions = status["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    let is = if ready { "Ready".into() } else { phase };
    // A job's pod that has ended well has come to what it should.
    let wanted = if is == "Succeeded" { "Succeeded" } else { "Ready" };
    Some((what, wanted.into(), is, PODS_CONVERGE))
}

fn bound(dataset: &Object, scenario: &Scenario) -> Seen {
    let meta = &scenario.dataset.metadata;
    let phase = dataset.at("status.phase").and_then(Value::as_str).unwrap_or_default().to_owned();
    (format!("dataset {}/{}", meta.namespace, meta.name), "Bound".into(), phase, DATASET_CONVERGES)
}

/// The masters know every mount that the dataset asks for.
fn mounted(dataset: &Object, cluster: &Cluster, scenario: &Scenario) -> Option<Seen> {
    let mounts = Vec::<Mount>::deserialize(dataset.at("spec.mounts")?).ok()?;
    let known = cluster.leader().and_then(|leader| cluster.facts(leader)).map(|facts| facts.mounts);
    let is = match known {
        None => "not known: no master leads".to_owned(),
        Some(known) => {
            let lacks: Vec<String> = mounts.iter().map(Mount::path).filter(|path| !known.contains(path)).collect();
            if lacks.is_empty() { "whole".to_owned() } else { format!("without {}", lacks.join(", ")) }
        }
    };
    let meta = &scenario.dataset.metadata;
    let what = format!("mount table of dataset {}/{}", meta.namespace, meta.name);
    Some((what, "whole".into(), is, DATASET_CONVERGES))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn aim_of(status: Value, meta: Value) -> Option<(String, String)> {
        let meta = serde_json::from_value(meta).unwrap();
        pod_aim(&meta, &status).map(|(_, wanted, is, _)| (wanted, is))
    }

    #[test]
    fn a_pod_comes_to_be_ready_or_gone() {
        let ready = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
        let owned = json!({ "ownerReferences": [{ "kind": "ReplicaSet" }] });
        let going = json!({ "deletionTimestamp": "2022-04-19T09:11:54Z", "deletionGracePeriodSeconds": 30 });
        for (status, meta, want) in [
            (ready.clone(), json!({}), Some(("Ready", "Ready"))),
            (json!({ "phase": "Pending" }), json!({}), Some(("Ready", "Pending"))),
            (Value::Null, json!({}), Some(("Ready", ""))),
            (json!({ "phase": "Succeeded" }), json!({}), Some(("Succeeded", "Succeeded"))),
            (json!({ "phase": "Failed" }), json!({}), Some(("Ready", "Failed"))),
            (json!({ "phase": "Failed" }), owned, None),
            (ready, going, Some(("gone", "Terminating"))),
        ] {
            let want = want.map(|(wanted, is)| (wanted.to_owned(), is.to_owned()));
            assert_eq!(aim_of(status.clone(), meta), want, "{status}");
        }
    }

    #[test]
    fn waiting_ends_when_all_is_reached_or_late() {
        let aim = |since| Aim {
            what: "pod".into(),
            wanted: "Ready".into(),
            seen: String::new(),
            since,
            within: Duration::from_secs(60),
        };
        let at = SimTime::from_secs;
        let mut aims = Aims::default();
        assert!(!aims.decided(at(0), at(1)), "nobody has looked yet");
        aims.looked = true;
        assert!(aims.decided(at(0), at(1)));
        aims.aims.insert("a".into(), aim(None));
        aims.aims.insert("b".into(), aim(Some(at(1))));
        assert!(!aims.decided(at(0), at(60)));
        assert!(aims.decided(at(0), at(100)), "it is late");
    }
}
