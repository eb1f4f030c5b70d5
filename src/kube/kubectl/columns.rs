//! The columns of `kubectl get`, for every kind.
//!
//! Follows kubernetes `pkg/printers/internalversion` for built-in kinds and the printer columns of its definition for a
//! custom one. `-o wide` shows all. Differs: volumes and claims have no VOLUMEATTRIBUTESCLASS, which documents older than
//! kubectl 1.31 do not show.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::table::{age, human};
use super::{event, pod};
use crate::kube::kind::Kind;

/// A title, whether it is for `-o wide` only, and how its cell comes out of an object.
pub(super) type Column = (&'static str, bool, fn(&Value, Timestamp) -> String);

/// The titles and the cells of one object, without its name.
pub(super) fn titles(kind: &Kind, wide: bool) -> Vec<String> {
    if kind.custom {
        let shown = kind.columns.iter().filter(|column| wide || column.priority == 0);
        let mut titles: Vec<String> = shown.map(|column| column.name.to_uppercase()).collect();
        if kind.columns.is_empty() {
            titles.push("AGE".into());
        }
        return titles;
    }
    of(kind).iter().filter(|(_, hidden, _)| wide || !hidden).map(|(title, ..)| (*title).into()).collect()
}

/// See [`titles`].
pub(super) fn cells(kind: &Kind, object: &Value, wide: bool, now: Timestamp) -> Vec<String> {
    if !kind.custom {
        return of(kind).iter().filter(|(_, hidden, _)| wide || !hidden).map(|(.., cell)| cell(object, now)).collect();
    }
    if kind.columns.is_empty() {
        return vec![created(object, now)];
    }
    let shown = kind.columns.iter().filter(|column| wide || column.priority == 0);
    shown
        .map(|column| {
            let value = at(object, &column.path.replace('.', "/"));
            match (column.type_.as_str(), value) {
                ("date", value) => age(value.and_then(Value::as_str), now),
                (_, value) => text(value),
            }
        })
        .collect()
}

pub(super) fn at<'v>(object: &'v Value, pointer: &str) -> Option<&'v Value> {
    object.pointer(pointer).filter(|value| !value.is_null())
}

/// A cell; empty for nothing.
pub(super) fn text(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn get(object: &Value, pointer: &str) -> String {
    text(at(object, pointer))
}

/// A cell; `<none>` for nothing.
pub(super) fn or_none(object: &Value, pointer: &str) -> String {
    let text = get(object, pointer);
    if text.is_empty() { "<none>".into() } else { text }
}

fn number(object: &Value, pointer: &str) -> i64 {
    at(object, pointer).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn created(object: &Value, now: Timestamp) -> String {
    age(at(object, "/metadata/creationTimestamp").and_then(Value::as_str), now)
}

pub(super) fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    at(object, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn pairs(object: &Value, pointer: &str) -> String {
    let fields = at(object, pointer).and_then(Value::as_object);
    let pairs: Vec<String> =
        fields.into_iter().flatten().map(|(key, value)| format!("{key}={}", text(Some(value)))).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

fn joined(object: &Value, pointer: &str, field: &str) -> String {
    list(object, pointer).iter().map(|item| text(item.get(field))).collect::<Vec<_>>().join(",")
}

const CONTAINERS: Column = ("CONTAINERS", true, |o, _| joined(o, "/spec/template/spec/containers", "name"));
const IMAGES: Column = ("IMAGES", true, |o, _| joined(o, "/spec/template/spec/containers", "image"));
const SELECTOR: Column = ("SELECTOR", true, |o, _| pairs(o, "/spec/selector/matchLabels"));
const AGE: Column = ("AGE", false, created);

fn of(kind: &Kind) -> &'static [Column] {
    match kind.kind.as_str() {
        "Pod" => pod::COLUMNS,
        "Node" => NODE,
        "Event" => event::COLUMNS,
        "Namespace" => &[("STATUS", false, |o, _| get(o, "/status/phase")), AGE],
        "Deployment" => &[
            ("READY", false, |o, _| format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas"))),
            ("UP-TO-DATE", false, |o, _| number(o, "/status/updatedReplicas").to_string()),
            ("AVAILABLE", false, |o, _| number(o, "/status/availableReplicas").to_string()),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "ReplicaSet" => &[
            ("DESIRED", false, |o, _| number(o, "/spec/replicas").to_string()),
            ("CURRENT", false, |o, _| number(o, "/status/replicas").to_string()),
            ("READY", false, |o, _| number(o, "/status/readyReplicas").to_string()),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        "StatefulSet" => &[
            ("READY", false, |o, _| format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas"))),
            AGE,
            CONTAINERS,
            IMAGES,
        ],
        "DaemonSet" => DAEMON_SET,
        "Job" => JOB,
        "Service" => SERVICE,
        "PersistentVolume" => VOLUME,
        "PersistentVolumeClaim" => CLAIM,
        "StorageClass" => CLASS,
        "VolumeAttachment" => &[
            ("ATTACHER", false, |o, _| get(o, "/spec/attacher")),
            ("PV", false, |o, _| get(o, "/spec/source/persistentVolumeName")),
            ("NODE", false, |o, _| get(o, "/spec/nodeName")),
            ("ATTACHED", false, |o, _| at(o, "/status/attached").map_or("false".into(), |v| text(Some(v)))),
            AGE,
        ],
        "CSINode" => &[("DRIVERS", false, |o, _| list(o, "/spec/drivers").len().to_string()), AGE],
        "Lease" => &[("HOLDER", false, |o, _| get(o, "/spec/holderIdentity")), AGE],
        "ConfigMap" => &[("DATA", false, |o, _| count(o, "/data")), AGE],
        "Secret" => &[("TYPE", false, |o, _| get(o, "/type")), ("DATA", false, |o, _| count(o, "/data")), AGE],
        "Endpoints" => &[("ENDPOINTS", false, |o, _| endpoints(o)), AGE],
        "ControllerRevision" => {
            &[("CONTROLLER", false, |o, _| controller(o)), ("REVISION", false, |o, _| get(o, "/revision")), AGE]
        }
        _ => &[AGE],
    }
}

fn count(object: &Value, pointer: &str) -> String {
    at(object, pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len).to_string()
}

const NODE: &[Column] = &[
    ("STATUS", false, |o, _| node_status(o)),
    ("ROLES", false, |o, _| roles(o)),
    AGE,
    ("VERSION", false, |o, _| get(o, "/status/nodeInfo/kubeletVersion")),
    ("INTERNAL-IP", true, |o, _| address(o, "InternalIP")),
    ("EXTERNAL-IP", true, |o, _| address(o, "ExternalIP")),
    ("OS-IMAGE", true, |o, _| unknown(o, "/status/nodeInfo/osImage")),
    ("KERNEL-VERSION", true, |o, _| unknown(o, "/status/nodeInfo/kernelVersion")),
    ("CONTAINER-RUNTIME", true, |o, _| unknown(o, "/status/nodeInfo/containerRuntimeVersion")),
];

fn unknown(object: &Value, pointer: &str) -> String {
    let text = get(object, pointer);
    if text.is_empty() { "<unknown>".into() } else { text }
}

/// `Ready`, `NotReady` or `Unknown`, and whether it takes pods.
pub(super) fn node_status(node: &Value) -> String {
    let ready =
        list(node, "/status/conditions").iter().find(|c| c.get("type").and_then(Value::as_str) == Some("Ready"));
    let mut status = match ready.and_then(|c| c.get("status")).and_then(Value::as_str) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if at(node, "/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let labels = at(node, "/metadata/labels").and_then(Value::as_object);
    let roles: Vec<&str> =
        labels.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

fn address(node: &Value, type_: &str) -> String {
    let found = list(node, "/status/addresses").iter().find(|a| a.get("type").and_then(Value::as_str) == Some(type_));
    found.map_or("<none>".into(), |address| text(address.get("address")))
}

const DAEMON_SET: &[Column] = &[
    ("DESIRED", false, |o, _| number(o, "/status/desiredNumberScheduled").to_string()),
    ("CURRENT", false, |o, _| number(o, "/status/currentNumberScheduled").to_string()),
    ("READY", false, |o, _| number(o, "/status/numberReady").to_string()),
    ("UP-TO-DATE", false, |o, _| number(o, "/status/updatedNumberScheduled").to_string()),
    ("AVAILABLE", false, |o, _| number(o, "/status/numberAvailable").to_string()),
    ("NODE SELECTOR", false, |o, _| pairs(o, "/spec/template/spec/nodeSelector")),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const JOB: &[Column] = &[
    ("STATUS", false, |o, _| job_status(o)),
    ("COMPLETIONS", false, |o, _| {
        let wanted = at(o, "/spec/completions").and_then(Value::as_i64).unwrap_or(1);
        format!("{}/{wanted}", number(o, "/status/succeeded"))
    }),
    ("DURATION", false, |o, now| {
        let time = |pointer: &str| at(o, pointer).and_then(Value::as_str).and_then(|t| t.parse::<Timestamp>().ok());
        let end = time("/status/completionTime").unwrap_or(now);
        time("/status/startTime").map_or(String::new(), |start| human(end.as_second() - start.as_second()))
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn job_status(job: &Value) -> String {
    let holds = |type_: &str| {
        list(job, "/status/conditions").iter().any(|c| {
            c.get("type").and_then(Value::as_str) == Some(type_)
                && c.get("status").and_then(Value::as_str) == Some("True")
        })
    };
    let states = ["Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"];
    match states.into_iter().find(|state| holds(state)) {
        _ if at(job, "/metadata/deletionTimestamp").is_some() => "Terminating".into(),
        Some(state) => state.into(),
        None => "Running".into(),
    }
}

const SERVICE: &[Column] = &[
    ("TYPE", false, |o, _| get(o, "/spec/type")),
    ("CLUSTER-IP", false, |o, _| or_none(o, "/spec/clusterIP")),
    ("EXTERNAL-IP", false, |_, _| "<none>".into()),
    ("PORT(S)", false, |o, _| {
        let port = |port: &Value| {
            let node = port.get("nodePort").map_or(String::new(), |node| format!(":{node}"));
            format!("{}{node}/{}", text(port.get("port")), text(port.get("protocol")))
        };
        let ports: Vec<String> = list(o, "/spec/ports").iter().map(port).collect();
        if ports.is_empty() { "<none>".into() } else { ports.join(",") }
    }),
    AGE,
    ("SELECTOR", true, |o, _| pairs(o, "/spec/selector")),
];

/// Upstream's short forms.
fn access_modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    list(object, pointer).iter().map(short).collect::<Vec<_>>().join(",")
}

const VOLUME: &[Column] = &[
    ("CAPACITY", false, |o, _| get(o, "/spec/capacity/storage")),
    ("ACCESS MODES", false, |o, _| access_modes(o, "/spec/accessModes")),
    ("RECLAIM POLICY", false, |o, _| get(o, "/spec/persistentVolumeReclaimPolicy")),
    ("STATUS", false, |o, _| terminating_or(o, "/status/phase")),
    ("CLAIM", false, |o, _| {
        let (namespace, name) = (get(o, "/spec/claimRef/namespace"), get(o, "/spec/claimRef/name"));
        if name.is_empty() { name } else { format!("{namespace}/{name}") }
    }),
    ("STORAGECLASS", false, |o, _| get(o, "/spec/storageClassName")),
    ("REASON", false, |o, _| get(o, "/status/reason")),
    AGE,
    ("VOLUMEMODE", true, |o, _| get(o, "/spec/volumeMode")),
];

const CLAIM: &[Column] = &[
    ("STATUS", false, |o, _| terminating_or(o, "/status/phase")),
    ("VOLUME", false, |o, _| get(o, "/spec/volumeName")),
    ("CAPACITY", false, |o, _| get(o, "/status/capacity/storage")),
    ("ACCESS MODES", false, |o, _| access_modes(o, "/status/accessModes")),
    ("STORAGECLASS", false, |o, _| get(o, "/spec/storageClassName")),
    AGE,
    ("VOLUMEMODE", true, |o, _| get(o, "/spec/volumeMode")),
];

fn terminating_or(object: &Value, pointer: &str) -> String {
    if at(object, "/metadata/deletionTimestamp").is_some() { "Terminating".into() } else { get(object, pointer) }
}

const CLASS: &[Column] = &[
    ("PROVISIONER", false, |o, _| get(o, "/provisioner")),
    ("RECLAIMPOLICY", false, |o, _| get(o, "/reclaimPolicy")),
    ("VOLUMEBINDINGMODE", false, |o, _| get(o, "/volumeBindingMode")),
    ("ALLOWVOLUMEEXPANSION", false, |o, _| at(o, "/allowVolumeExpansion").map_or("false".into(), |v| text(Some(v)))),
    AGE,
];

/// At most three, as upstream.
fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        for port in list(subset, "/ports") {
            for address in list(subset, "/addresses") {
                all.push(format!("{}:{}", text(address.get("ip")), text(port.get("port"))));
            }
        }
    }
    let more = all.len().saturating_sub(3);
    all.truncate(3);
    match (all.is_empty(), more) {
        (true, _) => "<none>".into(),
        (false, 0) => all.join(","),
        (false, more) => format!("{} + {more} more...", all.join(",")),
    }
}

fn controller(object: &Value) -> String {
    let owner =
        list(object, "/metadata/ownerReferences").iter().find(|o| o.get("controller") == Some(&Value::Bool(true)));
    owner.map_or("<none>".into(), |owner| {
        let group =
            text(owner.get("apiVersion")).split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
        format!("{}{group}/{}", text(owner.get("kind")).to_lowercase(), text(owner.get("name")))
    })
}

pub(super) fn labels(object: &Value) -> String {
    pairs(object, "/metadata/labels")
}
