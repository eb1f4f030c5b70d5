//! Small API objects for the tables.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// The time of every table.
pub const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// `NOW` and some seconds.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::constant(NOW.as_second() + seconds, 0)
}

/// An object from JSON.
pub fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A pod in the state that a letter stands for: `N`ew (no status), `P`ending, `U`nready, `R`eady, `F`ailed, `S`ucceeded; small
/// letters are the same on their way out.
pub fn pod(name: &str, state: char) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = Some(name.into());
    pod.metadata.namespace = Some("default".into());
    pod.metadata.uid = Some(format!("uid-{name}"));
    pod.metadata.deletion_timestamp = state.is_ascii_lowercase().then(|| Time(at(-1)));
    let (phase, ready) = match state.to_ascii_uppercase() {
        'N' => return pod,
        'P' => ("Pending", "False"),
        'U' => ("Running", "False"),
        'R' => ("Running", "True"),
        'F' => ("Failed", "False"),
        'S' => ("Succeeded", "False"),
        other => panic!("no state {other}"),
    };
    let status = pod.status.get_or_insert_default();
    status.phase = Some(phase.into());
    status.conditions = Some(vec![PodCondition {
        type_: "Ready".into(),
        status: ready.into(),
        last_transition_time: Some(Time(at(-60))),
        ..PodCondition::default()
    }]);
    pod
}

/// The same pod, bound.
pub fn on(mut pod: Pod, node: &str) -> Arc<Pod> {
    pod.spec.get_or_insert_default().node_name = Some(node.into());
    Arc::new(pod)
}

/// A node whose Ready condition is `ready`; none if that is empty.
pub fn node(name: &str, ready: &str) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(name.into());
    node.metadata.creation_timestamp = Some(Time(NOW));
    if !ready.is_empty() {
        node.status.get_or_insert_default().conditions = Some(vec![NodeCondition {
            type_: "Ready".into(),
            status: ready.into(),
            last_heartbeat_time: Some(Time(NOW)),
            ..NodeCondition::default()
        }]);
    }
    node
}

/// The node with taints, each `key:effect` or `key=value:effect`.
pub fn tainted(mut node: Node, taints: &[&str]) -> Node {
    node.spec.get_or_insert_default().taints = Some(taints.iter().map(|text| taint(text)).collect());
    node
}

/// A taint as kubectl writes it.
pub fn taint(text: &str) -> Taint {
    let (left, effect) = text.split_once(':').unwrap();
    let (key, value) = left.split_once('=').map_or((left, None), |(key, value)| (key, Some(value.to_string())));
    Taint { key: key.into(), value, effect: effect.into(), time_added: None }
}

/// Taints as kubectl writes them.
pub fn written(taints: &[Taint]) -> Vec<String> {
    taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
}

/// A pod template with one container and a label.
pub fn template(image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "main", "image": image }] }
    })
}
