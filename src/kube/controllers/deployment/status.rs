//! What a Deployment tells of its rollout: counts, and the conditions `Available` and `Progressing`.
//!
//! Follows `deployment/sync.go` (`calculateStatus`) and `deployment/progress.go` (`syncRolloutStatus`). A rollout that makes no
//! progress for `progressDeadlineSeconds` is told to have failed; nothing is undone.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::sets::{asked, available, max_unavailable, replicas, status as of_set};
use crate::kube::controllers::meta::{after, between, moment, name, seconds};

/// No deadline: upstream's `math.MaxInt32`.
const NO_DEADLINE: i32 = i32::MAX;

/// Counts of all sets.
pub fn counted(deployment: &Deployment, new: Option<&Arc<ReplicaSet>>, all: &[Arc<ReplicaSet>]) -> DeploymentStatus {
    let sum = |number: fn(&ReplicaSet) -> i32| all.iter().map(|set| number(set)).sum::<i32>();
    let available = available(all);
    let old = deployment.status.clone().unwrap_or_default();
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(|set| of_set(set, |status| Some(status.replicas)))),
        updated_replicas: Some(new.map_or(0, |set| of_set(set, |status| Some(status.replicas)))),
        ready_replicas: Some(sum(|set| of_set(set, |status| status.ready_replicas))),
        available_replicas: Some(available),
        unavailable_replicas: Some((asked(all) - available).max(0)),
        terminating_replicas: Some(sum(|set| of_set(set, |status| status.terminating_replicas))),
        collision_count: old.collision_count,
        conditions: old.conditions,
    }
}

/// All pods are new, none is missing and no old one is left: `DeploymentComplete`.
pub fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(replicas(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_.as_deref() == Some(type_))
}

/// Sets a condition; with the same status and reason as before it stays as it is, unless its time is to be `renewed`.
fn put(status: &mut DeploymentStatus, next: (&str, bool, &str, String), now: Timestamp, renewed: bool) {
    let (type_, holds, reason, message) = next;
    let word = if holds { "True" } else { "False" };
    let same = |old: &DeploymentCondition| old.status.as_deref() == Some(word);
    let before = find(status, type_).cloned();
    if !renewed && before.as_ref().is_some_and(|old| same(old) && old.reason.as_deref() == Some(reason)) {
        return;
    }
    let since = before.filter(same).and_then(|old| old.last_transition_time);
    let next = DeploymentCondition {
        type_: Some(type_.into()),
        status: Some(word.into()),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    };
    let all = status.conditions.get_or_insert_default();
    all.retain(|condition| condition.type_.as_deref() != Some(type_));
    all.push(next);
}

/// The condition `Available`.
pub fn judge_available(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let enough = status.available_replicas >= Some(replicas(deployment) - max_unavailable(deployment));
    let (reason, message) = if enough {
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    put(status, ("Available", enough, reason, message.into()), now, false);
}

/// The condition `Progressing`. Gives when its deadline is to be looked at.
pub fn judge_progress(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deployment.spec.progress_deadline_seconds.filter(|deadline| *deadline != NO_DEADLINE)?;
    let subject = match new {
        Some(set) => format!("ReplicaSet \"{}\"", name(&set.metadata)),
        None => format!("Deployment \"{}\"", name(&deployment.metadata)),
    };
    let reason = find(status, "Progressing").and_then(|condition| condition.reason.clone()).unwrap_or_default();
    let done = status.replicas == status.updated_replicas && reason == "NewReplicaSetAvailable";
    if done {
        return None;
    }
    if complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        put(status, ("Progressing", true, "NewReplicaSetAvailable", message), now, false);
        return None;
    }
    let before = deployment.status.clone().unwrap_or_default();
    if reason.is_empty() || progressed(&before, status) {
        // The same words again perhaps, but at a later time: what the deadline counts from.
        let message = format!("{subject} is progressing.");
        put(status, ("Progressing", true, "ReplicaSetUpdated", message), now, true);
        return Some(seconds(deadline));
    }
    let since = find(status, "Progressing").and_then(|condition| moment(condition.last_update_time.as_ref()));
    let end = after(since.unwrap_or(now), seconds(deadline));
    if reason == "ProgressDeadlineExceeded" {
        return None;
    }
    if end <= now {
        let message = format!("{subject} has timed out progressing.");
        put(status, ("Progressing", false, "ProgressDeadlineExceeded", message), now, false);
        return None;
    }
    Some(between(now, end))
}

/// Whether there are more new pods, fewer old ones or more that serve: `DeploymentProgressing`.
fn progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let number = |value: Option<i32>| value.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    number(after.updated_replicas) > number(before.updated_replicas)
        || old(after) < old(before)
        || number(after.ready_replicas) > number(before.ready_replicas)
        || number(after.available_replicas) > number(before.available_replicas)
}
