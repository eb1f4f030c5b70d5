//! The volume that applications mount, and its claim.

use serde_json::{Value, json};

use super::blueprint::Blueprint;
use super::pods::metadata;
use crate::kube::fluid::api::CleanPolicy;
use crate::kube::fluid::labels;

/// Name of Fluid's CSI driver.
pub const DRIVER: &str = "fuse.csi.fluid.io";

/// The StorageClass of volume and claim: nobody provisions it.
const STORAGE_CLASS: &str = "fluid";

/// The volume; its claim is set before there is one, so that no other takes it.
pub fn persistent_volume(b: &Blueprint) -> Value {
    let fuse = labels::fuse(&b.namespace, &b.name, &b.dataset_uid);
    let clean = match b.clean_policy {
        CleanPolicy::OnRuntimeDeleted => "OnRuntimeDeleted",
        CleanPolicy::OnDemand => "OnDemand",
    };
    let common = labels::common(&b.namespace, &b.name, &b.dataset_uid);
    let mut volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": b.profile.volume(&b.namespace, &b.name), "labels": {} },
        "spec": {
            "accessModes": b.access_modes,
            "capacity": { "storage": b.profile.volume_capacity },
            "storageClassName": STORAGE_CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": { "namespace": b.namespace, "name": b.name },
            "csi": {
                "driver": DRIVER,
                "volumeHandle": b.profile.volume(&b.namespace, &b.name),
                "volumeAttributes": {
                    "fluid_path": b.flavor.mount_point(&b.namespace, &b.name),
                    "mount_type": b.flavor.mount_type(),
                    "runtime_namespace": b.namespace,
                    "runtime_name": b.name,
                    "node_label": fuse,
                    "clean_policy": clean,
                },
            },
        },
    });
    volume["metadata"]["labels"][common] = "true".into();
    volume
}

/// The claim.
pub fn claim(b: &Blueprint) -> Value {
    let common = labels::common(&b.namespace, &b.name, &b.dataset_uid);
    let mut marks = json!({});
    marks[common.as_str()] = "true".into();
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(b, &b.name, marks.clone()),
        "spec": {
            "accessModes": b.access_modes,
            "resources": { "requests": { "storage": b.profile.volume_capacity } },
            "storageClassName": STORAGE_CLASS,
            "volumeName": b.profile.volume(&b.namespace, &b.name),
        },
    })
}
