//! What a ReplicaSet does next: a pure function of the set, its pods and the time.
//!
//! Follows `replica_set.go` (`manageReplicas`, `calculateStatus`) and `ActivePodsWithRanks` of Kubernetes 1.3x: pods that ended or
//! are on their way out do not count, and of too many those go first that are worth least. Differs: no orphan is adopted; pods
//! whose times fall into the same power of two are told apart by restarts, age and uid in this order always.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;

use crate::kube::controllers::meta::{between, controller_ref, moment, name, namespace, seconds, terminating, uid};
use crate::kube::controllers::pod::{
    from_template, is_active, is_available, is_finished, is_ready, node_name, phase, ready_since,
};

/// Says what a pod is worth when some must go; 0 without it.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The set.
    pub set: &'a ReplicaSet,
    /// The pods that it controls, ended ones included.
    pub pods: &'a [Arc<Pod>],
    /// Pods of all sets of the same deployment, its own included.
    pub related: &'a [Arc<Pod>],
    /// The wall clock.
    pub now: Timestamp,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make a pod.
    Create(Box<Pod>),
    /// Delete a pod.
    Delete(Arc<Pod>),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// The status to write if it differs.
    pub status: ReplicaSetStatus,
    /// Look again after this: a pod may have become available.
    pub recheck: Option<Duration>,
}

/// Pods that a set asks for.
pub fn desired(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// The template of a set; an empty one if there is none.
pub fn template(set: &ReplicaSet) -> PodTemplateSpec {
    set.spec.template.clone().unwrap_or_default()
}

/// A pod of the set; the API server completes its name.
pub fn pod(set: &ReplicaSet) -> Pod {
    let mut pod = from_template(&template(set), namespace(&set.metadata), controller_ref(set));
    pod.metadata.generate_name = Some(format!("{}-", name(&set.metadata)));
    pod
}

/// Decides.
pub fn plan(view: &View<'_>) -> Plan {
    let active: Vec<&Arc<Pod>> = view.pods.iter().filter(|pod| is_active(pod)).collect();
    let status = status(view, &active);
    let mut plan = Plan { steps: Vec::new(), status, recheck: None };
    let min_ready = view.set.spec.min_ready_seconds.unwrap_or_default();
    if min_ready > 0 && plan.status.ready_replicas != plan.status.available_replicas {
        plan.recheck = Some(seconds(min_ready));
    }
    if terminating(&view.set.metadata) {
        return plan;
    }
    let wanted = usize::try_from(desired(view.set)).unwrap_or_default();
    if active.len() < wanted {
        let missing = wanted - active.len();
        plan.steps.extend(std::iter::repeat_n(Step::Create(Box::new(pod(view.set))), missing));
    } else {
        let many = active.len() - wanted;
        let crowds = crowds(view.related);
        let mut order = active;
        order.sort_by_cached_key(|pod| worth(pod, &crowds, view.now));
        plan.steps.extend(order.into_iter().take(many).map(|pod| Step::Delete(Arc::clone(pod))));
    }
    plan
}

fn status(view: &View<'_>, active: &[&Arc<Pod>]) -> ReplicaSetStatus {
    let count =
        |is: &dyn Fn(&Pod) -> bool| i32::try_from(active.iter().filter(|pod| is(pod)).count()).unwrap_or(i32::MAX);
    let wanted = template(view.set).metadata.and_then(|meta| meta.labels).unwrap_or_default();
    let labelled = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    };
    let min_ready = view.set.spec.min_ready_seconds.unwrap_or_default();
    let leaving = view.pods.iter().filter(|pod| terminating(&pod.metadata) && !is_finished(pod)).count();
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: Some(count(&labelled)),
        ready_replicas: Some(count(&is_ready)),
        available_replicas: Some(count(&|pod| is_available(pod, min_ready, view.now))),
        terminating_replicas: i32::try_from(leaving).ok(),
        observed_generation: view.set.metadata.generation,
        conditions: view.set.status.as_ref().and_then(|status| status.conditions.clone()),
    }
}

/// How many active pods of the deployment are on each node.
fn crowds(related: &[Arc<Pod>]) -> BTreeMap<&str, usize> {
    let mut crowds = BTreeMap::new();
    for node in related.iter().filter(|pod| is_active(pod)).filter_map(|pod| node_name(pod)) {
        *crowds.entry(node).or_default() += 1;
    }
    crowds
}

/// What is worth least comes first: unassigned, pending, not ready, cheap, crowded, young.
type Worth = (bool, u8, bool, i32, Reverse<usize>, i64, Reverse<i32>, i64, String);

fn worth(pod: &Pod, crowds: &BTreeMap<&str, usize>, now: Timestamp) -> Worth {
    let state = match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod.metadata.annotations.as_ref().and_then(|all| all.get(DELETION_COST)?.parse().ok()).unwrap_or(0);
    let crowd = node_name(pod).and_then(|node| crowds.get(node)).copied().unwrap_or(0);
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts = statuses.map(|status| status.restart_count).max().unwrap_or(0);
    let ready = ready_since(pod);
    (
        node_name(pod).is_some(),
        state,
        ready.is_some(),
        cost,
        Reverse(crowd),
        rank(ready, now),
        Reverse(restarts),
        rank(moment(pod.metadata.creation_timestamp.as_ref()), now),
        uid(&pod.metadata).to_string(),
    )
}

/// `logarithmicRankDiff`: the power of two of the time since then, so that pods of about the same age are equal.
fn rank(since: Option<Timestamp>, now: Timestamp) -> i64 {
    let age = since.map_or(Duration::ZERO, |since| between(since, now)).as_nanos();
    age.checked_ilog2().map_or(-1, i64::from)
}
