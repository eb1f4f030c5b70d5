//! The workers: a StatefulSet that the controller scales up when the masters are ready, or upstream's older DaemonSet.

use serde_json::{Value, json};

use super::blueprint::Blueprint;
use super::pods::{self, container, field, metadata, own_volumes, template};
use crate::kube::fluid::api::Placement;
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::labels;

/// The StatefulSet, with no replicas.
pub fn stateful_set(b: &Blueprint) -> Value {
    let name = b.flavor.worker(&b.name);
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(b, &name, pods::labels_of(b, "worker")),
        "spec": {
            "replicas": 0,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": pods::selector(b, "worker") },
            "updateStrategy": { "type": "OnDelete" },
            "template": pod(b),
        },
    })
}

/// The DaemonSet, on the nodes that the controller labels.
pub fn daemon_set(b: &Blueprint) -> Value {
    let name = b.flavor.worker(&b.name);
    let mut pod = pod(b);
    pod["spec"]["nodeSelector"][labels::runtime(b.flavor, &b.namespace, &b.name, &b.dataset_uid)] = "true".into();
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(b, &name, pods::labels_of(b, "worker")),
        "spec": {
            "selector": { "matchLabels": pods::selector(b, "worker") },
            "updateStrategy": { "type": "OnDelete" },
            "template": pod,
        },
    })
}

fn pod(b: &Blueprint) -> Value {
    let (mut volumes, mut mounts) = own_volumes(b, &b.worker);
    let (tiers, places) = pods::tiers(b);
    volumes.extend(tiers);
    mounts.extend(places);
    let ports = [("rpc", b.ports.worker_rpc), ("web", b.ports.worker_web)];
    let word = b.flavor.word();
    let mut containers = match b.flavor {
        Flavor::Alluxio | Flavor::GooseFs => {
            let mut worker =
                container(b, &b.worker, &format!("{word}-worker"), &["worker-only", "--no-format"], &ports);
            worker["env"] = json!([field(&format!("{}_WORKER_HOSTNAME", word.to_uppercase()), "status.hostIP")]);
            vec![worker]
        }
        Flavor::Jindo => {
            volumes.push(json!({ "name": "config", "configMap": { "name": b.flavor.config(&b.name) } }));
            mounts.push(json!({ "name": "config", "mountPath": "/etc/jindofs" }));
            vec![container(b, &b.worker, "jindofs-worker", &["storage"], &ports)]
        }
    };
    containers[0]["volumeMounts"] = mounts.into();
    if b.flavor == Flavor::Alluxio {
        containers.push(container(b, &b.worker, "alluxio-job-worker", &["job-worker"], &[]));
    }
    let mut pod = template(b, "worker", &b.worker, containers, volumes);
    pod["spec"]["affinity"] = affinity(b);
    pod
}

/// At most one worker of any dataset a node, or workers of several where all of them share; rather near to where the
/// dataset is mounted.
fn affinity(b: &Blueprint) -> Value {
    let host = "kubernetes.io/hostname";
    let any = json!({
        "labelSelector": { "matchExpressions": [{ "key": labels::DATASET, "operator": "Exists" }] },
        "topologyKey": host,
    });
    let apart = match b.placement {
        Placement::Exclusive => json!({ "requiredDuringSchedulingIgnoredDuringExecution": [any] }),
        Placement::Shared => json!({
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 50, "podAffinityTerm": any }],
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "labelSelector": { "matchExpressions": [
                    { "key": labels::PLACEMENT, "operator": "In", "values": [Placement::Exclusive.to_string()] },
                ] },
                "topologyKey": host,
            }],
        }),
    };
    let mounted = labels::fuse(&b.namespace, &b.name, &b.dataset_uid);
    let mut near = json!({ "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "preference": { "matchExpressions": [{ "key": mounted, "operator": "In", "values": ["true"] }] },
    }] });
    if let Some(required) = &b.node_affinity {
        near["requiredDuringSchedulingIgnoredDuringExecution"] = json!(required);
    }
    json!({ "podAntiAffinity": apart, "nodeAffinity": near })
}
