//! What a new object gets from the cluster that it enters.
//!
//! Of kube-apiserver's admission plugins: DefaultStorageClass; of its registries: a Service's address, a Job's selector,
//! a Pod's first status. Differs: no priority classes, service accounts, limit ranges or quotas; the finalizers of
//! StorageObjectInUseProtection are not added, because nobody would take them away.

use serde_json::{Value, json};

use super::meta::Meta;
use super::{Selection, Store};
use crate::kube::kind::{Body, Kind};

/// The annotation of the class that claims without one get.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Addresses of services: kubeadm's `10.96.0.0/12`; `.1` is the API server's and `.10` the DNS server's.
const SERVICE_NETWORK: u32 = u32::from_be_bytes([10, 96, 0, 0]);
/// The first address that is given.
const SERVICE_FIRST: u32 = 16;

pub(super) fn on_create(store: &mut Store, kind: &Kind, meta: &mut Meta, body: &mut Body) {
    match kind.kind.as_str() {
        "Pod" => pod_status(body),
        "PersistentVolumeClaim" => default_class(store, body),
        "Service" => address(store, body),
        "Job" => job_selector(meta, body),
        _ => {}
    }
}

fn pod_status(body: &mut Body) {
    let class = qos(body.get("spec"));
    body.insert("status", json!({"phase": "Pending", "qosClass": class}));
}

/// `v1/helper/qos.GetPodQOS`, for CPU and memory.
fn qos(spec: Option<&Value>) -> &'static str {
    let lists = ["containers", "initContainers"].map(|list| spec.and_then(|spec| spec.get(list)));
    let containers: Vec<&Value> = lists.into_iter().flatten().filter_map(Value::as_array).flatten().collect();
    let amount = |container: &Value, bound: &str, resource: &str| {
        container.pointer(&format!("/resources/{bound}/{resource}")).cloned().filter(|amount| !amount.is_null())
    };
    let resources = ["cpu", "memory"];
    let any = |container: &&Value| {
        resources.iter().any(|r| amount(container, "limits", r).is_some() || amount(container, "requests", r).is_some())
    };
    let guaranteed = |container: &&Value| {
        resources.iter().all(|r| {
            let limit = amount(container, "limits", r);
            limit.is_some() && limit == amount(container, "requests", r)
        })
    };
    match () {
        () if !containers.iter().any(any) => "BestEffort",
        () if containers.iter().all(guaranteed) => "Guaranteed",
        () => "Burstable",
    }
}

/// A claim that says nothing of a class gets the default one; an empty name asks for none.
fn default_class(store: &Store, body: &mut Body) {
    let Some(classes) = store.kinds.by_kind("storage.k8s.io/v1", "StorageClass") else { return };
    if body.get("spec").is_none_or(|spec| !spec.is_object() || spec.get("storageClassName").is_some()) {
        return;
    }
    let all = Selection::default();
    let annotated = |annotations: &std::collections::BTreeMap<String, String>| {
        annotations.get(DEFAULT_CLASS).is_some_and(|value| value == "true")
    };
    let defaults = store.list(classes, &all).filter(|class| class.meta.annotations.as_ref().is_some_and(annotated));
    // Of several, the newest; then by name.
    let newest = defaults.max_by_key(|class| (class.meta.creation_timestamp.clone(), std::cmp::Reverse(&class.key)));
    if let Some(class) = newest {
        body.change("spec", |spec| spec["storageClassName"] = class.key.name.clone().into());
    }
}

/// The next address; upstream draws one at random.
fn address(store: &mut Store, body: &mut Body) {
    let Some(spec) = body.get("spec").filter(|spec| spec.is_object()) else { return };
    let external = spec.get("type").and_then(Value::as_str) == Some("ExternalName");
    let own = spec.get("clusterIP").and_then(Value::as_str).filter(|ip| !ip.is_empty()).map(str::to_owned);
    if external {
        return;
    }
    let ip = own.unwrap_or_else(|| {
        store.addresses = store.addresses.saturating_add(1);
        std::net::Ipv4Addr::from(SERVICE_NETWORK + SERVICE_FIRST + store.addresses).to_string()
    });
    body.change("spec", |spec| {
        spec["clusterIPs"] = json!([ip]);
        spec["clusterIP"] = ip.into();
        for (field, usual) in [("ipFamilies", json!(["IPv4"])), ("ipFamilyPolicy", json!("SingleStack"))] {
            if spec.get(field).is_none() {
                spec[field] = usual;
            }
        }
    });
}

/// Unless it brings its own, a Job selects the pods that carry its uid.
fn job_selector(meta: &Meta, body: &mut Body) {
    let own = |spec: &Value| !spec.is_object() || spec.get("manualSelector") == Some(&Value::Bool(true));
    if body.get("spec").is_none_or(own) {
        return;
    }
    let uid = meta.uid.clone().unwrap_or_default();
    let name = meta.name.clone().unwrap_or_default();
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    body.change("spec", |spec| {
        spec["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        for (label, value) in labels {
            spec["template"]["metadata"]["labels"][label] = json!(value);
        }
    });
}
