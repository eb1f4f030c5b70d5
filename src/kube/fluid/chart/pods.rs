//! What the pods of all roles have in common.

use serde_json::{Value, json};

use super::blueprint::{Blueprint, Part};
use crate::kube::fluid::{images, labels};

/// Labels of a role's pods; [`selector`] is the part of them that never changes. Only workers tell their dataset: they keep
/// away from pods that do, and the Alluxio document shows workers beside masters and fuses.
pub fn labels_of(b: &Blueprint, part: &str) -> Value {
    let mut all = selector(b, part);
    if part == "worker" {
        all[labels::DATASET] = b.dataset_label().into();
        all[labels::PLACEMENT] = b.placement.to_string().into();
    }
    all
}

/// Labels by which a set finds its pods.
pub fn selector(b: &Blueprint, part: &str) -> Value {
    json!({ "app": b.flavor.word(), "release": b.name, "role": b.flavor.role(part) })
}

/// Metadata of a set, a service or a ConfigMap of the release.
pub fn metadata(b: &Blueprint, name: &str, labels: Value) -> Value {
    json!({ "name": name, "namespace": b.namespace, "labels": labels })
}

/// A pod template.
pub fn template(b: &Blueprint, part: &str, asks: &Part, containers: Vec<Value>, volumes: Vec<Value>) -> Value {
    let dns = if asks.host_network { "ClusterFirstWithHostNet" } else { "ClusterFirst" };
    let mut spec = json!({
        "containers": containers,
        "volumes": volumes,
        "hostNetwork": asks.host_network,
        "dnsPolicy": dns,
    });
    if !asks.node_selector.is_empty() {
        spec["nodeSelector"] = json!(asks.node_selector);
    }
    if !asks.tolerations.is_empty() {
        spec["tolerations"] = json!(asks.tolerations);
    }
    json!({ "metadata": { "labels": labels_of(b, part) }, "spec": spec })
}

/// A container of the cache's image. `ports` are those that it listens on, by name; on the node's network they are the
/// node's, so that the scheduler keeps two of them apart.
pub fn container(b: &Blueprint, asks: &Part, name: &str, args: &[&str], ports: &[(&str, u16)]) -> Value {
    let port = |(name, port): &(&str, u16)| {
        let mut one = json!({ "name": name, "containerPort": port });
        if asks.host_network {
            one["hostPort"] = (*port).into();
        }
        one
    };
    let mut container = json!({
        "name": name,
        "image": images::cache(b.flavor),
        "args": args,
        "envFrom": [{ "configMapRef": { "name": b.flavor.config(&b.name) } }],
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
    });
    let resources = json!(asks.resources);
    if resources != json!({}) {
        container["resources"] = resources;
    }
    container
}

/// The user's volumes of the runtime that a role mounts, with their mounts.
pub fn own_volumes(b: &Blueprint, asks: &Part) -> (Vec<Value>, Vec<Value>) {
    let mounted = |name: &str| asks.volume_mounts.iter().any(|mount| mount.name == name);
    let volumes = b.volumes.iter().filter(|volume| mounted(&volume.name)).map(|volume| json!(volume)).collect();
    (volumes, asks.volume_mounts.iter().map(|mount| json!(mount)).collect())
}

/// An environment variable that takes the value of a field of the pod.
pub fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

/// The directories of the tiers as volumes and mounts. A level of memory on an `emptyDir` lives in memory.
pub fn tiers(b: &Blueprint) -> (Vec<Value>, Vec<Value>) {
    use crate::kube::fluid::api::{MediumType, VolumeType};
    let dirs = b.tiers.levels.iter().flat_map(|level| {
        level.dirs().into_iter().map(move |(path, bytes)| {
            let source = match (level.volume_type, level.mediumtype) {
                (VolumeType::HostPath, _) => {
                    ("hostPath", json!({ "path": tier_dir(b, &path), "type": "DirectoryOrCreate" }))
                }
                (VolumeType::EmptyDir, MediumType::Mem) => {
                    ("emptyDir", json!({ "medium": "Memory", "sizeLimit": bytes.to_string() }))
                }
                (VolumeType::EmptyDir, _) => ("emptyDir", json!({ "sizeLimit": bytes.to_string() })),
            };
            (path, source)
        })
    });
    let both = dirs.enumerate().map(|(i, (path, (kind, source)))| {
        let name = format!("tier-{i}");
        let mut volume = json!({ "name": name });
        volume[kind] = source;
        (volume, json!({ "name": name, "mountPath": tier_dir(b, &path) }))
    });
    both.unzip()
}

/// Where a tier's directory is, on the node as in the pod: Fluid adds namespace and name, so that datasets do not meet.
pub fn tier_dir(b: &Blueprint, path: &str) -> String {
    format!("{}/{}/{}", path.trim_end_matches('/'), b.namespace, b.name)
}
