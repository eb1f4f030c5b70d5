//! The description of a pod: `describePod` of kubectl.

use serde_json::Value;

use super::kinds::{head, marks};
use super::{Page, pairs};
use crate::kube::kubectl::columns::{at, list, text};

fn get(object: &Value, pointer: &str) -> String {
    text(at(object, pointer))
}

pub(super) fn pod(page: &mut Page, pod: &Value) {
    head(page, pod);
    if let Some(priority) = at(pod, "/spec/priority") {
        page.row(0, "Priority:", text(Some(priority)));
    }
    let node = get(pod, "/spec/nodeName");
    if node.is_empty() {
        page.row(0, "Node:", "<none>");
    } else {
        page.row(0, "Node:", format!("{node}/{}", get(pod, "/status/hostIP")));
    }
    if let Some(start) = at(pod, "/status/startTime") {
        page.row(0, "Start Time:", text(Some(start)));
    }
    marks(page, pod);
    match at(pod, "/metadata/deletionTimestamp") {
        Some(since) => page.row(0, "Status:", format!("Terminating (since {})", text(Some(since)))),
        None => page.row(0, "Status:", get(pod, "/status/phase")),
    }
    for (title, field) in [("Reason:", "/status/reason"), ("Message:", "/status/message")] {
        if let Some(value) = at(pod, field) {
            page.row(0, title, text(Some(value)));
        }
    }
    page.row(0, "IP:", get(pod, "/status/podIP"));
    if let Some(controller) = list(pod, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true) {
        let (kind, name) = (text(controller.get("kind")), text(controller.get("name")));
        page.row(0, "Controlled By:", format!("{kind}/{name}"));
    }
    for (title, spec, status) in [
        ("Init Containers:", "/spec/initContainers", "/status/initContainerStatuses"),
        ("Containers:", "/spec/containers", "/status/containerStatuses"),
    ] {
        let all = list(pod, spec);
        if all.is_empty() {
            continue;
        }
        page.row(0, title, "");
        for spec in all {
            let status = list(pod, status).iter().find(|status| status.get("name") == spec.get("name"));
            container(page, spec, status);
        }
    }
    let conditions = list(pod, "/status/conditions");
    if !conditions.is_empty() {
        page.row(0, "Conditions:", "");
        let row = |c: &Value| vec![text(c.get("type")), text(c.get("status"))];
        let mut rows = vec![vec!["Type".to_owned(), "Status".to_owned()]];
        rows.extend(conditions.iter().map(row));
        page.table(1, &rows);
    }
    volumes(page, pod);
    page.rows(0, "Node-Selectors:", &pairs(pod, "/spec/nodeSelector", "="));
    let tolerations: Vec<String> = list(pod, "/spec/tolerations").iter().map(toleration).collect();
    page.rows(0, "Tolerations:", &tolerations);
}

fn container(page: &mut Page, spec: &Value, status: Option<&Value>) {
    page.row(1, &format!("{}:", text(spec.get("name"))), "");
    if let Some(id) = status.and_then(|status| at(status, "/containerID")) {
        page.row(2, "Container ID:", text(Some(id)));
    }
    page.row(2, "Image:", text(spec.get("image")));
    for (title, field) in [("Command:", "/command"), ("Args:", "/args")] {
        let words = list(spec, field);
        if !words.is_empty() {
            page.row(2, title, "");
            words.iter().for_each(|word| page.row(3, &text(Some(word)), ""));
        }
    }
    if let Some(status) = status {
        state(page, "State:", status.get("state"));
        if status.get("lastState").and_then(Value::as_object).is_some_and(|state| !state.is_empty()) {
            state(page, "Last State:", status.get("lastState"));
        }
        let ready = status.get("ready") == Some(&Value::Bool(true));
        page.row(2, "Ready:", if ready { "True" } else { "False" });
        page.row(2, "Restart Count:", at(status, "/restartCount").map_or("0".into(), |count| text(Some(count))));
    }
    for (title, field) in [("Limits:", "/resources/limits"), ("Requests:", "/resources/requests")] {
        if let Some(amounts) = at(spec, field).and_then(Value::as_object).filter(|amounts| !amounts.is_empty()) {
            page.row(2, title, "");
            amounts.iter().for_each(|(name, amount)| page.row(3, &format!("{name}:"), text(Some(amount))));
        }
    }
    let mount = |mount: &Value| {
        let mode = if mount.get("readOnly") == Some(&Value::Bool(true)) { "ro" } else { "rw" };
        format!("{} from {} ({mode})", text(mount.get("mountPath")), text(mount.get("name")))
    };
    let mounts: Vec<String> = list(spec, "/volumeMounts").iter().map(mount).collect();
    page.row(2, "Mounts:", if mounts.is_empty() { "<none>" } else { "" });
    mounts.iter().for_each(|mount| page.row(3, mount, ""));
}

fn state(page: &mut Page, title: &str, state: Option<&Value>) {
    let part = |name: &str| state.and_then(|state| state.get(name)).filter(|part| !part.is_null());
    if let Some(running) = part("running") {
        page.row(2, title, "Running");
        page.row(3, "Started:", text(running.get("startedAt")));
    } else if let Some(ended) = part("terminated") {
        page.row(2, title, "Terminated");
        for (title, field) in [("Reason:", "reason"), ("Message:", "message"), ("Exit Code:", "exitCode")] {
            let value = text(ended.get(field));
            if !value.is_empty() {
                page.row(3, title, value);
            }
        }
        page.row(3, "Started:", text(ended.get("startedAt")));
        page.row(3, "Finished:", text(ended.get("finishedAt")));
    } else {
        page.row(2, title, "Waiting");
        let reason = part("waiting").map_or(String::new(), |waiting| text(waiting.get("reason")));
        if !reason.is_empty() {
            page.row(3, "Reason:", reason);
        }
    }
}

fn volumes(page: &mut Page, pod: &Value) {
    let all = list(pod, "/spec/volumes");
    page.row(0, "Volumes:", if all.is_empty() { "<none>" } else { "" });
    for volume in all {
        page.row(1, &format!("{}:", text(volume.get("name"))), "");
        if let Some(claim) = at(volume, "/persistentVolumeClaim/claimName") {
            let kind = "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)";
            page.row(2, "Type:", kind);
            page.row(2, "ClaimName:", text(Some(claim)));
        } else if let Some(path) = at(volume, "/hostPath/path") {
            page.row(2, "Type:", "HostPath (bare host directory volume)");
            page.row(2, "Path:", text(Some(path)));
        } else if let Some(directory) = at(volume, "/emptyDir") {
            page.row(2, "Type:", "EmptyDir (a temporary directory that shares a pod's lifetime)");
            page.row(2, "Medium:", text(directory.get("medium")));
        } else if let Some(map) = at(volume, "/configMap/name") {
            page.row(2, "Type:", "ConfigMap (a volume populated by a ConfigMap)");
            page.row(2, "Name:", text(Some(map)));
        } else if let Some(secret) = at(volume, "/secret/secretName") {
            page.row(2, "Type:", "Secret (a volume populated by a Secret)");
            page.row(2, "SecretName:", text(Some(secret)));
        }
    }
}

fn toleration(own: &Value) -> String {
    let part = |field: &str| text(own.get(field));
    let (key, value, effect) = (part("key"), part("value"), part("effect"));
    let mut out = key;
    if !value.is_empty() {
        out.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        out.push_str(&format!(":{effect}"));
    }
    if part("operator") == "Exists" && value.is_empty() {
        out.push_str(if effect.is_empty() && out.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = own.get("tolerationSeconds").filter(|seconds| !seconds.is_null()) {
        out.push_str(&format!(" for {seconds}s"));
    }
    out
}
