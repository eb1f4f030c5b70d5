//! The pass over all nodes: who fell silent, whose taints change, whose pods are not ready any more.
//!
//! Follows `monitorNodeHealth`, `processTaintBaseEviction` and `doNoScheduleTaintingPass` of Kubernetes 1.3x. It decides and
//! remembers; what it decides is written by the loop, and what could not be written is decided again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::health::{Clock, Grace, Health};
use super::zones::{Rates, Shift, Zones};
use crate::kube::controllers::meta::name;
use crate::kube::controllers::node::{condition, taints, zone};
use crate::kube::controllers::taints::{
    DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NOT_READY, PID_PRESSURE, UNREACHABLE, UNSCHEDULABLE, same,
    taint,
};
use crate::rt::time::Instant;

/// Label of nodes that do not count when a zone is judged.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

/// One thing to do about a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write these conditions into its status.
    Conditions(String, Vec<NodeCondition>),
    /// Set the Ready condition of its pods to False.
    PodsNotReady(String),
    /// Change its taints.
    Taints(TaintChange),
}

/// Taints that come and go, on whatever other taints the node has by then.
#[derive(Debug, Clone, PartialEq)]
pub struct TaintChange {
    /// The node's name.
    pub node: String,
    /// Added, unless there is one of the same key and effect.
    pub add: Vec<Taint>,
    /// Removed by key and effect.
    pub remove: Vec<Taint>,
}

impl TaintChange {
    /// The node's taints after the change; none if they stay.
    pub fn apply(&self, old: &[Taint]) -> Option<Vec<Taint>> {
        let mut new = old.to_vec();
        new.retain(|taint| !self.remove.iter().any(|gone| same(gone, taint)));
        let add: Vec<_> = self.add.iter().filter(|add| !new.iter().any(|taint| same(add, taint))).cloned().collect();
        new.extend(add);
        (new != old).then_some(new)
    }

    fn step(self, node: &Node) -> Option<Step> {
        self.apply(taints(node)).is_some().then_some(Step::Taints(self))
    }
}

/// What the controller remembers of all nodes.
#[derive(Debug)]
pub struct Monitor {
    grace: Grace,
    health: BTreeMap<String, Health>,
    zones: Zones,
    /// Nodes whose pods could not all be marked.
    retry: BTreeSet<String>,
}

impl Monitor {
    /// Knows no node yet.
    pub fn new(grace: Grace, rates: Rates) -> Self {
        Self { grace, health: BTreeMap::new(), zones: Zones::new(rates), retry: BTreeSet::new() }
    }

    /// Looks at all nodes.
    pub fn pass(
        &mut self,
        nodes: &[Arc<Node>],
        leases: impl Fn(&str) -> Option<Arc<Lease>>,
        clock: Clock,
    ) -> Vec<Step> {
        let names: BTreeSet<&str> = nodes.iter().map(|node| name(&node.metadata)).collect();
        let gone: Vec<String> = self.health.keys().filter(|known| !names.contains(known.as_str())).cloned().collect();
        for node in gone {
            self.health.remove(&node);
            self.zones.clear(&node);
        }
        let mut steps = Vec::new();
        let mut counts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for node in nodes {
            let ready = self.node(node, leases(name(&node.metadata)).as_deref(), clock, &mut steps);
            if !node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED)) {
                let count = counts.entry(zone(node)).or_default();
                if ready { count.0 += 1 } else { count.1 += 1 }
            }
        }
        match self.zones.judge(&counts, clock.now) {
            Shift::None => {}
            Shift::AllDown => {
                let reachable = nodes.iter().filter_map(|node| self.reachable(node));
                steps.extend(reachable.collect::<Vec<_>>());
            }
            Shift::BackUp => self.health.values_mut().for_each(|health| health.forgive(clock.now)),
        }
        steps
    }

    /// One node. Tells whether it is ready.
    fn node(&mut self, node: &Node, lease: Option<&Lease>, clock: Clock, steps: &mut Vec<Step>) -> bool {
        let id = name(&node.metadata).to_string();
        let (health, verdict) = Health::look(self.health.remove(&id), node, lease, clock, self.grace);
        self.health.insert(id.clone(), health);
        if let Some(conditions) = verdict.write {
            steps.push(Step::Conditions(id.clone(), conditions));
        }
        let Some(current) = verdict.current else { return false };
        match verdict.observed.as_str() {
            "True" => steps.extend(self.reachable(node)),
            "False" => steps.extend(self.unwell(node, NOT_READY, UNREACHABLE, clock.wall)),
            _ => steps.extend(self.unwell(node, UNREACHABLE, NOT_READY, clock.wall)),
        }
        let fell = current != "True" && verdict.observed == "True";
        let retried = self.retry.remove(&id) && verdict.observed != "True";
        if fell || retried {
            steps.push(Step::PodsNotReady(id));
        }
        current == "True"
    }

    /// A node that has the other taint changes at once; one that has none waits in its zone's queue.
    fn unwell(&mut self, node: &Node, add: &str, remove: &str, wall: Timestamp) -> Option<Step> {
        let has = |key: &str| taints(node).iter().any(|other| same(other, &taint(key, "NoExecute")));
        if has(remove) {
            return swap(node, Some(add), &[remove], wall);
        }
        self.zones.mark(&zone(node), name(&node.metadata), has(add));
        None
    }

    fn reachable(&mut self, node: &Node) -> Option<Step> {
        self.zones.clear(name(&node.metadata));
        swap(node, None, &[NOT_READY, UNREACHABLE], Timestamp::MIN)
    }

    /// The nodes whose turn for the eviction taint it is. `nodes` finds a node as it is now.
    pub fn due(&mut self, now: Instant, wall: Timestamp, nodes: impl Fn(&str) -> Option<Arc<Node>>) -> Vec<Step> {
        let due = self.zones.due(now);
        let step = |node: Arc<Node>| match condition(&node, "Ready")?.status.as_str() {
            "False" => swap(&node, Some(NOT_READY), &[UNREACHABLE], wall),
            "Unknown" => swap(&node, Some(UNREACHABLE), &[NOT_READY], wall),
            _ => None,
        };
        due.iter().filter_map(|node| step(nodes(node)?)).collect()
    }

    /// When [`Self::due`] next has something.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.zones.next(now)
    }

    /// Taints of a node could not be written.
    pub fn taint_again(&mut self, node: &Node) {
        if condition(node, "Ready").is_none_or(|ready| ready.status != "True") {
            self.zones.again(&zone(node), name(&node.metadata));
        }
    }

    /// Not all pods of a node could be marked not ready.
    pub fn pods_again(&mut self, node: &str) {
        self.retry.insert(node.into());
    }
}

/// Adds and removes NoExecute taints; none if they are so already.
fn swap(node: &Node, add: Option<&str>, remove: &[&str], wall: Timestamp) -> Option<Step> {
    if add.is_none() && taints(node).is_empty() {
        return None;
    }
    let add = add.map(|key| Taint { time_added: Some(Time(wall)), ..taint(key, "NoExecute") });
    let remove = remove.iter().map(|key| taint(key, "NoExecute")).collect();
    TaintChange { node: name(&node.metadata).into(), add: add.into_iter().collect(), remove }.step(node)
}

/// The NoSchedule taints that the node's conditions and `spec.unschedulable` ask for; none if they are so already.
pub fn by_condition(node: &Node, wall: Timestamp) -> Option<Step> {
    let is = |kind: &str, status: &str| condition(node, kind).is_some_and(|condition| condition.status == status);
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let wanted = [
        (NOT_READY, is("Ready", "False")),
        (UNREACHABLE, is("Ready", "Unknown")),
        (MEMORY_PRESSURE, is("MemoryPressure", "True")),
        (DISK_PRESSURE, is("DiskPressure", "True")),
        (PID_PRESSURE, is("PIDPressure", "True")),
        (NETWORK_UNAVAILABLE, is("NetworkUnavailable", "True")),
        (UNSCHEDULABLE, cordoned),
    ];
    let has = |key: &str| taints(node).iter().any(|other| other.key == key && other.effect == "NoSchedule");
    if wanted.iter().all(|(key, wanted)| has(key) == *wanted) {
        return None;
    }
    let own = |(key, _): (&str, bool)| Taint { time_added: Some(Time(wall)), ..taint(key, "NoSchedule") };
    let (add, remove): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, wanted)| *wanted);
    let (add, remove) = (add.into_iter().map(own).collect(), remove.into_iter().map(own).collect());
    TaintChange { node: name(&node.metadata).into(), add, remove }.step(node)
}
