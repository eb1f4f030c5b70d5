//! The masters: a StatefulSet and a headless service for each of its pods.
//!
//! The journal is on an `emptyDir` of 30Gi, which upstream has written into its code: a container that restarts keeps it,
//! a pod that is replaced begins with nothing, under the same name.

use serde_json::{Value, json};

use super::blueprint::Blueprint;
use super::pods::{self, container, field, metadata, own_volumes, template};
use super::properties::JOURNAL;
use crate::kube::fluid::flavor::Flavor;

/// Variable with the file that a master begins from if its journal is empty.
pub const JOURNAL_BACKUP: &str = "JOURNAL_BACKUP";

/// One headless service for each master, named like its pod. Pods that are not ready are not published.
pub fn services(b: &Blueprint) -> Vec<Value> {
    let service = |pod: String| {
        let ports = [("rpc", b.ports.master_rpc), ("web", b.ports.master_web), ("embedded", b.ports.master_embedded)];
        let ports: Vec<_> = ports.iter().map(|(name, port)| json!({ "name": name, "port": port })).collect();
        let mut chosen = pods::selector(b, "master");
        chosen["statefulset.kubernetes.io/pod-name"] = pod.clone().into();
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(b, &pod, pods::selector(b, "master")),
            "spec": { "clusterIP": "None", "ports": ports, "selector": chosen },
        })
    };
    b.master_pods().into_iter().map(service).collect()
}

/// The StatefulSet.
pub fn set(b: &Blueprint) -> Value {
    let name = b.flavor.master(&b.name);
    let (mut volumes, mut mounts) = own_volumes(b, &b.master);
    let ports = [("rpc", b.ports.master_rpc), ("web", b.ports.master_web), ("embedded", b.ports.master_embedded)];
    let containers = match b.flavor {
        Flavor::Alluxio | Flavor::GooseFs => {
            volumes.push(json!({ "name": "journal", "emptyDir": { "sizeLimit": "30Gi" } }));
            mounts.push(json!({ "name": "journal", "mountPath": JOURNAL }));
            if let Some(restore) = &b.restore {
                let (volume, mount) = restore.location.volume();
                volumes.push(volume);
                mounts.push(mount);
            }
            alluxio(b, &ports, &mounts)
        }
        Flavor::Jindo => {
            let (tiers, places) = pods::tiers(b);
            volumes.extend(tiers);
            mounts.extend(places);
            volumes.push(json!({ "name": "config", "configMap": { "name": b.flavor.config(&b.name) } }));
            mounts.push(json!({ "name": "config", "mountPath": "/etc/jindofs" }));
            vec![with(container(b, &b.master, "jindofs-master", &["namespace"], &ports), &mounts, vec![])]
        }
    };
    let mut pod = template(b, "master", &b.master, containers, volumes);
    if b.flavor == Flavor::Jindo {
        pod["spec"]["affinity"] = apart(b);
    }
    if let Some(node) = b.restore.as_ref().and_then(|restore| restore.node.as_ref()) {
        pod["spec"]["nodeSelector"]["kubernetes.io/hostname"] = node.as_str().into();
    }
    let mut spec = json!({
        "replicas": b.masters,
        "serviceName": if b.flavor == Flavor::Jindo { "jindofs-master" } else { name.as_str() },
        "selector": { "matchLabels": pods::selector(b, "master") },
        "updateStrategy": { "type": "OnDelete" },
        "template": pod,
    });
    if b.profile.parallel_masters && b.flavor != Flavor::Jindo {
        spec["podManagementPolicy"] = "Parallel".into();
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(b, &name, pods::labels_of(b, "master")),
        "spec": spec,
    })
}

/// Alluxio's pod runs the job master beside the master; the GooseFS document shows one container.
fn alluxio(b: &Blueprint, ports: &[(&str, u16)], mounts: &[Value]) -> Vec<Value> {
    let word = b.flavor.word();
    // In a group a master is known by its pod's name, which outlives the pod; alone by its address.
    let host = field(
        &format!("{}_MASTER_HOSTNAME", word.to_uppercase()),
        if b.embedded() { "metadata.name" } else { "status.podIP" },
    );
    let master = container(b, &b.master, &format!("{word}-master"), &["master-only", "--no-format"], ports);
    let mut environment = vec![host.clone()];
    if let Some(restore) = &b.restore {
        let file = restore.location.metadata_file(&b.namespace, &b.name);
        environment.push(json!({ "name": JOURNAL_BACKUP, "value": file }));
    }
    let mut all = vec![with(master, mounts, environment)];
    if b.flavor == Flavor::Alluxio {
        let jobs = container(b, &b.master, "alluxio-job-master", &["job-master"], &[]);
        all.push(with(jobs, &[], vec![host]));
    }
    all
}

fn with(mut container: Value, mounts: &[Value], env: Vec<Value>) -> Value {
    if !mounts.is_empty() {
        container["volumeMounts"] = mounts.into();
    }
    if !env.is_empty() {
        container["env"] = env.into();
    }
    container
}

/// Masters rather on different nodes (PR #4453).
fn apart(b: &Blueprint) -> Value {
    json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": { "matchLabels": pods::selector(b, "master") },
            "topologyKey": "kubernetes.io/hostname",
        },
    }] } })
}
