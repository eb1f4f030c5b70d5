//! Node lifecycle: silence, conditions, taints, zones and rates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use stormglass::kube::controllers::node_lifecycle::health::{Clock, Grace};
use stormglass::kube::controllers::node_lifecycle::monitor::{Monitor, Step, by_condition};
use stormglass::kube::controllers::node_lifecycle::zones::{Rates, Shift, State, Zones};
use stormglass::rt::time::Instant;

use super::states::{NOW, at, node, tainted, written};

const GRACE: Grace = Grace { monitor: Duration::from_secs(40), startup: Duration::from_secs(60) };
const UNREACHABLE: &str = "node.kubernetes.io/unreachable:NoExecute";
const NOT_READY: &str = "node.kubernetes.io/not-ready:NoExecute";

/// A cluster of nodes as lists, with the controller beside it: steps are applied to the lists.
struct Naive {
    start: Instant,
    seconds: u64,
    nodes: BTreeMap<String, Node>,
    /// When each node last renewed its lease; absent ones have none.
    renewed: BTreeMap<String, i64>,
    monitor: Monitor,
    /// Names of nodes whose pods were marked, with the second.
    marked: Vec<(u64, String)>,
    /// The second at which each node got its eviction taint.
    tainted: BTreeMap<String, u64>,
}

impl Naive {
    fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let name = |node: &Node| node.metadata.name.clone().unwrap();
        Self {
            start: Instant::now(),
            seconds: 0,
            nodes: nodes.into_iter().map(|node| (name(&node), node)).collect(),
            renewed: BTreeMap::new(),
            monitor: Monitor::new(GRACE, Rates::default()),
            marked: Vec::new(),
            tainted: BTreeMap::new(),
        }
    }

    fn clock(&self) -> Clock {
        Clock { now: self.start + Duration::from_secs(self.seconds), wall: at(self.seconds as i64) }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Conditions(name, conditions) => {
                self.nodes.get_mut(&name).unwrap().status.get_or_insert_default().conditions = Some(conditions);
            }
            Step::PodsNotReady(name) => self.marked.push((self.seconds, name)),
            Step::Taints(change) => {
                let name = change.node.clone();
                let old = self.nodes[&name].spec.clone().unwrap_or_default().taints.unwrap_or_default();
                let taints = change.apply(&old).unwrap();
                if written(&taints).iter().any(|taint| taint.ends_with("NoExecute")) {
                    self.tainted.entry(name.clone()).or_insert(self.seconds);
                } else {
                    self.tainted.remove(&name);
                }
                self.nodes.get_mut(&name).unwrap().spec.get_or_insert_default().taints = Some(taints);
            }
        }
    }

    /// Runs until a second; the live nodes renew every ten, the monitor looks every five.
    fn run_until(&mut self, end: u64, alive: &[&str]) {
        while self.seconds < end {
            self.seconds += 1;
            if self.seconds.is_multiple_of(10) {
                self.renewed.extend(alive.iter().map(|name| ((*name).to_string(), self.seconds as i64)));
                // The kubelet answers with its own status when it finds that it was given up.
                for name in alive {
                    let node = self.nodes.get_mut(*name).unwrap();
                    let labels = node.metadata.labels.clone();
                    node.status = super::states::node(name, "True").status;
                    node.metadata.labels = labels;
                    let ready = &mut node.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
                    ready.last_heartbeat_time = Some(Time(at(self.seconds as i64)));
                }
            }
            if self.seconds.is_multiple_of(5) {
                let nodes: Vec<_> = self.nodes.values().cloned().map(Arc::new).collect();
                let lease = |name: &str| {
                    let renewed = self.renewed.get(name)?;
                    let mut lease = Lease::default();
                    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(at(*renewed)));
                    Some(Arc::new(lease))
                };
                let steps = self.monitor.pass(&nodes, lease, self.clock());
                steps.into_iter().for_each(|step| self.apply(step));
            }
            let clock = self.clock();
            let nodes = self.nodes.clone();
            let due = self.monitor.due(clock.now, clock.wall, |name| nodes.get(name).cloned().map(Arc::new));
            due.into_iter().for_each(|step| self.apply(step));
        }
    }

    fn ready(&self, name: &str) -> &NodeCondition {
        &self.nodes[name].status.as_ref().unwrap().conditions.as_ref().unwrap()[0]
    }
}

#[test]
fn a_silent_node_is_unknown_after_the_grace_and_tainted_one_pass_later() {
    let mut cluster = Naive::new(["a", "b", "c"].map(|name| node(name, "True")));
    cluster.run_until(20, &["a", "b", "c"]);
    cluster.run_until(60, &["a", "b"]);
    assert_eq!((cluster.ready("c").status.as_str(), cluster.marked.len()), ("True", 0), "40 s are not over yet");
    cluster.run_until(65, &["a", "b"]);
    assert_eq!(cluster.ready("c").status, "Unknown");
    assert_eq!(cluster.ready("c").reason.as_deref(), Some("NodeStatusUnknown"));
    assert_eq!(cluster.ready("c").message.as_deref(), Some("Kubelet stopped posting node status."));
    assert_eq!(cluster.marked, [(65, "c".to_string())], "MarkPodsNotReady at once");
    assert_eq!(cluster.tainted, BTreeMap::new());
    cluster.run_until(70, &["a", "b"]);
    assert_eq!(written(cluster.nodes["c"].spec.as_ref().unwrap().taints.as_ref().unwrap()), [UNREACHABLE]);
    assert_eq!((cluster.ready("a").status.as_str(), cluster.marked.len()), ("True", 1));
    cluster.run_until(90, &["a", "b", "c"]);
    assert_eq!(cluster.tainted, BTreeMap::new(), "markNodeAsReachable takes the taint off");
    assert_eq!(cluster.nodes["c"].spec.as_ref().unwrap().taints, Some(vec![]));
}

#[test]
fn a_node_that_never_spoke_has_the_startup_grace() {
    let mut cluster = Naive::new([node("a", "True"), node("b", "True"), node("c", "")]);
    cluster.run_until(60, &["a", "b"]);
    assert!(cluster.nodes["c"].status.is_none());
    cluster.run_until(65, &["a", "b"]);
    assert_eq!(cluster.ready("c").reason.as_deref(), Some("NodeStatusNeverUpdated"));
    assert_eq!(cluster.ready("c").status, "Unknown");
}

#[test]
fn a_kubelet_that_says_not_ready_changes_the_taint_at_once() {
    let mut cluster = Naive::new(["a", "b", "c"].map(|name| node(name, "True")));
    cluster.run_until(20, &["a", "b", "c"]);
    cluster.run_until(80, &["a", "b"]);
    assert_eq!(cluster.tainted.len(), 1);
    let mut unready = node("c", "False").status;
    unready.as_mut().unwrap().conditions.as_mut().unwrap()[0].last_heartbeat_time = Some(Time(at(81)));
    cluster.nodes.get_mut("c").unwrap().status = unready;
    cluster.run_until(85, &["a", "b"]);
    assert_eq!(written(cluster.nodes["c"].spec.as_ref().unwrap().taints.as_ref().unwrap()), [NOT_READY]);
}

#[test]
fn conditions_become_taints_that_only_keep_away() {
    let key = "node.kubernetes.io";
    // Upstream rule, Ready, further condition, cordoned, taints before, taints after (none if unchanged).
    type Taints = &'static [&'static str];
    type Row = (&'static str, &'static str, &'static str, bool, Taints, Option<Taints>);
    let rows: [Row; 9] = [
        ("nodeConditionToTaintKeyStatusMap: Ready True", "True", "", false, &[], None),
        ("Ready False", "False", "", false, &[], Some(&["not-ready:NoSchedule"])),
        ("Ready Unknown", "Unknown", "", false, &[], Some(&["unreachable:NoSchedule"])),
        ("MemoryPressure True", "True", "MemoryPressure=True", false, &[], Some(&["memory-pressure:NoSchedule"])),
        ("MemoryPressure Unknown", "True", "MemoryPressure=Unknown", false, &[], None),
        (
            "NetworkUnavailable",
            "True",
            "NetworkUnavailable=True",
            false,
            &[],
            Some(&["network-unavailable:NoSchedule"]),
        ),
        ("spec.unschedulable", "True", "", true, &[], Some(&["unschedulable:NoSchedule"])),
        ("uncordoned", "True", "", false, &["unschedulable:NoSchedule"], Some(&[])),
        ("others' taints stay", "Unknown", "", false, &["unreachable:NoSchedule", "not-ready:NoExecute"], None),
    ];
    for (rule, ready, more, cordoned, before, want) in rows {
        let full = |taints: &[&str]| taints.iter().map(|taint| format!("{key}/{taint}")).collect::<Vec<_>>();
        let taints = full(before);
        let mut node = tainted(node("n", ready), &taints.iter().map(String::as_str).collect::<Vec<_>>());
        node.spec.as_mut().unwrap().unschedulable = Some(cordoned);
        if let Some((kind, status)) = more.split_once('=') {
            let condition = NodeCondition { type_: kind.into(), status: status.into(), ..NodeCondition::default() };
            node.status.as_mut().unwrap().conditions.as_mut().unwrap().push(condition);
        }
        let got = by_condition(&node, NOW).map(|step| match step {
            Step::Taints(change) => {
                written(&change.apply(node.spec.as_ref().unwrap().taints.as_ref().unwrap()).unwrap())
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(got, want.map(full), "{rule}");
    }
}

#[test]
fn a_zones_state_follows_its_nodes() {
    // Upstream rule, ready, not ready, state.
    let rows = [
        ("ComputeZoneState: all ready", 3, 0, State::Normal),
        ("all down", 0, 1, State::Full),
        ("two of three: fewer than three are down", 1, 2, State::Normal),
        ("three of five: 60 %", 2, 3, State::Partial),
        ("three of six: 50 %", 3, 3, State::Normal),
        ("11 of 20: exactly 55 %", 9, 11, State::Partial),
        ("10 of 19: 53 %", 9, 10, State::Normal),
        ("an empty zone", 0, 0, State::Normal),
    ];
    for (rule, ready, not_ready, want) in rows {
        assert_eq!(Rates::default().state(ready, not_ready), want, "{rule}");
    }
}

/// Nodes of one zone, some of them alive: the seconds at which the others get their taints, from the first on.
fn taints(total: usize, alive: usize, other_zone: bool, until: u64) -> Vec<u64> {
    let zone = |name: &str, zone: &str| {
        let mut node = node(name, "True");
        node.metadata.labels = Some([("topology.kubernetes.io/zone".to_string(), zone.to_string())].into());
        node
    };
    let names: Vec<String> = (0..total).map(|n| format!("n{n:03}")).collect();
    let mut cluster = Naive::new(names.iter().map(|name| zone(name, "a")));
    let mut live: Vec<&str> = names.iter().map(String::as_str).collect();
    if other_zone {
        cluster.nodes.insert("z".into(), zone("z", "z"));
        live.push("z");
    }
    cluster.run_until(20, &live);
    let live: Vec<&str> = live.into_iter().filter(|name| *name == "z" || name[1..] < *format!("{alive:03}")).collect();
    cluster.run_until(until, &live);
    let mut seconds: Vec<u64> = cluster.tainted.values().copied().collect();
    seconds.sort_unstable();
    seconds
}

#[test]
fn evictions_keep_the_zones_rate() {
    // Upstream rule, nodes, of those alive, another zone that is well, until; the seconds of the taints.
    type Seconds = &'static [u64];
    let rows: [(&str, usize, usize, bool, u64, Seconds); 6] = [
        ("--node-eviction-rate: one each ten seconds", 9, 6, false, 120, &[70, 80, 90]),
        ("--unhealthy-zone-threshold, small zone: none", 5, 2, true, 400, &[]),
        ("below the threshold of three nodes: as usual", 3, 1, false, 120, &[70, 80]),
        ("--secondary-node-eviction-rate, more than 50 nodes", 60, 10, false, 280, &[70, 170, 270]),
        ("FullDisruption of one zone of two: the normal rate", 4, 0, true, 120, &[70, 80, 90, 100]),
        ("FullDisruption of all zones: none", 4, 0, false, 400, &[]),
    ];
    for (rule, total, alive, other, until, want) in rows {
        let got = taints(total, alive, other, until);
        // The bucket may be drained by the change of rate, as upstream's SwapLimiter drains it.
        assert_eq!(got, want, "{rule}");
    }
}

#[test]
fn after_a_full_disruption_only_those_that_stay_silent_are_tainted() {
    let names = ["a", "b", "c", "d"];
    let mut cluster = Naive::new(names.map(|name| node(name, "True")));
    cluster.run_until(20, &names);
    cluster.run_until(200, &[]);
    assert_eq!(cluster.tainted, BTreeMap::new());
    assert!(names.iter().all(|name| cluster.ready(name).status == "Unknown"));
    cluster.run_until(240, &["a", "b"]);
    let tainted: Vec<_> = cluster.tainted.iter().map(|(name, second)| (name.as_str(), *second)).collect();
    assert_eq!(tainted, [("c", 220), ("d", 230)], "the buckets start empty, then the normal rate");
}

#[test]
fn rates_change_with_the_zones() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let zone = ("r".to_string(), "a".to_string());
    let counts = |ready, not_ready| BTreeMap::from([(zone.clone(), (ready, not_ready))]);
    let mut zones = Zones::new(Rates::default());
    assert_eq!(zones.judge(&counts(4, 0), at(0)), Shift::None);
    assert_eq!(zones.judge(&counts(0, 4), at(5)), Shift::AllDown);
    ["a", "b"].iter().for_each(|node| zones.mark(&zone, node, false));
    assert_eq!((zones.due(at(500)), zones.next(at(500))), (vec![], None), "stopped");
    assert_eq!(zones.judge(&counts(0, 4), at(505)), Shift::None);
    assert_eq!(zones.judge(&counts(3, 1), at(510)), Shift::BackUp);
    assert_eq!(zones.next(at(510)), Some(at(520)), "the new bucket was drained");
    assert_eq!(zones.due(at(520)), ["a"]);
    zones.mark(&zone, "a", true);
    assert_eq!(zones.due(at(530)), ["b"], "once is enough for a");
    zones.mark(&zone, "a", false);
    assert_eq!(zones.due(at(540)), ["a"], "unless somebody took the taint away");
    assert_eq!(zones.state(&zone), Some(State::Normal));
}
