//! What an operation installs: the Job of a DataLoad, the pod of a DataBackup.
//!
//! Follows `charts/fluid-dataload/*` and `charts/fluid-databackup/*` of fluid-cloudnative/fluid v1.0.8. Differs: the scripts are
//! programs of the image ([`super::program`]), so there is no ConfigMap with them.

use serde_json::{Value, json};

use crate::kube::fluid::api::{DataBackup, DataLoad, Dataset};
use crate::kube::fluid::backup::{BackupLocation, Place};
use crate::kube::fluid::flavor::Flavor;
use crate::kube::fluid::images;

/// Variable with the paths to load, joined by colons.
pub const DATA_PATH: &str = "DATA_PATH";
/// Variable with the copies of each, joined by colons.
pub const PATH_REPLICAS: &str = "PATH_REPLICAS";
/// Variable: `true` if metadata are loaded first.
pub const NEED_METADATA: &str = "NEED_LOAD_METADATA";
/// Variable with the dataset's name.
pub const DATASET_NAME: &str = "DATASET_NAME";
/// Variable with the dataset's namespace.
pub const DATASET_NAMESPACE: &str = "DATASET_NAMESPACE";
/// Variable with the directory of a backup below its volume.
pub const BACKUP_PATH: &str = "BACKUP_PATH";
/// Variable with the claim of a backup, if it has one.
pub const BACKUP_PVC: &str = "BACKUP_PVC";

/// How often the pod of a DataLoad may fail: `backoffLimit` of its Job.
pub const BACK_OFF_LIMIT: i32 = 3;

/// `{name}-loader-job`: release and job.
pub fn load_job_name(name: &str) -> String {
    format!("{name}-loader-job")
}

/// `{name}-pod`.
pub fn backup_pod_name(name: &str) -> String {
    format!("{name}-pod")
}

fn variable(name: &str, value: impl Into<String>) -> Value {
    json!({ "name": name, "value": value.into() })
}

/// The Job of a DataLoad.
pub fn load_job(load: &DataLoad, dataset: &Dataset, flavor: Flavor, owner: &Value) -> Value {
    let name = load.metadata.name.clone().unwrap_or_default();
    let namespace = load.metadata.namespace.clone().unwrap_or_default();
    let cached = dataset.metadata.name.clone().unwrap_or_default();
    let spec = &load.spec;
    let mut targets: Vec<(String, String)> =
        spec.target.iter().map(|target| (target.path.clone(), target.replicas.to_string())).collect();
    if targets.is_empty() {
        targets.push(("/".into(), "1".into()));
    }
    let (paths, copies): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
    let labels = json!({ "release": format!("{name}-loader"), "role": "dataload-pod", "targetDataset": cached });
    let mut pod = json!({
        "restartPolicy": "Never",
        "containers": [{
            "name": "dataloader",
            "image": images::cache(flavor),
            "args": [images::LOAD],
            "envFrom": [{ "configMapRef": { "name": flavor.config(&cached) } }],
            "env": [
                variable(DATA_PATH, paths.join(":")),
                variable(PATH_REPLICAS, copies.join(":")),
                variable(NEED_METADATA, spec.load_metadata.to_string()),
                variable(DATASET_NAME, &*cached),
                variable(DATASET_NAMESPACE, &*namespace),
            ],
            "resources": spec.resources,
        }],
    });
    if !spec.node_selector.is_empty() {
        pod["nodeSelector"] = json!(spec.node_selector);
    }
    if !spec.tolerations.is_empty() {
        pod["tolerations"] = json!(spec.tolerations);
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": load_job_name(&name), "namespace": namespace, "ownerReferences": [owner],
            "labels": { "release": format!("{name}-loader"), "role": "dataload-job" },
        },
        "spec": {
            "backoffLimit": BACK_OFF_LIMIT, "completions": 1, "parallelism": 1,
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    })
}

/// The pod of a DataBackup, on the node of a master and with that master's address.
pub fn backup_pod(
    backup: &DataBackup,
    location: &BackupLocation,
    flavor: Flavor,
    master: (&str, &str, u16),
    owner: &Value,
) -> Value {
    let (node, address, port) = master;
    let name = backup.metadata.name.clone().unwrap_or_default();
    let namespace = backup.metadata.namespace.clone().unwrap_or_default();
    let (volume, mount) = location.volume();
    let prefix = flavor.prefix();
    let options = format!("-D{prefix}master.hostname={address} -D{prefix}master.rpc.port={port}");
    let mut environment = vec![
        variable(&format!("{}_JAVA_OPTS", flavor.word().to_uppercase()), options),
        variable(DATASET_NAMESPACE, &*namespace),
        variable(DATASET_NAME, &*backup.spec.dataset),
        variable(BACKUP_PATH, &*location.path),
    ];
    if let Place::Claim(claim) = &location.place {
        environment.push(variable(BACKUP_PVC, &**claim));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": backup_pod_name(&name), "namespace": namespace, "ownerReferences": [owner],
            "labels": { "release": format!("{name}-charts"), "role": "databackup-pod" },
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "containers": [{
                "name": "tool",
                "image": images::cache(flavor),
                "args": [images::BACKUP],
                "env": environment,
                "volumeMounts": [mount],
            }],
            "volumes": [volume],
        },
    })
}
