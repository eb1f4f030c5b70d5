//! DaemonSet: which nodes run a pod, and how an update passes over them.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use stormglass::kube::controllers::daemonset::plan::{Plan, Step, View, plan, should_run};
use stormglass::kube::controllers::daemonset::template;

use super::states::{NOW, node, object, pod, tainted};

fn set(strategy: Value, extra: Value) -> DaemonSet {
    let mut spec = json!({ "containers": [{ "name": "fuse", "image": "fuse" }] });
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    object(json!({
        "metadata": { "name": "fuse", "namespace": "default", "uid": "set" },
        "spec": {
            "selector": { "matchLabels": { "app": "fuse" } }, "updateStrategy": strategy,
            "template": { "metadata": { "labels": { "app": "fuse" } }, "spec": spec }
        }
    }))
}

fn rolling(max: Value) -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": max } })
}

fn labelled(name: &str, label: &str) -> Node {
    let mut node = node(name, "True");
    node.metadata.labels = Some([(label.to_string(), "true".to_string())].into());
    node
}

#[test]
fn a_node_runs_a_daemon_as_upstream_says() {
    let key = "node.kubernetes.io";
    let selector = json!({ "nodeSelector": { "fluid": "true" } });
    let named = json!({ "nodeName": "n" });
    let tolerant = json!({ "tolerations": [{ "key": "gpu", "operator": "Exists", "effect": "NoSchedule" }] });
    let host = json!({ "hostNetwork": true });
    let taints = |taints: &[&str]| tainted(node("n", "True"), taints);
    // Upstream rule, pod spec, node; should one run there, may one stay.
    let rows = [
        ("predicates: nothing against it", json!({}), node("n", "True"), (true, true)),
        ("fitsNodeAffinity: label missing", selector.clone(), node("n", "True"), (false, false)),
        ("fitsNodeAffinity: label there", selector, labelled("n", "fluid"), (true, true)),
        ("fitsNodeName: another node is named", named.clone(), node("m", "True"), (false, false)),
        ("fitsNodeName: this node is named", named, node("n", "True"), (true, true)),
        ("fitsTaints: custom NoSchedule keeps new ones away", json!({}), taints(&["gpu:NoSchedule"]), (false, true)),
        ("fitsTaints: custom NoExecute removes", json!({}), taints(&["gpu:NoExecute"]), (false, false)),
        ("fitsTaints: PreferNoSchedule is a score only", json!({}), taints(&["gpu:PreferNoSchedule"]), (true, true)),
        ("fitsTaints: tolerated by the template", tolerant, taints(&["gpu:NoSchedule"]), (true, true)),
        (
            "AddOrUpdateDaemonPodTolerations: node loss",
            json!({}),
            taints(&[&format!("{key}/unreachable:NoExecute"), &format!("{key}/not-ready:NoExecute")]),
            (true, true),
        ),
        (
            "AddOrUpdateDaemonPodTolerations: pressure and cordon",
            json!({}),
            taints(&[&format!("{key}/disk-pressure:NoSchedule"), &format!("{key}/unschedulable:NoSchedule")]),
            (true, true),
        ),
        (
            "AddOrUpdateDaemonPodTolerations: no network",
            json!({}),
            taints(&[&format!("{key}/network-unavailable:NoSchedule")]),
            (false, true),
        ),
        (
            "AddOrUpdateDaemonPodTolerations: no network, host network",
            host,
            taints(&[&format!("{key}/network-unavailable:NoSchedule")]),
            (true, true),
        ),
        (
            "unreachable:NoSchedule is not tolerated, but never removes",
            json!({}),
            taints(&[&format!("{key}/unreachable:NoSchedule")]),
            (false, true),
        ),
    ];
    for (rule, spec, node, want) in rows {
        assert_eq!(should_run(&set(rolling(json!(1)), spec), &node), want, "{rule}");
    }
}

/// `aRn`: node, state, `n`ew or `o`ld revision.
fn daemons(set: &DaemonSet, text: &str) -> Vec<Arc<Pod>> {
    let one = |(at, word): (usize, &str)| {
        let letters: Vec<char> = word.chars().collect();
        let revision = if letters[2] == 'n' { "new" } else { "old" };
        let made = template::pod(set, revision, &letters[0].to_string());
        let mut pod = pod(&format!("fuse-{}{at}", letters[0]), letters[1]);
        (pod.metadata.labels, pod.spec) = (made.metadata.labels, made.spec);
        Arc::new(pod)
    };
    text.split_whitespace().enumerate().map(one).collect()
}

fn decide(set: &DaemonSet, nodes: &[Node], pods: &[Arc<Pod>]) -> Plan {
    let nodes: Vec<_> = nodes.iter().cloned().map(Arc::new).collect();
    plan(&View { set, revision: "new", pods, nodes: &nodes, may_replace: &|_| true, now: NOW })
}

fn steps(plan: &Plan) -> String {
    let of = |step: &Step| match step {
        Step::Create(pod) => format!("+{}", template::target(pod).unwrap()),
        Step::Delete(pod) => format!("-{}", pod.metadata.name.as_deref().unwrap().trim_start_matches("fuse-")),
    };
    plan.steps.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn daemons_are_made_replaced_and_removed_as_upstream_does() {
    let one = || rolling(json!(1));
    let on_delete = || json!({ "type": "OnDelete" });
    // Upstream rule, strategy, nodes, pods, what is done.
    let rows = [
        ("podsShouldBeOnNode: one on each", one(), "abc", "", "+a +b +c"),
        ("podsShouldBeOnNode: not a second", one(), "ab", "aRn", "+b"),
        ("podsShouldBeOnNode: not while one is on its way out", one(), "a", "arn", ""),
        ("podsShouldBeOnNode: of several the oldest stays", one(), "a", "aRn aRn", "-a1"),
        ("podsShouldBeOnNode: failed ones are replaced", one(), "a", "aFn", "-a0"),
        ("podsShouldBeOnNode: succeeded ones too", one(), "a", "aSn", "-a0"),
        ("getUnscheduledPodsWithoutNode: pinned to a node that is gone", one(), "a", "aRn zPn", "-z1"),
        ("rollingUpdate: one at a time", one(), "abc", "aRo bRo cRo", "-a0"),
        ("rollingUpdate: waits for the new one", one(), "abc", "aUn bRo cRo", ""),
        ("rollingUpdate: waits while one is missing", one(), "abc", "aro bRo cRo", ""),
        ("rollingUpdate: broken old ones go at once", one(), "abc", "aUo bUo cRo", "-a0 -b1"),
        ("rollingUpdate: as many as allowed", rolling(json!(2)), "abc", "aRo bRo cRo", "-a0 -b1"),
        ("MaxUnavailable: percentages round up", rolling(json!("34%")), "abc", "aRo bRo cRo", "-a0 -b1"),
        ("OnDelete: nothing is updated", on_delete(), "ab", "aRo bRo", ""),
        ("OnDelete: what was deleted comes back new", on_delete(), "ab", "aRo", "+b"),
    ];
    for (rule, strategy, nodes, there, want) in rows {
        let set = set(strategy, json!({}));
        let nodes: Vec<_> = nodes.chars().map(|name| node(&name.to_string(), "True")).collect();
        assert_eq!(steps(&decide(&set, &nodes, &daemons(&set, there))), want, "{rule}");
    }
}

#[test]
fn a_label_that_goes_takes_the_daemon_along() {
    let set = set(rolling(json!(1)), json!({ "nodeSelector": { "fluid": "true" } }));
    let pods = daemons(&set, "aRn bRn");
    let plan = decide(&set, &[labelled("a", "fluid"), node("b", "True")], &pods);
    assert_eq!(steps(&plan), "-b1");
    let status = plan.status;
    assert_eq!(
        (status.desired_number_scheduled, status.current_number_scheduled, status.number_misscheduled),
        (1, 1, 1)
    );
    assert_eq!((status.number_ready, status.number_available, status.number_unavailable), (1, Some(1), Some(0)));
}

#[test]
fn failed_daemons_wait_for_their_back_off() {
    let set = set(rolling(json!(1)), json!({}));
    let (pods, nodes) = (daemons(&set, "aFn"), [Arc::new(node("a", "True"))]);
    let view = View { set: &set, revision: "new", pods: &pods, nodes: &nodes, may_replace: &|_| false, now: NOW };
    let plan = plan(&view);
    assert_eq!((steps(&plan).as_str(), plan.waiting), ("", vec!["a".to_string()]));
}

#[test]
fn a_daemon_is_pinned_to_its_node() {
    let pod = template::pod(&set(rolling(json!(1)), json!({})), "new", "a");
    assert_eq!(template::target(&pod), Some("a"));
    assert!(stormglass::kube::matching::pod_selects_node(pod.spec.as_ref().unwrap(), &node("a", "True")));
    assert!(!stormglass::kube::matching::pod_selects_node(pod.spec.as_ref().unwrap(), &node("b", "True")));
    assert_eq!(pod.metadata.generate_name.as_deref(), Some("fuse-"));
}
