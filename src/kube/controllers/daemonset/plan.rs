//! What a DaemonSet does next: a pure function of the set, the nodes, its pods and the time.
//!
//! Follows `daemon_controller.go` (`NodeShouldRunDaemonPod`, `podsShouldBeOnNode`) and `update.go` (`rollingUpdate`) of Kubernetes
//! 1.3x. Rule: a node gets a pod only when no pod of the set is there, not even one on its way out. Differs: `maxSurge` is not
//! supported and counts as 0, upstream's default.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use super::template::{REVISION, pod as pod_for, target, tolerate};
use crate::kube::controllers::meta::{label, moment, name, terminating};
use crate::kube::controllers::node::taints;
use crate::kube::controllers::pod::{is_available, is_finished, is_ready};
use crate::kube::matching::{pod_selects_node, untolerated};

/// What the decision is made from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The set.
    pub set: &'a DaemonSet,
    /// The hash of its template's newest revision.
    pub revision: &'a str,
    /// The pods that it controls.
    pub pods: &'a [Arc<Pod>],
    /// All nodes.
    pub nodes: &'a [Arc<Node>],
    /// Whether a failed pod on this node may be replaced already: one back-off at a time.
    pub may_replace: &'a dyn Fn(&str) -> bool,
    /// The wall clock.
    pub now: Timestamp,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the pod of a node.
    Create(Box<Pod>),
    /// Delete a pod.
    Delete(Arc<Pod>),
}

/// What to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Steps, deletions before creations of other nodes.
    pub steps: Vec<Step>,
    /// Nodes whose failed pod waits for its back-off.
    pub waiting: Vec<String>,
    /// The status to write if it differs.
    pub status: DaemonSetStatus,
}

/// Whether a node should get a pod, and whether one that runs there may stay: `NodeShouldRunDaemonPod`.
pub fn should_run(set: &DaemonSet, node: &Node) -> (bool, bool) {
    Needs::of(set).suits(node)
}

/// What a set's pods ask of their nodes.
struct Needs<'a> {
    spec: Option<&'a PodSpec>,
    tolerations: Vec<Toleration>,
}

impl<'a> Needs<'a> {
    fn of(set: &'a DaemonSet) -> Self {
        let spec = set.spec.template.spec.as_ref();
        // Of a whole template only this is copied.
        let mut own = PodSpec {
            host_network: spec.and_then(|spec| spec.host_network),
            tolerations: spec.and_then(|spec| spec.tolerations.clone()),
            ..PodSpec::default()
        };
        tolerate(&mut own);
        Self { spec, tolerations: own.tolerations.unwrap_or_default() }
    }

    fn suits(&self, node: &Node) -> (bool, bool) {
        if self.spec.is_some_and(|spec| !may_be_on(spec, node)) {
            return (false, false);
        }
        let run = untolerated(taints(node), &self.tolerations, &["NoSchedule", "NoExecute"]).is_none();
        (run, untolerated(taints(node), &self.tolerations, &["NoExecute"]).is_none())
    }
}

fn may_be_on(spec: &PodSpec, node: &Node) -> bool {
    let here = spec.node_name.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == name(&node.metadata));
    here && pod_selects_node(spec, node)
}

/// Decides.
pub fn plan(view: &View<'_>) -> Plan {
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in view.pods {
        by_node.entry(target(pod).unwrap_or_default()).or_default().push(pod);
    }
    for pods in by_node.values_mut() {
        pods.sort_by_key(|pod| (moment(pod.metadata.creation_timestamp.as_ref()), name(&pod.metadata)));
    }
    let needs = Needs::of(view.set);
    let verdicts: Vec<(&str, bool, bool)> = view
        .nodes
        .iter()
        .map(|node| {
            let (run, stay) = needs.suits(node);
            (name(&node.metadata), run, stay)
        })
        .collect();
    let status = count(view, &verdicts, &by_node);
    let mut plan = Plan { steps: Vec::new(), waiting: Vec::new(), status };
    if !terminating(&view.set.metadata) {
        manage(view, &verdicts, &by_node, &mut plan);
        let strategy = view.set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        if strategy != Some("OnDelete") {
            roll(view, &verdicts, &by_node, &mut plan);
        }
    }
    plan
}

/// One pod on each node that should run one, none elsewhere.
fn manage(view: &View<'_>, verdicts: &[(&str, bool, bool)], by_node: &BTreeMap<&str, Vec<&Arc<Pod>>>, plan: &mut Plan) {
    let none = Vec::new();
    for (node, run, stay) in verdicts {
        let pods = by_node.get(node).unwrap_or(&none);
        let here = pods.iter().filter(|pod| !terminating(&pod.metadata));
        if pods.is_empty() {
            if *run {
                plan.steps.push(Step::Create(Box::new(pod_for(view.set, view.revision, node))));
            }
        } else if !*stay {
            plan.steps.extend(here.map(|pod| Step::Delete(Arc::clone(pod))));
        } else {
            let (ended, running): (Vec<_>, Vec<_>) = here.partition(|pod| is_finished(pod));
            if !ended.is_empty() && !(view.may_replace)(node) {
                plan.waiting.push((*node).into());
            } else {
                plan.steps.extend(ended.into_iter().map(|pod| Step::Delete(Arc::clone(pod))));
            }
            // Of several the oldest stays.
            plan.steps.extend(running.into_iter().skip(1).map(|pod| Step::Delete(Arc::clone(pod))));
        }
    }
    // Pods that wait for a node that is gone; bound ones are the pod garbage collector's.
    let gone = by_node.iter().filter(|(node, _)| !verdicts.iter().any(|(known, ..)| known == *node));
    let unbound = gone.flat_map(|(_, pods)| pods).filter(|pod| super::super::pod::node_name(pod).is_none());
    plan.steps.extend(unbound.filter(|pod| !terminating(&pod.metadata)).map(|pod| Step::Delete(Arc::clone(pod))));
}

/// The rolling update: old pods that are broken go at once, good ones as long as not more than `maxUnavailable` are missing.
fn roll(view: &View<'_>, verdicts: &[(&str, bool, bool)], by_node: &BTreeMap<&str, Vec<&Arc<Pod>>>, plan: &mut Plan) {
    let min_ready = min_ready(view.set);
    let wanted: Vec<&str> = verdicts.iter().filter(|(_, run, _)| *run).map(|(node, ..)| *node).collect();
    let mut unavailable = 0;
    let (mut broken, mut candidates) = (Vec::new(), Vec::new());
    for node in &wanted {
        let pods: Vec<_> = by_node.get(node).into_iter().flatten().filter(|pod| !terminating(&pod.metadata)).collect();
        match pods.as_slice() {
            [pod] if is_new(view, pod) => {
                unavailable += usize::from(!is_available(pod, min_ready, view.now));
            }
            [pod] if is_available(pod, min_ready, view.now) => candidates.push(Arc::clone(pod)),
            [pod] => {
                unavailable += 1;
                broken.push(Arc::clone(pod));
            }
            // None, on its way, or too many: the other half looks after it.
            _ => unavailable += 1,
        }
    }
    let room = max_unavailable(view.set, wanted.len()).saturating_sub(unavailable);
    for pod in broken.into_iter().chain(candidates.into_iter().take(room)) {
        let step = Step::Delete(pod);
        if !plan.steps.contains(&step) {
            plan.steps.push(step);
        }
    }
}

fn is_new(view: &View<'_>, pod: &Pod) -> bool {
    label(&pod.metadata, REVISION) == Some(view.revision)
}

fn min_ready(set: &DaemonSet) -> i32 {
    set.spec.min_ready_seconds.unwrap_or_default()
}

/// `rollingUpdate.maxUnavailable` for that many nodes: 1 by default, percentages rounded up, at least 1.
fn max_unavailable(set: &DaemonSet, nodes: usize) -> usize {
    let strategy = set.spec.update_strategy.as_ref();
    match strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.max_unavailable.as_ref()) {
        None => 1,
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or_default().max(1),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or_default();
            nodes.saturating_mul(percent).div_ceil(100).max(1)
        }
    }
}

fn count(
    view: &View<'_>,
    verdicts: &[(&str, bool, bool)],
    by_node: &BTreeMap<&str, Vec<&Arc<Pod>>>,
) -> DaemonSetStatus {
    let mut status = DaemonSetStatus {
        observed_generation: view.set.metadata.generation,
        collision_count: view.set.status.as_ref().and_then(|status| status.collision_count),
        conditions: view.set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for (node, run, _) in verdicts {
        // Ready ones first: with several, upstream counts the first after sorting.
        let pod = by_node.get(node).and_then(|pods| pods.iter().find(|pod| is_ready(pod)).or(pods.first()));
        status.desired_number_scheduled += i32::from(*run);
        match pod {
            Some(_) if !*run => status.number_misscheduled += 1,
            Some(pod) => {
                status.current_number_scheduled += 1;
                status.number_ready += i32::from(is_ready(pod));
                available += i32::from(is_available(pod, min_ready(view.set), view.now));
                updated += i32::from(is_new(view, pod));
            }
            None => {}
        }
    }
    status.number_unavailable = Some(status.desired_number_scheduled - available);
    (status.number_available, status.updated_number_scheduled) = (Some(available), Some(updated));
    status
}
