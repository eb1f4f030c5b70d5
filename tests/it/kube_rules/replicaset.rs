//! ReplicaSet: how many pods, and which go first.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use stormglass::kube::controllers::replicaset::plan::{DELETION_COST, Plan, Step, View, plan};

use super::states::{NOW, at, object, on, pod, template};

fn set(replicas: i32) -> ReplicaSet {
    object(json!({
        "metadata": { "name": "web-5b64fdbbb", "namespace": "default", "uid": "set", "generation": 4 },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "web" } }, "template": template("web:1") }
    }))
}

fn decide(set: &ReplicaSet, pods: &[Arc<Pod>]) -> Plan {
    plan(&View { set, pods, related: pods, now: NOW })
}

fn steps(plan: &Plan) -> String {
    let of = |step: &Step| match step {
        Step::Create(_) => "+".to_string(),
        Step::Delete(pod) => format!("-{}", pod.metadata.name.as_deref().unwrap()),
    };
    plan.steps.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn as_many_pods_live_as_are_asked_for() {
    // Upstream rule, replicas, states of pods, what is done.
    let rows = [
        ("manageReplicas: all at once", 3, "", "+ + +"),
        ("manageReplicas: enough", 2, "RR", ""),
        ("FilterActivePods: ended ones do not count", 2, "RFS", "+"),
        ("FilterActivePods: nor do those on their way out", 2, "Rr", "+"),
        ("getPodsToDelete: none is kept", 0, "RP", "-p1 -p0"),
        ("ActivePods: pending before running", 1, "RPR", "-p1 -p0"),
        ("ActivePods: not ready before ready", 2, "RUR", "-p1"),
    ];
    for (rule, replicas, there, want) in rows {
        let pods: Vec<_> =
            there.chars().enumerate().map(|(i, state)| on(pod(&format!("p{i}"), state), &format!("n{i}"))).collect();
        assert_eq!(steps(&decide(&set(replicas), &pods)), want, "{rule}");
    }
}

#[test]
fn what_is_worth_least_goes_first() {
    let ready = |name: &str, node: &str, change: &dyn Fn(&mut Pod)| {
        let mut one = Pod::clone(&on(pod(name, 'R'), node));
        change(&mut one);
        Arc::new(one)
    };
    let since = |seconds: i64| {
        move |pod: &mut Pod| {
            pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].last_transition_time =
                Some(Time(at(-seconds)));
        }
    };
    let cost = |cost: &str| {
        let cost = cost.to_string();
        move |pod: &mut Pod| pod.metadata.annotations = Some([(DELETION_COST.into(), cost.clone())].into())
    };
    let restarted = |pod: &mut Pod| {
        let status = ContainerStatus { restart_count: 2, ..ContainerStatus::default() };
        pod.status.as_mut().unwrap().container_statuses = Some(vec![status]);
    };
    let same = |_: &mut Pod| {};
    let unassigned = Arc::new(pod("a", 'P'));
    // Upstream rule, pods; `a` is the one that must go.
    let rows = [
        ("1. unassigned < assigned", unassigned, ready("b", "n", &same)),
        ("4. lower pod-deletion-cost", ready("a", "n", &cost("-5")), ready("b", "m", &same)),
        ("6. been ready for less time", ready("a", "n", &since(10)), ready("b", "m", &since(1000))),
        ("7. higher restart counts", ready("a", "n", &restarted), ready("b", "m", &same)),
        ("uid decides where times have the same logarithm", ready("a", "n", &since(60)), ready("b", "m", &since(61))),
    ];
    for (rule, loser, other) in rows {
        assert_eq!(steps(&decide(&set(1), &[other.clone(), loser.clone()])), "-a", "{rule}");
        assert_eq!(steps(&decide(&set(1), &[loser, other])), "-a", "{rule}, the other way round");
    }
    let crowded = [ready("b", "m", &same), ready("c", "n", &same), ready("a", "n", &same)];
    assert_eq!(steps(&decide(&set(2), &crowded)), "-a", "5. more related pods on the same node");
}

#[test]
fn the_status_counts_what_lives() {
    let pods: Vec<_> =
        ['R', 'R', 'U', 'F', 'r'].into_iter().enumerate().map(|(i, s)| on(pod(&format!("p{i}"), s), "n")).collect();
    let mut set = set(3);
    set.spec.min_ready_seconds = Some(120);
    let plan = decide(&set, &pods);
    let status = plan.status;
    assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (3, Some(2), Some(0)));
    assert_eq!((status.terminating_replicas, status.observed_generation), (Some(1), Some(4)));
    assert_eq!(plan.recheck.map(|span| span.as_secs()), Some(120), "they were ready for 60 s");
}

#[test]
fn a_pod_is_named_after_its_set() {
    let plan = decide(&set(1), &[]);
    let Step::Create(pod) = &plan.steps[0] else { panic!("a pod") };
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-5b64fdbbb-"));
    assert_eq!(pod.metadata.owner_references.as_ref().unwrap()[0].uid, "set");
}
