//! A pod's row: `kubectl get pods` says more than its phase.
//!
//! Follows `printPod` of kubernetes `pkg/printers/internalversion`.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::columns::{Column, at, created, list, or_none, text};
use super::table::age;

pub(super) const COLUMNS: &[Column] = &[
    ("READY", false, |pod, _| ready(pod)),
    ("STATUS", false, |pod, _| status(pod)),
    ("RESTARTS", false, restarts),
    ("AGE", false, created),
    ("IP", true, |pod, _| or_none(pod, "/status/podIP")),
    ("NODE", true, |pod, _| or_none(pod, "/spec/nodeName")),
    ("NOMINATED NODE", true, |pod, _| or_none(pod, "/status/nominatedNodeName")),
    ("READINESS GATES", true, |_, _| "<none>".into()),
];

fn is_ready(status: &Value) -> bool {
    status.get("ready") == Some(&Value::Bool(true))
}

fn ready(pod: &Value) -> String {
    let up = list(pod, "/status/containerStatuses");
    let up = up.iter().filter(|status| is_ready(status) && at(status, "/state/running").is_some()).count();
    format!("{up}/{}", list(pod, "/spec/containers").len())
}

/// How often its containers were started again, and when last.
fn restarts(pod: &Value, now: Timestamp) -> String {
    let all = list(pod, "/status/containerStatuses");
    let count: i64 = all.iter().filter_map(|status| status.get("restartCount")).filter_map(Value::as_i64).sum();
    let ends = all.iter().filter_map(|status| at(status, "/lastState/terminated/finishedAt")).filter_map(Value::as_str);
    match ends.max().filter(|_| count > 0) {
        Some(last) => format!("{count} ({} ago)", age(Some(last), now)),
        None => count.to_string(),
    }
}

/// Why a container does not run.
fn ended(status: &Value) -> Option<String> {
    let waiting = text(at(status, "/state/waiting/reason"));
    if !waiting.is_empty() {
        return Some(waiting);
    }
    let terminated = at(status, "/state/terminated")?;
    let reason = text(terminated.get("reason"));
    let signal = terminated.get("signal").and_then(Value::as_i64).unwrap_or(0);
    let code = terminated.get("exitCode").and_then(Value::as_i64).unwrap_or(0);
    Some(match () {
        () if !reason.is_empty() => reason,
        () if signal != 0 => format!("Signal:{signal}"),
        () => format!("ExitCode:{code}"),
    })
}

pub(super) fn status(pod: &Value) -> String {
    let mut reason = text(at(pod, "/status/reason"));
    let phase = text(at(pod, "/status/phase"));
    if reason.is_empty() {
        reason.clone_from(&phase);
    }
    if let Some(init) = initialising(pod) {
        reason = init;
    } else {
        let mut running = false;
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            match ended(status) {
                Some(why) => reason = why,
                None => running |= is_ready(status) && at(status, "/state/running").is_some(),
            }
        }
        if reason == "Completed" && running {
            reason = if has_ready_condition(pod) { "Running".into() } else { "NotReady".into() };
        }
    }
    let finished = matches!(phase.as_str(), "Succeeded" | "Failed");
    match at(pod, "/metadata/deletionTimestamp") {
        Some(_) if text(at(pod, "/status/reason")) == "NodeLost" => "Unknown".into(),
        Some(_) if !finished => "Terminating".into(),
        _ => reason,
    }
}

fn has_ready_condition(pod: &Value) -> bool {
    list(pod, "/status/conditions").iter().any(|c| {
        c.get("type").and_then(Value::as_str) == Some("Ready")
            && c.get("status").and_then(Value::as_str) == Some("True")
    })
}

/// `Init:0/2`, `Init:CrashLoopBackOff`; nothing when all init containers are done.
fn initialising(pod: &Value) -> Option<String> {
    let total = list(pod, "/spec/initContainers").len();
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        if at(status, "/state/terminated/exitCode") == Some(&Value::from(0)) {
            continue;
        }
        return match ended(status) {
            Some(why) if why != "PodInitializing" => Some(format!("Init:{why}")),
            _ => Some(format!("Init:{index}/{total}")),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pods_status_is_what_keeps_it() {
        let container =
            |state: Value| json!({"phase": "Running", "containerStatuses": [{"ready": false, "state": state}]});
        let rows = [
            (json!({"status": {"phase": "Pending"}}), "Pending"),
            (json!({"status": container(json!({"waiting": {"reason": "CrashLoopBackOff"}}))}), "CrashLoopBackOff"),
            (
                json!({"status": container(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))}),
                "OOMKilled",
            ),
            (json!({"status": container(json!({"terminated": {"exitCode": 3}}))}), "ExitCode:3"),
            (json!({"status": container(json!({"running": {}}))}), "Running"),
            (
                json!({"metadata": {"deletionTimestamp": "x"}, "status": container(json!({"running": {}}))}),
                "Terminating",
            ),
            (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "Evicted"),
            (
                json!({"spec": {"initContainers": [{}, {}]}, "status": {"phase": "Pending", "initContainerStatuses": [
                    {"state": {"terminated": {"exitCode": 0}}}, {"state": {"waiting": {"reason": "PodInitializing"}}},
                ]}}),
                "Init:1/2",
            ),
        ];
        for (pod, want) in rows {
            assert_eq!(status(&pod), want, "{pod}");
        }
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let twice = json!({"spec": {"containers": [{}]}, "status": {"containerStatuses": [{"restartCount": 2, "ready": true,
            "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}}]}});
        assert_eq!((restarts(&twice, now).as_str(), ready(&twice).as_str()), ("2 (5m ago)", "1/1"));
    }
}
