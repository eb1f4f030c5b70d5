//! Descriptions of nodes, claims, volumes, StatefulSets, Secrets, and of any other kind field by field.

use serde_json::Value;

use super::{Page, pairs};
use crate::kube::kubectl::columns::{at, list, node_status, or_none, text};
use crate::kube::kubectl::target::{name_of, namespace_of};

fn get(object: &Value, pointer: &str) -> String {
    text(at(object, pointer))
}

/// Name, namespace, labels, annotations.
pub(super) fn head(page: &mut Page, object: &Value) {
    page.row(0, "Name:", name_of(object));
    if !namespace_of(object).is_empty() {
        page.row(0, "Namespace:", namespace_of(object));
    }
}

pub(super) fn marks(page: &mut Page, object: &Value) {
    page.rows(0, "Labels:", &pairs(object, "/metadata/labels", "="));
    page.rows(0, "Annotations:", &pairs(object, "/metadata/annotations", ": "));
}

pub(super) fn node(page: &mut Page, node: &Value, pods: &[Value]) {
    head(page, node);
    marks(page, node);
    page.row(0, "CreationTimestamp:", get(node, "/metadata/creationTimestamp"));
    let taint = |taint: &Value| {
        let (key, value, effect) = (text(taint.get("key")), text(taint.get("value")), text(taint.get("effect")));
        if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
    };
    page.rows(0, "Taints:", &list(node, "/spec/taints").iter().map(taint).collect::<Vec<_>>());
    page.row(0, "Unschedulable:", node_status(node).contains("SchedulingDisabled").to_string());
    page.row(0, "Conditions:", "");
    let titles = ["Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"];
    let mut rows = vec![titles.map(str::to_owned).to_vec(), titles.map(|title| "-".repeat(title.len())).to_vec()];
    let fields = ["type", "status", "lastHeartbeatTime", "lastTransitionTime", "reason", "message"];
    rows.extend(list(node, "/status/conditions").iter().map(|c| fields.map(|field| text(c.get(field))).to_vec()));
    page.table(1, &rows);
    page.row(0, "Addresses:", "");
    for address in list(node, "/status/addresses") {
        page.row(1, &format!("{}:", text(address.get("type"))), text(address.get("address")));
    }
    for (title, pointer) in [("Capacity:", "/status/capacity"), ("Allocatable:", "/status/allocatable")] {
        page.row(0, title, "");
        for (name, amount) in at(node, pointer).and_then(Value::as_object).into_iter().flatten() {
            page.row(1, &format!("{name}:"), text(Some(amount)));
        }
    }
    page.row(0, "System Info:", "");
    for (title, field) in [
        ("OS Image:", "osImage"),
        ("Operating System:", "operatingSystem"),
        ("Architecture:", "architecture"),
        ("Container Runtime Version:", "containerRuntimeVersion"),
        ("Kubelet Version:", "kubeletVersion"),
    ] {
        page.row(1, title, get(node, &format!("/status/nodeInfo/{field}")));
    }
    page.row(0, "Non-terminated Pods:", format!("({} in total)", pods.len()));
    let mut rows = vec![["Namespace", "Name"].map(str::to_owned).to_vec()];
    rows.push(rows[0].iter().map(|title| "-".repeat(title.len())).collect());
    rows.extend(pods.iter().map(|pod| vec![namespace_of(pod).to_owned(), name_of(pod).to_owned()]));
    page.table(1, &rows);
}

/// Upstream's short forms.
fn access_modes(object: &Value, pointer: &str) -> String {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        _ => "RWOP",
    };
    list(object, pointer).iter().map(short).collect::<Vec<_>>().join(",")
}

fn phase(object: &Value) -> String {
    match at(object, "/metadata/deletionTimestamp") {
        Some(since) => format!("Terminating (since {})", text(Some(since))),
        None => get(object, "/status/phase"),
    }
}

pub(super) fn claim(page: &mut Page, claim: &Value, users: &[String]) {
    head(page, claim);
    page.row(0, "StorageClass:", get(claim, "/spec/storageClassName"));
    page.row(0, "Status:", phase(claim));
    page.row(0, "Volume:", get(claim, "/spec/volumeName"));
    marks(page, claim);
    page.row(0, "Finalizers:", finalizers(claim));
    page.row(0, "Capacity:", get(claim, "/status/capacity/storage"));
    page.row(0, "Access Modes:", access_modes(claim, "/status/accessModes"));
    page.row(0, "VolumeMode:", get(claim, "/spec/volumeMode"));
    page.rows(0, "Used By:", users);
}

fn finalizers(object: &Value) -> String {
    let all: Vec<String> = list(object, "/metadata/finalizers").iter().map(|f| text(Some(f))).collect();
    format!("[{}]", all.join(" "))
}

pub(super) fn volume(page: &mut Page, volume: &Value) {
    head(page, volume);
    marks(page, volume);
    page.row(0, "Finalizers:", finalizers(volume));
    page.row(0, "StorageClass:", get(volume, "/spec/storageClassName"));
    page.row(0, "Status:", phase(volume));
    let (namespace, name) = (get(volume, "/spec/claimRef/namespace"), get(volume, "/spec/claimRef/name"));
    page.row(0, "Claim:", if name.is_empty() { name } else { format!("{namespace}/{name}") });
    page.row(0, "Reclaim Policy:", get(volume, "/spec/persistentVolumeReclaimPolicy"));
    page.row(0, "Access Modes:", access_modes(volume, "/spec/accessModes"));
    page.row(0, "VolumeMode:", get(volume, "/spec/volumeMode"));
    page.row(0, "Capacity:", get(volume, "/spec/capacity/storage"));
    let terms = list(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");
    if terms.is_empty() {
        page.row(0, "Node Affinity:", "<none>");
    } else {
        page.row(0, "Node Affinity:", "");
        page.row(1, "Required Terms:", "");
        for (i, term) in terms.iter().enumerate() {
            let part = |e: &Value| {
                let values: Vec<String> = list(e, "/values").iter().map(|value| text(Some(value))).collect();
                format!("{} {} [{}]", text(e.get("key")), text(e.get("operator")).to_lowercase(), values.join(", "))
            };
            let parts: Vec<String> = list(term, "/matchExpressions").iter().map(part).collect();
            page.rows(2, &format!("Term {i}:"), &parts);
        }
    }
    page.row(0, "Message:", get(volume, "/status/message"));
    page.row(0, "Source:", "");
    if let Some(csi) = at(volume, "/spec/csi") {
        page.row(1, "Type:", "CSI (a Container Storage Interface (CSI) volume source)");
        page.row(1, "Driver:", text(csi.get("driver")));
        page.row(1, "VolumeHandle:", text(csi.get("volumeHandle")));
        page.row(1, "ReadOnly:", at(csi, "/readOnly").is_some_and(|own| own == true).to_string());
        page.rows(1, "VolumeAttributes:", &pairs(csi, "/volumeAttributes", "="));
    } else if let Some(path) = at(volume, "/spec/hostPath/path") {
        page.row(1, "Type:", "HostPath (bare host directory volume)");
        page.row(1, "Path:", text(Some(path)));
    }
}

pub(super) fn stateful_set(page: &mut Page, set: &Value) {
    head(page, set);
    page.row(0, "CreationTimestamp:", get(set, "/metadata/creationTimestamp"));
    page.row(0, "Selector:", pairs(set, "/spec/selector/matchLabels", "=").join(","));
    marks(page, set);
    let number = |pointer: &str| at(set, pointer).and_then(Value::as_i64).unwrap_or(0);
    page.row(0, "Replicas:", format!("{} desired | {} total", number("/spec/replicas"), number("/status/replicas")));
    page.row(0, "Update Strategy:", get(set, "/spec/updateStrategy/type"));
    page.row(0, "Pod Template:", "");
    page.rows(1, "Labels:", &pairs(set, "/spec/template/metadata/labels", "="));
    page.row(1, "Containers:", "");
    for container in list(set, "/spec/template/spec/containers") {
        page.row(2, &format!("{}:", text(container.get("name"))), "");
        page.row(3, "Image:", text(container.get("image")));
    }
    page.row(0, "Volume Claims:", if list(set, "/spec/volumeClaimTemplates").is_empty() { "<none>" } else { "" });
    for claim in list(set, "/spec/volumeClaimTemplates") {
        page.row(1, "Name:", name_of(claim));
        page.row(1, "StorageClass:", get(claim, "/spec/storageClassName"));
        page.row(1, "Capacity:", or_none(claim, "/spec/resources/requests/storage"));
        page.row(1, "Access Modes:", format!("[{}]", access_modes(claim, "/spec/accessModes")));
    }
}

/// Sizes only, as upstream.
pub(super) fn secret(page: &mut Page, secret: &Value) {
    head(page, secret);
    marks(page, secret);
    page.row(0, "Type:", get(secret, "/type"));
    page.row(0, "Data", "");
    page.row(0, "====", "");
    for (name, value) in at(secret, "/data").and_then(Value::as_object).into_iter().flatten() {
        let encoded = value.as_str().unwrap_or_default().trim_end_matches('=');
        page.row(0, &format!("{name}:"), format!("{} bytes", encoded.len() * 3 / 4));
    }
}

/// A custom object, or one without a layout here.
pub(super) fn any(page: &mut Page, object: &Value) {
    head(page, object);
    marks(page, object);
    page.row(0, "API Version:", get(object, "/apiVersion"));
    page.row(0, "Kind:", get(object, "/kind"));
    page.row(0, "Metadata:", "");
    let known = ["name", "namespace", "labels", "annotations", "managedFields"];
    fields(page, 1, at(object, "/metadata"), &known);
    let known = ["apiVersion", "kind", "metadata"];
    fields(page, 0, Some(object), &known);
}

fn fields(page: &mut Page, level: usize, value: Option<&Value>, without: &[&str]) {
    for (key, value) in value.and_then(Value::as_object).into_iter().flatten() {
        if without.contains(&key.as_str()) || value.is_null() {
            continue;
        }
        let label = format!("{}:", spaced(key));
        match value {
            Value::Object(_) => {
                page.row(level, &label, "");
                fields(page, level + 1, Some(value), &[]);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                page.row(level, &label, "");
                items.iter().for_each(|item| fields(page, level + 1, Some(item), &[]));
            }
            Value::Array(items) => {
                page.row(level, &label, "");
                items.iter().for_each(|item| page.row(level + 1, &text(Some(item)), ""));
            }
            other => page.row(level, &label, text(Some(other))),
        }
    }
}

/// `cacheCapacity` as `Cache Capacity`: upstream's `smartLabelFor`.
fn spaced(key: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for (i, c) in key.chars().enumerate() {
        if c.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        if i == 0 {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_custom_object_is_shown_field_by_field() {
        let dataset = json!({
            "apiVersion": "data.fluid.io/v1alpha1", "kind": "Dataset",
            "metadata": {"name": "hbase", "namespace": "default", "uid": "u"},
            "spec": {"mounts": [{"mountPoint": "https://a", "name": "hbase"}]},
            "status": {"cacheStates": {"cacheCapacity": "4GiB"}, "phase": "Bound"},
        });
        let mut page = Page::default();
        any(&mut page, &dataset);
        let text = page.render();
        for line in ["Name:         hbase\n", "Kind:         Dataset\n", "Metadata:\n  Uid:  u\n", "Cache Capacity:"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
