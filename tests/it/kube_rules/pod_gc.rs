//! Pod garbage collection: which pods go without grace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use stormglass::kube::controllers::pod_gc::plan::{Limits, Reason, plan};
use stormglass::rt::time::Instant;

use super::states::{node, on, pod, tainted};

fn nodes() -> BTreeMap<String, Arc<Node>> {
    let off = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";
    let all = [
        node("well", "True"),
        node("lost", "Unknown"),
        tainted(node("off", "Unknown"), &[off]),
        tainted(node("back", "True"), &[off]),
    ];
    all.into_iter().map(|node| (node.metadata.name.clone().unwrap(), Arc::new(node))).collect()
}

#[test]
fn only_what_nobody_can_run_goes() {
    // Upstream rule, node, state, seconds since first seen, why it goes.
    let rows = [
        ("a running pod stays", "well", 'R', 99, None),
        ("gcTerminating: a pod of a lost node stays Terminating", "lost", 'r', 99, None),
        ("gcTerminating: out of service", "off", 'r', 0, Some(Reason::OutOfService)),
        ("gcTerminating: only what was deleted", "off", 'R', 99, None),
        ("gcTerminating: not on a node that is ready", "back", 'r', 99, None),
        ("gcOrphaned: quarantine", "gone", 'R', 39, None),
        ("gcOrphaned: after it", "gone", 'R', 40, Some(Reason::Orphaned)),
        ("gcOrphaned: deleted or not", "gone", 'r', 40, Some(Reason::Orphaned)),
        ("gcUnscheduledTerminating: never bound", "", 'p', 0, Some(Reason::Unscheduled)),
        ("a pod that waits for the scheduler stays", "", 'P', 99, None),
        ("ended pods stay below the threshold", "well", 'F', 99, None),
    ];
    let start = Instant::now();
    for (rule, at, state, seconds, want) in rows {
        let pod = if at.is_empty() { Arc::new(pod("p", state)) } else { on(pod("p", state), at) };
        let (mut quarantine, pods) = (BTreeMap::new(), [pod]);
        let mut look = |seconds| {
            let now = start + Duration::from_secs(seconds);
            plan(&pods, &nodes(), &mut quarantine, Limits::default(), now).first().map(|(_, reason)| *reason)
        };
        look(0);
        assert_eq!(look(seconds), want, "{rule}");
    }
}

#[test]
fn the_oldest_ended_pods_go_first() {
    let aged = |name: &str, state, seconds| {
        let mut pod = Pod::clone(&on(pod(name, state), "well"));
        pod.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(super::states::at(seconds)));
        Arc::new(pod)
    };
    let pods = [aged("new", 'S', 9), aged("old", 'F', 1), aged("mid", 'S', 5), aged("run", 'R', 0)];
    let limits = Limits { terminated: 1, ..Limits::default() };
    let taken = plan(&pods, &nodes(), &mut BTreeMap::new(), limits, Instant::now());
    let names: Vec<_> = taken.iter().map(|(pod, _)| pod.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["old", "mid"]);
}
