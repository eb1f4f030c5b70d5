//! What Fluid and the GooseFS document ask of the manifests.
//!
//! Upstream's own code does not refuse an even number of masters; the document does, and this is its scenario.

use serde::Serialize;
use serde_json::Value;

use super::{Problem, Problems};
use crate::kube::fluid::api::{self, Level};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::quantity::Quantity;
use crate::sim::scenario::{Scenario, UnderStore};
use crate::stack::ufs::bucket::Scheme;

/// Problems of the dataset.
pub fn dataset(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Problems::default();
    let dataset = &scenario.dataset;
    name(&mut found, &dataset.metadata.name);
    found.unless(!dataset.spec.mounts.is_empty(), "spec.mounts", "nothing is mounted", "add a mount");
    for (i, mount) in dataset.spec.mounts.iter().enumerate() {
        let place = format!("spec.mounts.{i}");
        let others = &dataset.spec.mounts[..i];
        let taken = others.iter().any(|other| other.name == mount.name);
        found.unless(!taken, &format!("{place}.name"), "a second mount of this name", "give it another name");
        let taken = others.iter().any(|other| other.path() == mount.path());
        found.unless(!taken, &format!("{place}.path"), "a second mount at this path", "give it another path");
        let path = mount.path();
        let root = path == "/" && scenario.spec.kubernetes.is_some();
        let fine = root || path.starts_with('/') && !path.contains("..") && path.len() > 1;
        found.unless(fine, &format!("{place}.path"), "this is no path below /", "write one such as /hbase");
        let load = &scenario.spec.workload;
        let writable = Scheme::of(&mount.mount_point).is_some() && !mount.read_only;
        let inside = load.clients > 0 && !writable && format!("{}/", load.root).starts_with(&format!("{path}/"));
        let message = format!("the workload writes below {}, and this under-store is read-only", load.root);
        found.unless(!inside, &format!("{place}.path"), &message, "choose another workload.root");
        let dir = format!("{}/", mount.mount_point.trim_end_matches('/'));
        let served = |store: &UnderStore| mount.mount_point.starts_with(&store.url) || dir.starts_with(&store.url);
        let served = scenario.spec.under_stores.iter().any(served);
        let help = "add an entry with this url to `under_stores` of the scenario";
        found.unless(served, &format!("{place}.mountPoint"), "the scenario has no such under-store", help);
    }
    if scenario.spec.kubernetes.is_none() {
        needs_kubernetes(&mut found, &dataset.spec, &["mounts", "mountPoint", "name", "path", "readOnly", "options"]);
    }
    found.0
}

/// Problems of the runtime.
pub fn runtime(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Problems::default();
    let runtime = &scenario.runtime;
    let (own, dataset) = (runtime.metadata(), &scenario.dataset.metadata);
    name(&mut found, &own.name);
    if own != dataset {
        let message = format!(
            "the runtime is {}/{} and the dataset {}/{}",
            own.namespace, own.name, dataset.namespace, dataset.name
        );
        found.add("metadata.name", message, format!("write {}: Fluid pairs them by name", dataset.name));
    }
    let masters = runtime.masters();
    let place = "spec.master.replicas";
    // What is typed by hand is Fluid's to refuse.
    let by_hand = scenario.spec.kubernetes.as_ref().is_some_and(|kubernetes| kubernetes.by_hand);
    if masters.is_multiple_of(2) && runtime.flavor() == Flavor::GooseFs && !by_hand {
        let help = match masters {
            0 => "write 1 or 3: it must be a positive odd number, as the GooseFS document requires".to_string(),
            n => format!(
                "write {} or {}: it must be odd, as the GooseFS document requires; {n} masters survive no more failures than {}",
                n - 1,
                n + 1,
                n - 1
            ),
        };
        found.add(place, format!("the number of masters is even: {masters}"), help);
    }
    let nodes = scenario.spec.nodes.len();
    let many = |count: u32, what: &str| format!("{count} {what} and {nodes} node{}", if nodes == 1 { "" } else { "s" });
    let fits = |count: u32| (count as usize) <= nodes;
    let help = "write at most one per node, or add nodes: masters use the same port of their host";
    let direct = scenario.spec.kubernetes.is_none();
    found.unless(!direct || fits(masters), place, &many(masters, "masters"), help);
    let workers = runtime.workers();
    found.unless(workers > 0, "spec.replicas", "no workers", "write 1 or more");
    let help = "write at most one per node, or add nodes: a dataset has its nodes for itself";
    found.unless(!direct || fits(workers), "spec.replicas", &many(workers, "workers"), help);
    let levels = &runtime.tieredstore().levels;
    found.unless(!levels.is_empty(), "spec.tieredstore.levels", "no level", "add a level");
    for (i, one) in levels.iter().enumerate() {
        level(&mut found, &format!("spec.tieredstore.levels.{i}"), one);
        let taken = levels[..i].iter().any(|other| other.mediumtype == one.mediumtype);
        found.unless(
            !taken,
            &format!("spec.tieredstore.levels.{i}.mediumtype"),
            "a second level of this medium",
            "list its paths in one level",
        );
    }
    let honoured =
        ["replicas", "tieredstore", "levels", "mediumtype", "path", "quota", "quotaList", "high", "low", "master"];
    if direct {
        needs_kubernetes(&mut found, &runtime.spec(), &honoured);
    }
    found.0
}

/// Refuses the fields that only Fluid's controllers honour: a cluster that is built from its manifests has none.
fn needs_kubernetes(found: &mut Problems, spec: &impl Serialize, honoured: &[&str]) {
    fn walk(found: &mut Problems, place: &str, value: &Value, honoured: &[&str]) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let place = format!("{place}.{name}");
                    if honoured.contains(&name.as_str()) {
                        walk(found, &place, value, honoured);
                    } else {
                        let message = format!("`{name}` needs Fluid's controllers, and this cluster is built without");
                        found.add(place, message, "leave it out");
                    }
                }
            }
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(i, one)| walk(found, &format!("{place}.{i}"), one, honoured));
            }
            _ => {}
        }
    }
    if let Ok(value) = serde_json::to_value(spec) {
        walk(found, "spec", &value, honoured);
    }
}

fn level(found: &mut Problems, place: &str, level: &Level) {
    let paths: Vec<&str> = level.path.split(',').map(str::trim).collect();
    let fine = paths.iter().all(|path| path.starts_with('/') && path.len() > 1);
    found.unless(fine, &format!("{place}.path"), "this is no absolute path", "write one such as /mnt/disk1");
    match (&level.quota, &level.quota_list) {
        (Some(_), Some(_)) => {
            found.add(format!("{place}.quotaList"), "both `quota` and `quotaList`", "keep one of them");
        }
        (None, None) => found.add(place, "no quota", "add `quota`, such as 2G"),
        (Some(quota), None) => {
            let fine = quota.get() >= paths.len() as u64;
            found.unless(fine, &format!("{place}.quota"), "no room for a byte", "write one such as 2G");
        }
        (None, Some(list)) => {
            let quotas: Vec<&str> = list.split(',').map(str::trim).collect();
            let place = format!("{place}.quotaList");
            let message = format!("{} quotas for {} paths", quotas.len(), paths.len());
            found.unless(quotas.len() == paths.len(), &place, &message, "write one per path");
            for error in quotas.iter().filter_map(|quota| quota.parse::<Quantity>().err()) {
                found.add(&place, error.to_string(), "write quantities such as 1Gi,2Gi");
            }
        }
    }
    let (high, low) = level.watermarks();
    let percent = |millionths: u32| f64::from(millionths) / 10_000.0;
    let message = format!("`low` is {} % and `high` is {} %", percent(low), percent(high));
    found.unless(low <= high, &format!("{place}.low"), &message, "write a `low` that is not above `high`");
}

fn name(found: &mut Problems, name: &str) {
    let help = "write lower-case letters, digits and `-`, beginning with a letter (a DNS-1035 label)";
    found.unless(api::is_dns1035(name), "metadata.name", &format!("Fluid refuses the name `{name}`"), help);
}
