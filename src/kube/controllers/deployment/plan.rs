//! What a Deployment does next: a pure function of the deployment, its ReplicaSets, their pods and the time.
//!
//! Follows `deployment/{sync,rolling,recreate}.go` of Kubernetes 1.3x. One call takes one step as one of upstream's syncs does; the
//! next comes with the event of what was done. Differs: the spec's `rollbackTo` was removed upstream and is not here; an
//! orphaned ReplicaSet is not adopted.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::sets::{
    self, DESIRED, asked, available, fences, max_unavailable, recreates, replicas, resized, revision, room_for_new,
};
use super::status::{complete, counted, judge_available, judge_progress};
use crate::kube::controllers::meta::{controlled_by, name, terminating};
use crate::kube::controllers::pod::is_finished;
use crate::kube::controllers::replicaset::plan::desired;

/// What the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The deployment.
    pub deployment: &'a Deployment,
    /// The sets that it controls.
    pub sets: &'a [Arc<ReplicaSet>],
    /// The pods of those sets.
    pub pods: &'a [Arc<Pod>],
    /// The wall clock.
    pub now: Timestamp,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the set of a new template. If its name is taken by a set of another template, the hash collides.
    Create(Box<ReplicaSet>),
    /// Replace a set by this: other replicas or annotations.
    Replace(Box<ReplicaSet>),
    /// Delete an old set that has no pods.
    Delete(Arc<ReplicaSet>),
    /// Write the number of the rollout to the deployment.
    Number(i64),
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// The status to write if it differs.
    pub status: DeploymentStatus,
    /// Look again after this, for the deadline.
    pub recheck: Option<Duration>,
}

/// Decides.
pub fn plan(view: &View<'_>) -> Plan {
    let deployment = view.deployment;
    let (mut new, old) = sets::split(deployment, view.sets);
    let mut steps = Vec::new();
    let paused = deployment.spec.paused == Some(true);
    if !terminating(&deployment.metadata) {
        if paused || is_scaling(view) {
            scale(deployment, new.as_ref(), &old, &mut steps);
        } else if recreates(deployment) {
            recreate(view, &mut new, &old, &mut steps);
        } else {
            number(deployment, new.as_ref(), &old, &mut steps);
            roll(deployment, &mut new, &old, &mut steps);
        }
    }
    let mut status = counted(deployment, new.as_ref(), view.sets);
    judge_available(deployment, &mut status, view.now);
    let recheck = if paused { None } else { judge_progress(deployment, new.as_ref(), &mut status, view.now) };
    if steps.is_empty() && !terminating(&deployment.metadata) && complete(deployment, &status) {
        clean_up(deployment, &old, &mut steps);
    }
    Plan { steps, status, recheck }
}

/// Whether the wanted number changed since a set was scaled last: `isScalingEvent`.
fn is_scaling(view: &View<'_>) -> bool {
    let wanted = replicas(view.deployment).to_string();
    let active = view.sets.iter().filter(|set| desired(set) > 0);
    active.filter_map(|set| set.metadata.annotations.as_ref()?.get(DESIRED)).any(|noted| *noted != wanted)
}

/// Numbers the rollout: one more than the newest of the old ones.
fn number(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    old: &[Arc<ReplicaSet>],
    steps: &mut Vec<Step>,
) -> i64 {
    let next = old.iter().map(|set| revision(&set.metadata)).max().unwrap_or(0).saturating_add(1);
    let number = new.map_or(next, |set| revision(&set.metadata).max(next));
    if let Some(set) = new {
        let mut copy = ReplicaSet::clone(set);
        let renumbered = sets::set_revision(&mut copy.metadata, number);
        let min_ready = deployment.spec.min_ready_seconds;
        let changed = std::mem::replace(&mut copy.spec.min_ready_seconds, min_ready) != min_ready;
        if renumbered || changed {
            steps.push(Step::Replace(Box::new(copy)));
        }
    }
    if revision(&deployment.metadata) != number {
        steps.push(Step::Number(number));
    }
    number
}

/// Scales a set unless it is that large already. Tells whether it does.
fn resize(deployment: &Deployment, set: &ReplicaSet, to: i32, steps: &mut Vec<Step>) -> bool {
    let other = desired(set) != to;
    let next = if other { resized(deployment, set, to) } else { None };
    steps.extend(next.map(Step::Replace));
    other
}

/// The rolling update: new pods as far as the surge allows, then old ones away as far as enough stay available.
fn roll(deployment: &Deployment, new: &mut Option<Arc<ReplicaSet>>, old: &[Arc<ReplicaSet>], steps: &mut Vec<Step>) {
    // What was renumbered is scaled with the next event.
    if steps.iter().any(|step| matches!(step, Step::Replace(_))) {
        return;
    }
    let Some(set) = new else {
        let room = room_for_new(deployment, asked(old), 0);
        create(deployment, room, old, steps);
        return;
    };
    let (wanted, size) = (replicas(deployment), desired(set));
    let all = asked(old).saturating_add(size);
    let next = if size > wanted { wanted } else { room_for_new(deployment, all, size) };
    if resize(deployment, set, next, steps) || asked(old) == 0 {
        return;
    }
    let least = wanted - max_unavailable(deployment);
    let serving = available(std::slice::from_ref(set));
    let mut room = all - least - (size - serving);
    if room <= 0 {
        return;
    }
    // Broken old pods first: nobody misses them.
    let mut sizes: Vec<i32> = old.iter().map(|set| desired(set)).collect();
    for (set, size) in old.iter().zip(&mut sizes) {
        let broken = *size - available(std::slice::from_ref(set));
        let gone = broken.clamp(0, room);
        (*size, room) = (*size - gone, room - gone);
    }
    let mut room = (available(old) + serving - least).max(0);
    for size in &mut sizes {
        let gone = (*size).min(room);
        (*size, room) = (*size - gone, room - gone);
    }
    for (set, size) in old.iter().zip(sizes) {
        resize(deployment, set, size, steps);
    }
}

/// Old pods go, all of them, before new ones come.
fn recreate(view: &View<'_>, new: &mut Option<Arc<ReplicaSet>>, old: &[Arc<ReplicaSet>], steps: &mut Vec<Step>) {
    let deployment = view.deployment;
    for set in old {
        resize(deployment, set, 0, steps);
    }
    let of_old = |pod: &&Arc<Pod>| old.iter().any(|set| controlled_by(&pod.metadata, &set.metadata));
    if !steps.is_empty() || view.pods.iter().filter(of_old).any(|pod| !is_finished(pod)) {
        return;
    }
    number(deployment, new.as_ref(), old, steps);
    match new {
        None => create(deployment, replicas(deployment), old, steps),
        Some(set) if steps.is_empty() => {
            resize(deployment, set, replicas(deployment), steps);
        }
        Some(_) => {}
    }
}

fn create(deployment: &Deployment, replicas: i32, old: &[Arc<ReplicaSet>], steps: &mut Vec<Step>) {
    let number = old.iter().map(|set| revision(&set.metadata)).max().unwrap_or(0).saturating_add(1);
    steps.push(Step::Create(sets::made(deployment, replicas, number)));
}

/// Another number of replicas, or a pause: the only set, or all in proportion.
fn scale(deployment: &Deployment, new: Option<&Arc<ReplicaSet>>, old: &[Arc<ReplicaSet>], steps: &mut Vec<Step>) {
    let wanted = replicas(deployment);
    let all: Vec<&Arc<ReplicaSet>> = old.iter().chain(new).collect();
    let active: Vec<_> = all.iter().copied().filter(|set| desired(set) > 0).collect();
    if active.len() <= 1 {
        let newest = active.first().copied().or(new).or_else(|| old.last());
        if let Some(set) = newest {
            steps.extend(resized(deployment, set, wanted).map(Step::Replace));
        }
        return;
    }
    let noted = |set: &ReplicaSet| set.metadata.annotations.as_ref()?.get(DESIRED)?.parse::<i32>().ok();
    let saturated = |set: &Arc<ReplicaSet>| {
        desired(set) == wanted && noted(set) == Some(wanted) && available(std::slice::from_ref(set)) == wanted
    };
    if new.is_some_and(saturated) {
        for set in old {
            resize(deployment, set, 0, steps);
        }
        return;
    }
    if recreates(deployment) {
        return;
    }
    let allowed = if wanted > 0 { wanted.saturating_add(fences(deployment).0) } else { 0 };
    let to_add = allowed - asked(active.iter().copied());
    // The larger first; of equal ones the newer grows first and the older shrinks first. `all` is from old to new.
    let mut order: Vec<(usize, &Arc<ReplicaSet>)> = active.into_iter().enumerate().collect();
    order.sort_by_key(|(age, set)| {
        let age = i64::try_from(*age).unwrap_or(i64::MAX);
        (std::cmp::Reverse(desired(set)), if to_add > 0 { -age } else { age })
    });
    let mut sizes = Vec::new();
    let mut added = 0;
    for (_, set) in &order {
        let share = if to_add == 0 { 0 } else { sets::proportion(deployment, set, to_add, added) };
        added += share;
        sizes.push(desired(set).saturating_add(share));
    }
    if let Some(first) = sizes.first_mut() {
        *first = first.saturating_add(to_add - added).max(0);
    }
    for ((_, set), size) in order.into_iter().zip(sizes) {
        steps.extend(resized(deployment, set, size).map(Step::Replace));
    }
}

/// Old sets without pods beyond `revisionHistoryLimit`, the oldest rollouts first.
fn clean_up(deployment: &Deployment, old: &[Arc<ReplicaSet>], steps: &mut Vec<Step>) {
    let Some(limit) = deployment.spec.revision_history_limit else { return };
    let empty = |set: &&Arc<ReplicaSet>| {
        let there = set.status.as_ref().map_or(0, |status| status.replicas);
        let seen = set.status.as_ref().and_then(|status| status.observed_generation) >= set.metadata.generation;
        there == 0 && desired(set) == 0 && seen && !terminating(&set.metadata)
    };
    let mut alive: Vec<_> = old.iter().filter(|set| !terminating(&set.metadata)).collect();
    alive.sort_by_key(|set| (revision(&set.metadata), name(&set.metadata).to_string()));
    let many = alive.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    let gone = alive.into_iter().take(many).filter(empty);
    steps.extend(gone.map(|set| Step::Delete(Arc::clone(set))));
}
