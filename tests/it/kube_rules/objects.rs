//! Objects from short JSON, and clusters of them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stormglass::base::Seed;
use stormglass::kube::scheduler::SchedulerConfig;
use stormglass::kube::scheduler::cache::Cache;
use stormglass::kube::scheduler::message::FitError;
use stormglass::kube::scheduler::place::{Nominated, Placement, View, place};
use stormglass::kube::scheduler::pod::PodInfo;

/// An object from its JSON.
pub fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Lays `more` over `base`: objects are merged, everything else is replaced.
pub fn over(mut base: Value, more: Value) -> Value {
    if let (Value::Object(base), Value::Object(more)) = (&mut base, &more) {
        for (key, value) in more {
            let old = base.remove(key).unwrap_or_default();
            base.insert(key.clone(), over(old, value.clone()));
        }
        return Value::Object(std::mem::take(base));
    }
    more
}

/// A node of 4 cores, 8 GiB and 110 pods with its host name as a label; `more` is laid over it.
pub fn node(name: &str, more: Value) -> Arc<Node> {
    let plain = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" } },
    });
    Arc::new(of(over(plain, more)))
}

/// A node of a zone.
pub fn zonal(name: &str, zone: &str) -> Arc<Node> {
    node(name, json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": zone } } }))
}

/// A pod of one container that asks for nothing; `spec` is laid over its specification.
pub fn pod(name: &str, spec: Value) -> Arc<Pod> {
    labelled(name, json!({}), spec)
}

/// The same with labels.
pub fn labelled(name: &str, labels: Value, spec: Value) -> Arc<Pod> {
    let plain = json!({
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": labels },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    Arc::new(of(over(plain, json!({ "spec": spec }))))
}

/// The part of a specification that asks for CPU and memory.
pub fn asks(cpu: &str, memory: &str) -> Value {
    let requests = json!({ "cpu": cpu, "memory": memory });
    json!({ "containers": [{ "name": "c", "image": "i", "resources": { "requests": requests } }] })
}

/// The part that mounts claims.
pub fn mounts(claims: &[&str]) -> Value {
    let volume = |claim: &&str| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } });
    json!({ "volumes": claims.iter().map(volume).collect::<Vec<_>>() })
}

/// A claim of 10 GiB, `ReadWriteOnce`.
pub fn claim(name: &str, class: &str, more: Value) -> Arc<PersistentVolumeClaim> {
    let plain = json!({
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}") },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": { "requests": { "storage": "10Gi" } },
        },
        "status": { "phase": "Pending" },
    });
    Arc::new(of(over(plain, more)))
}

/// A claim that is bound to a volume.
pub fn bound(name: &str, volume: &str) -> Arc<PersistentVolumeClaim> {
    let annotations = json!({ "pv.kubernetes.io/bind-completed": "yes" });
    let more = json!({ "metadata": { "annotations": annotations }, "spec": { "volumeName": volume },
        "status": { "phase": "Bound" } });
    claim(name, "disk", more)
}

/// An available volume of 10 GiB, `ReadWriteOnce`, for nodes of a zone.
pub fn volume(name: &str, class: &str, zone: &str, more: Value) -> Arc<PersistentVolume> {
    let term = json!({ "matchExpressions": [
        { "key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone] }] });
    let plain = json!({
        "metadata": { "name": name },
        "spec": {
            "capacity": { "storage": "10Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "csi": { "driver": "disk.csi", "volumeHandle": format!("d-{name}") },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [term] } },
        },
        "status": { "phase": "Available" },
    });
    Arc::new(of(over(plain, more)))
}

/// A class that provisions, immediately or for the first consumer.
pub fn class(name: &str, wait: bool) -> Arc<StorageClass> {
    let mode = if wait { "WaitForFirstConsumer" } else { "Immediate" };
    Arc::new(of(json!({ "metadata": { "name": name }, "provisioner": "disk.csi", "volumeBindingMode": mode })))
}

/// A cluster of these nodes.
pub fn cluster(nodes: impl IntoIterator<Item = Arc<Node>>) -> Cache {
    let mut cache = Cache::default();
    nodes.into_iter().for_each(|node| drop(cache.node(node)));
    cache
}

/// Puts a pod on a node.
pub fn put(cache: &mut Cache, pod: &Arc<Pod>, node: &str) {
    let mut placed = (**pod).clone();
    placed.spec.as_mut().unwrap().node_name = Some(node.into());
    cache.pod(&Arc::new(placed));
}

/// Adds claims, volumes and classes.
pub fn storage(
    cache: &mut Cache,
    claims: impl IntoIterator<Item = Arc<PersistentVolumeClaim>>,
    volumes: impl IntoIterator<Item = Arc<PersistentVolume>>,
    classes: impl IntoIterator<Item = Arc<StorageClass>>,
) {
    let catalog = cache.catalog_mut();
    for claim in claims {
        catalog.claims.insert(("default".into(), claim.metadata.name.clone().unwrap()), claim);
    }
    catalog.volumes.extend(volumes.into_iter().map(|volume| (volume.metadata.name.clone().unwrap(), volume)));
    catalog.classes.extend(classes.into_iter().map(|class| (class.metadata.name.clone().unwrap(), class)));
}

/// One scheduling cycle with the default numbers.
pub fn schedule(cache: &Cache, pod: &Arc<Pod>) -> Result<Placement, FitError> {
    schedule_seeded(cache, pod, 1)
}

/// The same with a seed for the ties.
pub fn schedule_seeded(cache: &Cache, pod: &Arc<Pod>, seed: u64) -> Result<Placement, FitError> {
    let (config, nominated) = (SchedulerConfig::default(), Nominated::new());
    let view = View { snapshot: cache.snapshot(), nominated: &nominated, config: &config };
    place(view, &PodInfo::new(pod.clone()), &mut 0, &mut Seed(seed).stream("scheduler", 0))
}
