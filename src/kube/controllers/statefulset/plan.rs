//! What a StatefulSet does next: a pure function of the set, its revisions, its pods and the time.
//!
//! Follows `stateful_set_control.go` (`updateStatefulSet`, `processReplica`, `processCondemned`) of Kubernetes 1.3x. Rule: an
//! ordinal whose pod object exists, in whatever state, gets no second pod; with OrderedReady nothing overtakes a pod that is not
//! running and ready. Differs: claims are always retained, and `maxUnavailable` is 1, as with upstream's default gates.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;

use super::identity;
use crate::kube::controllers::meta::{after, between, label, name, seconds, terminating};
use crate::kube::controllers::pod::{is_available, is_finished, is_running_and_ready, phase, ready_since};

/// A revision of the set's template.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Name of its ControllerRevision; the pods' `controller-revision-hash`.
    pub name: String,
    /// The template as it was then.
    pub template: PodTemplateSpec,
}

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The set.
    pub set: &'a StatefulSet,
    /// The pods that it controls.
    pub pods: &'a [Arc<Pod>],
    /// What `status.currentRevision` names.
    pub current: &'a Revision,
    /// What the spec says now.
    pub update: &'a Revision,
    /// Names of the claims in the set's namespace, sorted.
    pub claims: &'a [String],
    /// The wall clock.
    pub now: Timestamp,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make a claim that is missing.
    CreateClaim(Box<PersistentVolumeClaim>),
    /// Make a pod.
    Create(Box<Pod>),
    /// Give a pod its identity back.
    Update(Box<Pod>),
    /// Delete a pod, with the grace that it asks for.
    Delete(Arc<Pod>),
}

/// What to do, in order; an error ends the round.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// The status to write if it differs.
    pub status: StatefulSetStatus,
    /// Look again after this, because a ready pod becomes available then.
    pub recheck: Option<Duration>,
}

/// A member: there, or still to be made.
enum Replica {
    There(Arc<Pod>),
    Missing(Box<Pod>),
}

/// Decides.
pub fn plan(view: &View<'_>) -> Plan {
    let mut status = count(view);
    let mut steps = Vec::new();
    if !terminating(&view.set.metadata) {
        Round::new(view).run(&mut steps, &mut status);
    }
    complete_rollout(view.set, &mut status);
    Plan { steps, status, recheck: recheck(view) }
}

/// One look at all members.
struct Round<'a> {
    view: &'a View<'a>,
    monotonic: bool,
    min_ready: i32,
    start: i32,
    replicas: Vec<Replica>,
    /// Members beyond the wanted ordinals, the highest first.
    condemned: Vec<(i32, Arc<Pod>)>,
}

impl<'a> Round<'a> {
    fn new(view: &'a View<'a>) -> Self {
        let set = view.set;
        let (start, replicas) = identity::ordinals(set);
        let of = |pod: &Arc<Pod>| identity::ordinal(name(&set.metadata), name(&pod.metadata));
        let wanted = start..start.saturating_add(replicas);
        let member = |ordinal| {
            let there = view.pods.iter().find(|pod| of(pod) == Some(ordinal));
            there.map_or_else(|| Replica::Missing(Box::new(fresh(view, ordinal))), |pod| Replica::There(pod.clone()))
        };
        let mut condemned: Vec<_> = view.pods.iter().filter_map(|pod| Some((of(pod)?, pod.clone()))).collect();
        condemned.retain(|(ordinal, _)| !wanted.contains(ordinal));
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        Self {
            view,
            monotonic: set.spec.pod_management_policy.as_deref() != Some("Parallel"),
            min_ready: set.spec.min_ready_seconds.unwrap_or_default(),
            start,
            replicas: wanted.map(member).collect(),
            condemned,
        }
    }

    fn run(&self, steps: &mut Vec<Step>, status: &mut StatefulSetStatus) {
        for (ordinal, replica) in (self.start..).zip(&self.replicas) {
            let blocked = match replica {
                Replica::Missing(pod) => self.create(pod, ordinal, steps),
                Replica::There(pod) => self.keep(pod, ordinal, steps),
            };
            if blocked && self.monotonic {
                return;
            }
        }
        let first_unavailable = self.first_unavailable();
        for (_, pod) in &self.condemned {
            // With OrderedReady: one at a time, and only the first broken member may go while it is broken.
            let stuck =
                terminating(&pod.metadata) || !self.available(pod) && first_unavailable != Some(name(&pod.metadata));
            let waits = self.monotonic && stuck;
            if !terminating(&pod.metadata) && !waits {
                steps.push(Step::Delete(pod.clone()));
            }
            if self.monotonic {
                return;
            }
        }
        self.roll(steps, status);
    }

    /// Makes a missing member. It blocks those after it.
    fn create(&self, pod: &Pod, ordinal: i32, steps: &mut Vec<Step>) -> bool {
        self.create_claims(ordinal, steps);
        steps.push(Step::Create(Box::new(pod.clone())));
        true
    }

    fn create_claims(&self, ordinal: i32, steps: &mut Vec<Step>) {
        let missing = |claim: &PersistentVolumeClaim| {
            self.view.claims.binary_search_by(|known| known.as_str().cmp(name(&claim.metadata))).is_err()
        };
        let claims = identity::claims(self.view.set, ordinal).into_iter().filter(missing);
        steps.extend(claims.map(|claim| Step::CreateClaim(Box::new(claim))));
    }

    /// Looks after a member that is there. Tells whether it blocks those after it.
    fn keep(&self, pod: &Arc<Pod>, ordinal: i32, steps: &mut Vec<Step>) -> bool {
        if is_finished(pod) {
            // The next round makes it anew, once the object is gone.
            if !terminating(&pod.metadata) {
                steps.push(Step::Delete(pod.clone()));
            }
            return true;
        }
        if phase(pod) == "Pending" {
            self.create_claims(ordinal, steps);
        }
        if self.monotonic && (terminating(&pod.metadata) || !is_running_and_ready(pod) || !self.available(pod)) {
            return true;
        }
        if !identity::matches(self.view.set, pod, ordinal) && !terminating(&pod.metadata) {
            let mut mended = Pod::clone(pod);
            identity::identify(self.view.set, &mut mended, ordinal);
            steps.push(Step::Update(Box::new(mended)));
        }
        false
    }

    /// The rolling update: the highest ordinal that is not at the update revision goes, if all above it are available.
    fn roll(&self, steps: &mut Vec<Step>, status: &mut StatefulSetStatus) {
        let strategy = self.view.set.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let above = usize::try_from(partition(self.view.set).unwrap_or_default()).unwrap_or_default();
        for replica in self.replicas.iter().skip(above).rev() {
            // A member made in this round is not available yet.
            let Replica::There(pod) = replica else { return };
            let old = label(&pod.metadata, identity::REVISION) != Some(&self.view.update.name);
            if old && !terminating(&pod.metadata) {
                status.current_replicas = status.current_replicas.map(|current| current - 1);
                if !steps.contains(&Step::Delete(pod.clone())) {
                    steps.push(Step::Delete(pod.clone()));
                }
                return;
            }
            if terminating(&pod.metadata) || !self.available(pod) {
                return;
            }
        }
    }

    fn available(&self, pod: &Pod) -> bool {
        is_running_and_ready(pod) && is_available(pod, self.min_ready, self.view.now)
    }

    /// The first member, from the lowest ordinal, that is missing, on its way out or not available.
    fn first_unavailable(&self) -> Option<&str> {
        let wanted = self.replicas.iter().map(|replica| match replica {
            Replica::There(pod) => &**pod,
            Replica::Missing(pod) => &**pod,
        });
        let all = wanted.chain(self.condemned.iter().rev().map(|(_, pod)| &**pod));
        let mut broken = all.filter(|pod| terminating(&pod.metadata) || !self.available(pod));
        broken.next().map(|pod| name(&pod.metadata))
    }
}

/// A member to be made, at the revision that its ordinal is due: below the partition the current one.
fn fresh(view: &View<'_>, ordinal: i32) -> Pod {
    let (start, _) = identity::ordinals(view.set);
    let old = partition(view.set).is_some_and(|partition| ordinal < start.saturating_add(partition));
    let revision = if old { view.current } else { view.update };
    identity::pod(view.set, &revision.template, &revision.name, ordinal)
}

/// The partition of a RollingUpdate.
fn partition(set: &StatefulSet) -> Option<i32> {
    let strategy = set.spec.update_strategy.as_ref()?;
    let rolling = strategy.type_.as_deref() != Some("OnDelete");
    strategy.rolling_update.as_ref().filter(|_| rolling)?.partition
}

/// The counters over the pods that are there.
fn count(view: &View<'_>) -> StatefulSetStatus {
    let min_ready = view.set.spec.min_ready_seconds.unwrap_or_default();
    let number = |counts: &dyn Fn(&Pod) -> bool| {
        i32::try_from(view.pods.iter().filter(|pod| counts(pod)).count()).unwrap_or(i32::MAX)
    };
    let at = |revision: &Revision| {
        number(&|pod| !terminating(&pod.metadata) && label(&pod.metadata, identity::REVISION) == Some(&revision.name))
    };
    let old = view.set.status.as_ref();
    StatefulSetStatus {
        replicas: number(&|_| true),
        ready_replicas: Some(number(&is_running_and_ready)),
        available_replicas: Some(number(&|pod| is_running_and_ready(pod) && is_available(pod, min_ready, view.now))),
        current_replicas: Some(at(view.current)),
        updated_replicas: Some(at(view.update)),
        current_revision: Some(view.current.name.clone()),
        update_revision: Some(view.update.name.clone()),
        observed_generation: view.set.metadata.generation,
        collision_count: Some(old.and_then(|status| status.collision_count).unwrap_or_default()),
        conditions: old.and_then(|status| status.conditions.clone()),
    }
}

/// Ends a rolling update: when all members are updated and ready, the update revision is the current one.
fn complete_rollout(set: &StatefulSet, status: &mut StatefulSetStatus) {
    let strategy = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    let wanted = Some(set.spec.replicas.unwrap_or(1));
    let done = [status.updated_replicas, status.ready_replicas, Some(status.replicas)].iter().all(|n| *n == wanted);
    if strategy != Some("OnDelete") && done {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
}

/// When the next ready pod becomes available.
fn recheck(view: &View<'_>) -> Option<Duration> {
    let min_ready = view.set.spec.min_ready_seconds.filter(|seconds| *seconds > 0)?;
    let due = |pod: &Arc<Pod>| Some(after(ready_since(pod)?, seconds(min_ready)));
    let next = view.pods.iter().filter_map(due).filter(|due| *due > view.now).min()?;
    Some(between(view.now, next))
}
