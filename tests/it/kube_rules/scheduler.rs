//! Scheduling: filters with their words, scores, the message, the queue, and properties against naive models.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use proptest::prelude::*;
use serde_json::{Value, json};
use stormglass::base::SimTime;
use stormglass::kube::scheduler::SchedulerConfig;
use stormglass::kube::scheduler::cache::Cache;
use stormglass::kube::scheduler::event::ClusterEvent;
use stormglass::kube::scheduler::filter::{Filters, Plugin};
use stormglass::kube::scheduler::pod::PodInfo;
use stormglass::kube::scheduler::queue::{Queue, Room};
use stormglass::kube::scheduler::score::{Scores, scores};
use stormglass::kube::scheduler::snapshot::NodeInfo;

use super::objects::{
    asks, claim, class, cluster, labelled, node, of, over, pod, put, schedule, schedule_seeded, storage,
};

/// Why `pod` cannot run on the only node, on which `there` run; empty if it can.
fn verdict(node: Arc<Node>, there: &[Arc<Pod>], pod: Arc<Pod>) -> String {
    let name = node.metadata.name.clone().unwrap();
    let mut cache = cluster([node]);
    there.iter().for_each(|other| put(&mut cache, other, &name));
    let pod = PodInfo::new(pod);
    let found = match Filters::new(cache.snapshot(), &pod) {
        Ok(filters) => filters.node(&cache.snapshot().nodes[&name]).map(drop),
        Err(rejection) => Err(rejection),
    };
    found.err().map(|rejection| rejection.reasons.join(", ")).unwrap_or_default()
}

fn required(expression: Value) -> Value {
    let terms = json!([{ "matchExpressions": [expression] }]);
    json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms } } } })
}

fn port(number: u16, more: Value) -> Value {
    json!({ "containers": [{ "name": "c", "ports": [over(json!({ "containerPort": number }), more)] }] })
}

#[test]
fn filters_that_look_at_one_node() {
    let plain = || node("n", json!({ "metadata": { "labels": { "disk": "ssd", "cores": "8" } } }));
    let tainted =
        |effect: &str| node("n", json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": effect }] } }));
    let cordoned = || node("n", json!({ "spec": { "unschedulable": true } }));
    let taint = "node(s) had untolerated taint {k: v}";
    let selector = "node(s) didn't match Pod's node affinity/selector";
    let ports = "node(s) didn't have free ports for the requested pod ports";
    let expr = |key: &str, op: &str, values: Value| required(json!({ "key": key, "operator": op, "values": values }));
    let master = || vec![pod("m", over(port(26000, json!({})), json!({ "hostNetwork": true })))];
    type Row<'a> = (&'a str, Arc<Node>, Vec<Arc<Pod>>, Value, &'a str);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        ("TaintToleration: NoSchedule", tainted("NoSchedule"), vec![], json!({}), taint),
        ("TaintToleration: NoExecute", tainted("NoExecute"), vec![], json!({}), taint),
        ("TaintToleration: PreferNoSchedule is a score only", tainted("PreferNoSchedule"), vec![], json!({}), ""),
        ("TaintToleration: tolerated", tainted("NoSchedule"), vec![], json!({ "tolerations": [{ "key": "k", "operator": "Exists" }] }), ""),
        ("NodeUnschedulable: cordoned", cordoned(), vec![], json!({}), "node(s) were unschedulable"),
        ("NodeUnschedulable: tolerated as daemon pods do", cordoned(), vec![], json!({ "tolerations": [{ "key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule" }] }), ""),
        ("NodeName: another", plain(), vec![], json!({ "nodeName": "other" }), "node(s) didn't match the requested node name"),
        ("NodeAffinity: node selector", plain(), vec![], json!({ "nodeSelector": { "disk": "ssd" } }), ""),
        ("NodeAffinity: node selector, other value", plain(), vec![], json!({ "nodeSelector": { "disk": "hdd" } }), selector),
        ("NodeAffinity: In", plain(), vec![], expr("disk", "In", json!(["ssd", "hdd"])), ""),
        ("NodeAffinity: NotIn", plain(), vec![], expr("disk", "NotIn", json!(["ssd"])), selector),
        ("NodeAffinity: NotIn matches what has no such label", plain(), vec![], expr("gpu", "NotIn", json!(["a"])), ""),
        ("NodeAffinity: DoesNotExist", plain(), vec![], expr("disk", "DoesNotExist", json!([])), selector),
        ("NodeAffinity: Gt", plain(), vec![], expr("cores", "Gt", json!(["7"])), ""),
        ("NodeAffinity: Lt is strict", plain(), vec![], expr("cores", "Lt", json!(["8"])), selector),
        ("NodeAffinity: Gt of no number matches nothing", plain(), vec![], expr("disk", "Gt", json!(["1"])), selector),
        ("NodePorts: two masters on the host's network", plain(), master(), over(port(26000, json!({})), json!({ "hostNetwork": true })), ports),
        ("NodePorts: another port", plain(), master(), over(port(26001, json!({})), json!({ "hostNetwork": true })), ""),
        ("NodePorts: a container port is none of the host's", plain(), master(), port(26000, json!({})), ""),
        ("NodePorts: a host port meets one of the host's network", plain(), master(), port(80, json!({ "hostPort": 26000 })), ports),
        ("NodePorts: another protocol", plain(), master(), port(80, json!({ "hostPort": 26000, "protocol": "UDP" })), ""),
        ("NodeResourcesFit: exactly full", plain(), vec![pod("a", asks("3", "1Gi"))], asks("1", "7Gi"), ""),
        ("NodeResourcesFit: a thousandth more", plain(), vec![pod("a", asks("3", "1Gi"))], asks("1001m", "1Gi"), "Insufficient cpu"),
        ("NodeResourcesFit: every shortage is named", plain(), vec![pod("a", asks("3", "7Gi"))], asks("2", "2Gi"), "Insufficient cpu, Insufficient memory"),
        ("NodeResourcesFit: who asks for nothing fits", plain(), vec![pod("a", asks("4", "8Gi"))], json!({}), ""),
        ("NodeResourcesFit: number of pods", node("n", json!({ "status": { "allocatable": { "pods": "1" } } })), vec![pod("a", json!({}))], json!({}), "Too many pods"),
        ("NodeResourcesFit: an unknown resource", plain(), vec![], json!({ "containers": [{ "name": "c", "resources": { "limits": { "gpu": "1" } } }] }), "Insufficient gpu"),
        ("SchedulingGates", plain(), vec![], json!({ "schedulingGates": [{ "name": "g" }] }), "Scheduling is blocked due to non-empty scheduling gates"),
    ];
    for (rule, node, there, spec, want) in rows {
        assert_eq!(verdict(node, &there, pod("p", spec)), want, "{rule}");
    }
}

#[test]
fn init_containers_count_by_their_largest_and_sidecars_add() {
    let c = |cpu: &str, more: Value| over(json!({ "name": "c", "resources": { "requests": { "cpu": cpu } } }), more);
    let always = json!({ "restartPolicy": "Always" });
    let rows = [
        ("sum of containers", json!({ "containers": [c("1", json!({})), c("500m", json!({}))] }), 1500),
        (
            "a larger init container",
            json!({ "containers": [c("1", json!({}))], "initContainers": [c("3", json!({}))] }),
            3000,
        ),
        (
            "a smaller init container",
            json!({ "containers": [c("1", json!({}))], "initContainers": [c("500m", json!({}))] }),
            1000,
        ),
        (
            "a sidecar adds",
            json!({ "containers": [c("1", json!({}))], "initContainers": [c("1", always.clone())] }),
            2000,
        ),
        (
            "an init container beside a sidecar",
            json!({ "containers": [c("1", json!({}))], "initContainers": [c("1", always), c("2", json!({}))] }),
            3000,
        ),
        ("overhead", json!({ "containers": [c("1", json!({}))], "overhead": { "cpu": "250m" } }), 1250),
    ];
    for (rule, spec, want) in rows {
        assert_eq!(PodInfo::new(pod("p", spec)).requests.cpu, want, "{rule}");
    }
}

#[test]
fn required_affinity_between_pods() {
    let zones = [("a1", "a"), ("a2", "a"), ("b1", "b")];
    let nodes = || zones.map(|(name, zone)| node(name, json!({ "metadata": { "labels": { "zone": zone } } })));
    let term =
        |app: &str, key: &str| json!([{ "labelSelector": { "matchLabels": { "app": app } }, "topologyKey": key }]);
    let towards = |terms: Value| json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } } });
    let away = |terms: Value| json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } } });
    let on_a1 = |name: &str, app: &str, spec: Value| vec![labelled(name, json!({ "app": app }), spec)];
    let plain = |app: &str| on_a1("x", app, json!({}));
    let (draws, avoids, refused) = (
        "node(s) didn't match pod affinity rules",
        "node(s) didn't match pod anti-affinity rules",
        "node(s) didn't satisfy existing pods anti-affinity rules",
    );
    let elsewhere = json!([{ "labelSelector": { "matchLabels": { "app": "db" } }, "topologyKey": "zone", "namespaces": ["other"] }]);
    let anywhere = json!([{ "labelSelector": {}, "topologyKey": "zone", "namespaceSelector": {} }]);
    type Row<'a> = (&'a str, Vec<Arc<Pod>>, Value, [&'a str; 3]);
    #[rustfmt::skip]
    let rows: Vec<Row<'_>> = vec![
        ("affinity: the same zone", plain("db"), towards(term("db", "zone")), ["", "", draws]),
        ("affinity: the same node", plain("db"), towards(term("db", "kubernetes.io/hostname")), ["", draws, draws]),
        ("affinity: nobody matches", plain("web"), towards(term("db", "zone")), [draws, draws, draws]),
        ("affinity: the first of a group may go anywhere", plain("web"), towards(term("me", "zone")), ["", "", ""]),
        ("affinity: nodes without the key are out", plain("db"), towards(term("db", "rack")), [draws, draws, draws]),
        ("affinity: other namespaces are not meant", plain("db"), towards(elsewhere), [draws, draws, draws]),
        ("affinity: an empty namespace selector means all", plain("db"), towards(anywhere), ["", "", draws]),
        ("anti-affinity: not the same zone", plain("db"), away(term("db", "zone")), [avoids, avoids, ""]),
        ("anti-affinity: nodes without the key are in", plain("db"), away(term("db", "rack")), ["", "", ""]),
        ("anti-affinity of a running pod", on_a1("x", "db", away(term("me", "zone"))), json!({}), [refused, refused, ""]),
        ("anti-affinity of a running pod that means others", on_a1("x", "db", away(term("db", "zone"))), json!({}), ["", "", ""]),
    ];
    for (rule, there, spec, want) in rows {
        let mut cache = cluster(nodes());
        there.iter().for_each(|other| put(&mut cache, other, "a1"));
        let pod = PodInfo::new(labelled("p", json!({ "app": "me" }), spec));
        let filters = Filters::new(cache.snapshot(), &pod).unwrap();
        let found = zones.map(|(name, _)| {
            let verdict = filters.node(&cache.snapshot().nodes[name]);
            verdict.err().map(|rejection| rejection.reasons.join(", ")).unwrap_or_default()
        });
        assert_eq!(found, want, "{rule}");
    }
}

#[test]
fn hard_spread_constraints() {
    let zones = [("a1", "a"), ("b1", "b"), ("c1", "")];
    let nodes = || {
        zones.map(|(name, zone)| match zone {
            "" => node(name, json!({})),
            zone => node(name, json!({ "metadata": { "labels": { "zone": zone } } })),
        })
    };
    let spread = |skew: i32, more: Value| {
        let one = json!({ "maxSkew": skew, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "w" } } });
        json!({ "topologySpreadConstraints": [over(one, more)] })
    };
    let skewed = "node(s) didn't match pod topology spread constraints";
    let missing = "node(s) didn't match pod topology spread constraints (missing required label)";
    #[rustfmt::skip]
    let rows: Vec<(&str, &[&str], Value, [&str; 3])> = vec![
        ("empty zones are equal", &[], spread(1, json!({})), ["", "", missing]),
        ("the fuller zone is out", &["a1"], spread(1, json!({})), [skewed, "", missing]),
        ("a larger skew is allowed", &["a1"], spread(2, json!({})), ["", "", missing]),
        ("balanced again", &["a1", "b1"], spread(1, json!({})), ["", "", missing]),
        ("too few domains count as an empty one", &["a1", "b1"], spread(1, json!({ "minDomains": 3 })), [skewed, skewed, missing]),
        ("a constraint about others counts others only", &["a1", "a1"], spread(1, json!({ "labelSelector": { "matchLabels": { "app": "x" } } })), ["", "", missing]),
        ("soft constraints refuse nothing", &["a1", "a1"], spread(1, json!({ "whenUnsatisfiable": "ScheduleAnyway" })), ["", "", ""]),
    ];
    for (rule, there, spec, want) in rows {
        let mut cache = cluster(nodes());
        for (at, node) in there.iter().enumerate() {
            put(&mut cache, &labelled(&format!("w{at}"), json!({ "app": "w" }), json!({})), node);
        }
        let pod = PodInfo::new(labelled("p", json!({ "app": "w" }), spec));
        let filters = Filters::new(cache.snapshot(), &pod).unwrap();
        let found = zones.map(|(name, _)| {
            let verdict = filters.node(&cache.snapshot().nodes[name]);
            verdict.err().map(|rejection| rejection.reasons.join(", ")).unwrap_or_default()
        });
        assert_eq!(found, want, "{rule}");
    }
}

fn scored(cache: &Cache, pod: Arc<Pod>) -> Vec<Scores> {
    let nodes: Vec<&NodeInfo> = cache.snapshot().nodes.values().map(|node| &**node).collect();
    scores(cache.snapshot(), &PodInfo::new(pod), &nodes, &SchedulerConfig::default())
}

#[test]
fn scores_are_upstreams() {
    let soft = |count: usize| {
        let taints: Vec<Value> =
            (0..count).map(|n| json!({ "key": format!("k{n}"), "effect": "PreferNoSchedule" })).collect();
        json!({ "spec": { "taints": taints } })
    };
    // TaintToleration: fewer is better, the worst gets 0.
    let cache = cluster([node("a", soft(0)), node("b", soft(1)), node("c", soft(2))]);
    let found: Vec<i64> = scored(&cache, pod("p", json!({}))).iter().map(|s| s.taint_toleration).collect();
    assert_eq!(found, [100, 50, 0]);

    // NodeAffinity: the sum of weights, scaled to the best.
    let prefer = |weight: i32, value: &str| json!({ "weight": weight, "preference": { "matchExpressions": [{ "key": "x", "operator": "In", "values": [value] }] } });
    let labels = |value: &str| json!({ "metadata": { "labels": { "x": value } } });
    let cache = cluster([node("a", labels("1")), node("b", labels("2")), node("c", labels("3"))]);
    let preferred = json!([prefer(30, "1"), prefer(10, "2")]);
    let wants =
        json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": preferred } } });
    let found: Vec<i64> = scored(&cache, pod("p", wants)).iter().map(|s| s.node_affinity).collect();
    assert_eq!(found, [100, 33, 0]);

    // NodeResourcesFit, LeastAllocated: ((4000-1000-1000)/4000 + (8-2-2)/8) / 2 in percent; a pod that asks for nothing counts
    // as 100m and 200Mi. BalancedAllocation: 100 less half the distance of the shares.
    let mut cache = cluster([node("a", json!({})), node("b", json!({}))]);
    put(&mut cache, &pod("x", asks("1", "2Gi")), "a");
    let found = scored(&cache, pod("p", asks("1", "2Gi")));
    assert_eq!((found[0].node_resources_fit, found[1].node_resources_fit), (50, 75));
    assert_eq!((found[0].balanced_allocation, found[1].balanced_allocation), (100, 100));
    let found = scored(&cache, pod("p", asks("2", "0")));
    assert_eq!((found[0].balanced_allocation, found[1].balanced_allocation), (75, 75));
    let found = scored(&cache, pod("p", json!({})));
    assert_eq!((found[0].node_resources_fit, found[1].node_resources_fit), ((72 + 72) / 2, (97 + 97) / 2));

    // ImageLocality: 23 MiB to 1000 MiB, scaled by the share of nodes that have it.
    let has = |bytes: i64| json!({ "status": { "images": [{ "names": ["repo/i:latest"], "sizeBytes": bytes }] } });
    let cache = cluster([node("a", has(2 * (1000 << 20))), node("b", json!({}))]);
    let spec = json!({ "containers": [{ "name": "c", "image": "repo/i" }] });
    let found: Vec<i64> = scored(&cache, pod("p", spec)).iter().map(|s| s.image_locality).collect();
    assert_eq!(found, [100, 0]);
}

#[test]
fn soft_spread_and_preferred_affinity_score() {
    let nodes = || ["a", "b", "c"].map(|name| node(name, json!({})));
    let app = |name: &str| labelled(name, json!({ "app": "w" }), json!({}));
    // PodTopologySpread's system default: the pods of a service are spread over the hosts.
    let mut cache = cluster(nodes());
    let service =
        json!({ "metadata": { "name": "w", "namespace": "default" }, "spec": { "selector": { "app": "w" } } });
    cache.catalog_mut().services.insert(("default".into(), "w".into()), Arc::new(of(service)));
    put(&mut cache, &app("w0"), "a");
    put(&mut cache, &app("w1"), "a");
    put(&mut cache, &app("w2"), "b");
    let found: Vec<i64> = scored(&cache, app("p")).iter().map(|s| s.pod_topology_spread).collect();
    // Raw: round(count * ln 5 + 2): 5, 4, 2; then 100 * (max + min - raw) / max.
    assert_eq!(found, [40, 60, 100]);

    // InterPodAffinity: from the lowest sum to the highest; what runs counts with its own preferences.
    let term = json!({ "labelSelector": { "matchLabels": { "app": "w" } }, "topologyKey": "kubernetes.io/hostname" });
    let weighted = |weight: i32| json!([{ "weight": weight, "podAffinityTerm": term }]);
    let wants = |kind: &str| json!({ "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": weighted(100) } } });
    let found: Vec<i64> = scored(&cache, pod("p", wants("podAffinity"))).iter().map(|s| s.inter_pod_affinity).collect();
    assert_eq!(found, [100, 50, 0]);
    let found: Vec<i64> =
        scored(&cache, pod("p", wants("podAntiAffinity"))).iter().map(|s| s.inter_pod_affinity).collect();
    assert_eq!(found, [0, 50, 100]);
    put(&mut cache, &pod("x", wants("podAffinity")), "c");
    let found: Vec<i64> = scored(&cache, app("p")).iter().map(|s| s.inter_pod_affinity).collect();
    assert_eq!(found, [0, 0, 100]);
}

#[test]
fn ties_are_broken_by_the_seed_and_reach_every_node() {
    let cache = cluster(["a", "b", "c"].map(|name| node(name, json!({}))));
    let mut seen = BTreeMap::<String, usize>::new();
    for seed in 0..60 {
        let node = schedule_seeded(&cache, &pod("p", json!({})), seed).unwrap().node;
        assert_eq!(schedule_seeded(&cache, &pod("p", json!({})), seed).unwrap().node, node);
        *seen.entry(node).or_default() += 1;
    }
    assert!(seen.len() == 3 && seen.values().all(|count| *count > 8), "{seen:?}");
}

#[test]
fn the_message_is_what_describe_shows() {
    let tainted = |name: &str| {
        node(name, json!({ "spec": { "taints": [{ "key": "key", "value": "value", "effect": "NoSchedule" }] } }))
    };
    let mut cache = cluster([]);
    let error = schedule(&cache, &pod("p", json!({}))).unwrap_err();
    assert_eq!(error.to_string(), "no nodes available to schedule pods");

    for node in [tainted("a"), node("b", json!({})), node("c", json!({}))] {
        cache.node(node);
    }
    let error = schedule(&cache, &pod("p", asks("5", "9Gi"))).unwrap_err();
    let want = "0/3 nodes are available: 1 node(s) had untolerated taint {key: value}, 2 Insufficient cpu, 2 Insufficient memory.";
    assert_eq!(error.to_string(), want);

    let error = schedule(&cache, &pod("p", super::objects::mounts(&["data"]))).unwrap_err();
    assert_eq!(error.to_string(), "0/3 nodes are available: persistentvolumeclaim \"data\" not found.");
    storage(&mut cache, [claim("data", "disk", json!({}))], [], [class("disk", false)]);
    let error = schedule(&cache, &pod("p", super::objects::mounts(&["data"]))).unwrap_err();
    assert_eq!(error.to_string(), "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.");

    // A daemon set's pod names its node: the others are not even asked.
    let name = json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["a"] }] }]);
    let daemon = json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": name } } } });
    let error = schedule(&cache, &pod("p", daemon)).unwrap_err();
    let want = "0/3 nodes are available: 1 node(s) had untolerated taint {key: value}, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].";
    assert_eq!(error.to_string(), want);
}

fn info(name: &str, priority: i32) -> Arc<PodInfo> {
    Arc::new(PodInfo::new(pod(name, json!({ "priority": priority }))))
}

fn secs(s: u64) -> SimTime {
    SimTime::from_secs(s)
}

#[test]
fn the_queue_goes_by_priority_and_then_by_arrival() {
    let mut queue = Queue::new(&SchedulerConfig::default());
    for (at, (name, priority)) in [("b", 0), ("a", 0), ("high", 10), ("low", -5)].into_iter().enumerate() {
        queue.upsert(info(name, priority), secs(at as u64));
    }
    let order: Vec<String> = std::iter::from_fn(|| queue.pop(secs(9))).map(|pod| pod.key.1.clone()).collect();
    assert_eq!(order, ["high", "b", "a", "low"]);
}

#[test]
fn a_failed_pod_waits_for_an_event_its_backoff_or_five_minutes() {
    let mut queue = Queue::new(&SchedulerConfig::default());
    let pod = info("p", 0);
    queue.upsert(pod.clone(), secs(0));
    let mut now = 0;
    // podInitialBackoffSeconds 1, doubled to podMaxBackoffSeconds 10.
    for wait in [1, 2, 4, 8, 10, 10] {
        assert!(queue.pop(secs(now)).is_some());
        queue.failed(&pod.key, [Plugin::NodeResourcesFit].into(), secs(now));
        queue.wake(secs(now), |_, plugin| plugin == Plugin::TaintToleration);
        assert_eq!(
            queue.room(&pod.key).unwrap().0,
            Room::Unschedulable(secs(now)),
            "another plugin's event wakes nobody"
        );
        queue.wake(secs(now), |_, plugin| plugin == Plugin::NodeResourcesFit);
        assert_eq!(queue.room(&pod.key).unwrap().0, Room::Backoff(secs(now + wait)));
        assert!(queue.pop(secs(now + wait - 1)).is_none());
        now += wait;
    }
    assert!(queue.pop(secs(now)).is_some());
    queue.failed(&pod.key, [Plugin::NodeResourcesFit].into(), secs(now));
    assert_eq!(queue.due(), secs(now + 300));
    assert!(queue.pop(secs(now + 299)).is_none());
    assert!(queue.pop(secs(now + 300)).is_some(), "flushed after podMaxInUnschedulablePodsDuration");
    // An event long after the failure finds the back-off over.
    queue.failed(&pod.key, [Plugin::NodeResourcesFit].into(), secs(now + 300));
    queue.wake(secs(now + 350), |_, _| true);
    assert_eq!(queue.room(&pod.key).unwrap().0, Room::Active);
    // A pod that asks for something else now is tried at once.
    assert!(queue.pop(secs(now + 350)).is_some());
    queue.failed(&pod.key, [Plugin::TaintToleration].into(), secs(now + 350));
    let tolerant = super::objects::pod("p", json!({ "tolerations": [{ "operator": "Exists" }] }));
    queue.upsert(Arc::new(PodInfo::new(tolerant)), secs(now + 400));
    assert_eq!(queue.room(&pod.key).unwrap().0, Room::Active);
    queue.remove(&pod.key);
    assert!(queue.is_empty() && queue.pop(secs(now + 999)).is_none());
}

#[test]
fn events_wake_whom_they_concern() {
    let tainted = |taints: Value| node("n", json!({ "spec": { "taints": taints } }));
    let mut cache = cluster([tainted(json!([{ "key": "k", "effect": "NoSchedule" }]))]);
    let pod = PodInfo::new(pod("p", json!({})));
    let wakes = |cache: &Cache, event: &ClusterEvent, plugin| event.wakes(plugin, &pod, cache.snapshot());
    let event = cache.node(tainted(json!([{ "key": "other", "effect": "NoSchedule" }]))).unwrap();
    assert!(!wakes(&cache, &event, Plugin::TaintToleration), "still tainted: nobody wakes");
    let event = cache.node(tainted(json!([]))).unwrap();
    assert!(wakes(&cache, &event, Plugin::TaintToleration));
    assert!(wakes(&cache, &event, Plugin::VolumeBinding), "its labels may be what a volume needs");
    assert_eq!(cache.node(tainted(json!([]))), None, "a heartbeat is no event");
    assert!(wakes(&cache, &ClusterEvent::PodGone, Plugin::NodeResourcesFit));
    assert!(!wakes(&cache, &ClusterEvent::PodGone, Plugin::TaintToleration));
    assert!(wakes(&cache, &ClusterEvent::Volume, Plugin::VolumeBinding));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes and goes, no node is overcommitted, and a pod is refused only if a naive count finds no room either.
    #[test]
    fn fit_never_overcommits(
        nodes in prop::collection::vec((1..8i64, 1..8i64, 1..5i64), 1..5),
        steps in prop::collection::vec((0..4i64, 0..4i64, any::<bool>(), 0..20usize), 1..40),
    ) {
        let of = |at: usize, (cpu, memory, pods): &(i64, i64, i64)| {
            let list = json!({ "cpu": cpu.to_string(), "memory": format!("{memory}Gi"), "pods": pods.to_string() });
            node(&format!("n{at}"), json!({ "status": { "allocatable": list } }))
        };
        let mut cache = cluster(nodes.iter().enumerate().map(|(at, size)| of(at, size)));
        let mut naive: Vec<Vec<(usize, i64, i64)>> = vec![Vec::new(); nodes.len()];
        for (step, (cpu, memory, go, which)) in steps.iter().enumerate() {
            if *go {
                let all: Vec<usize> = naive.iter().flatten().map(|(id, ..)| *id).collect();
                if let Some(id) = all.get(which % all.len().max(1)) {
                    cache.pod_gone(&("default".into(), format!("p{id}")));
                    naive.iter_mut().for_each(|pods| pods.retain(|(other, ..)| other != id));
                }
                continue;
            }
            let pod = pod(&format!("p{step}"), asks(&cpu.to_string(), &format!("{memory}Gi")));
            let room = |at: usize| {
                let (has_cpu, has_memory, most) = nodes[at];
                let used = naive[at].iter().fold((0, 0), |(c, m), (_, cpu, memory)| (c + cpu, m + memory));
                let enough = |wanted: i64, used: i64, has: i64| wanted == 0 || used + wanted <= has;
                enough(*cpu, used.0, has_cpu) && enough(*memory, used.1, has_memory) && (naive[at].len() as i64) < most
            };
            match schedule_seeded(&cache, &pod, step as u64) {
                Ok(placement) => {
                    let at: usize = placement.node[1..].parse().unwrap();
                    prop_assert!(room(at), "{} took p{step}", placement.node);
                    put(&mut cache, &pod, &placement.node);
                    naive[at].push((step, *cpu, *memory));
                }
                Err(_) => prop_assert!((0..nodes.len()).all(|at| !room(at)), "p{step} was refused"),
            }
        }
    }
}
