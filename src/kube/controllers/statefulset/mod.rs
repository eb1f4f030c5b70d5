//! The StatefulSet controller: stable members, made and replaced in order.
//!
//! The loop around [`plan`]: a change of a set or of one of its pods brings the set into the queue; one round carries out one
//! plan. Nothing is remembered between rounds, so a restarted controller goes on where the other was.

pub mod identity;

pub mod plan;

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::core::params::DeleteParams;

use self::plan::{Plan, Revision, Step, View};
use super::meta::{controlled_by, label, name, namespace, owner_key};
use super::revision::{History, history, outdated, template};
use super::shared::{Shared, absent_is_fine, feed, work};
use crate::kube::client::{ApiError, EventRecorder, EventType, QueueConfig, WorkQueue};
use crate::kube::clock;
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::Duration;

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatefulSetConfig {
    /// Delays after errors.
    pub delays: QueueConfig,
    /// Old revisions that are kept, where the set does not say: upstream's default of `revisionHistoryLimit`.
    pub history: usize,
}

impl Default for StatefulSetConfig {
    fn default() -> Self {
        Self { delays: QueueConfig::default(), history: 10 }
    }
}

/// Runs the controller.
pub async fn run(shared: Shared, config: StatefulSetConfig) -> Infallible {
    let (queue, scope) = (WorkQueue::new(config.delays), Scope::new());
    feed(&scope, &shared.stateful_sets, &queue, |event| vec![event.key()]);
    feed(&scope, &shared.pods, &queue, |event| {
        owner_key(&event.object().metadata, "StatefulSet").into_iter().collect()
    });
    let events = EventRecorder::new(&shared.client, "statefulset-controller", "");
    work("statefulset", &queue, |key| sync(&shared, &events, config, key)).await
}

async fn sync(
    shared: &Shared,
    events: &EventRecorder,
    config: StatefulSetConfig,
    key: ObjectKey,
) -> Result<Option<Duration>, ApiError> {
    let Some(set) = shared.stateful_sets.get_key(&key) else { return Ok(None) };
    let pods = shared.pods_in(&key.namespace, |pod| controlled_by(&pod.metadata, &set.metadata));
    let mut revisions = shared.revisions.list_in(&key.namespace);
    revisions.retain(|revision| controlled_by(&revision.metadata, &set.metadata));

    let history = history(&*set, &set.spec.template, &revisions);
    record(shared, &history).await?;
    let update = Revision { name: name(&history.update().metadata).into(), template: set.spec.template.clone() };
    let current = current(&set, &revisions).unwrap_or_else(|| update.clone());
    let claims: Vec<String> =
        shared.claims.list_in(&key.namespace).iter().map(|claim| name(&claim.metadata).to_string()).collect();
    let view = View { set: &set, pods: &pods, current: &current, update: &update, claims: &claims, now: clock::now() };
    let Plan { steps, status, recheck } = plan::plan(&view);

    let mut result = Ok(());
    for step in steps {
        result = carry_out(shared, &step).await;
        record_event(events, &set, &step, result.as_ref().err());
        if result.is_err() {
            break;
        }
    }
    // Even if a step failed: the counters are of what was there before.
    if set.status.as_ref() != Some(&status) {
        let mut written = StatefulSet::clone(&set);
        written.status = Some(status);
        shared.client.replace_status(&written).await?;
    }
    result?;
    prune(shared, &set, &revisions, &pods, [&current.name, &update.name], config.history).await?;
    Ok(recheck)
}

/// Writes a revision that is new, or is the newest again.
async fn record(shared: &Shared, history: &History) -> Result<(), ApiError> {
    match history {
        History::Is(_) => Ok(()),
        History::Renumber(revision) => shared.client.replace(&**revision).await.map(drop),
        // A cache that does not show it yet is no error.
        History::Create(revision) => match shared.client.create(&**revision).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        },
    }
}

/// The revision that the status calls current.
fn current(set: &StatefulSet, revisions: &[Arc<ControllerRevision>]) -> Option<Revision> {
    let wanted = set.status.as_ref()?.current_revision.clone()?;
    let found = revisions.iter().find(|revision| name(&revision.metadata) == wanted)?;
    Some(Revision { template: template(found)?, name: wanted })
}

/// What `kubectl describe` shows of a step. That a name was taken already is no news.
fn record_event(events: &EventRecorder, set: &StatefulSet, step: &Step, error: Option<&ApiError>) {
    let (verb, kind, meta) = match step {
        Step::CreateClaim(claim) => ("create", "Claim", &claim.metadata),
        Step::Create(pod) => ("create", "Pod", &pod.metadata),
        Step::Update(pod) => ("update", "Pod", &pod.metadata),
        Step::Delete(pod) => ("delete", "Pod", &pod.metadata),
    };
    let what = format!("{verb} {kind} {} in StatefulSet {}", name(meta), name(&set.metadata));
    let reason = verb[..1].to_uppercase() + &verb[1..];
    match error {
        None => events.event(set, EventType::Normal, &format!("Successful{reason}"), format!("{what} successful")),
        Some(error) if error.is_already_exists() => {}
        Some(error) => {
            events.event(set, EventType::Warning, &format!("Failed{reason}"), format!("{what} failed error: {error}"));
        }
    }
}

async fn carry_out(shared: &Shared, step: &Step) -> Result<(), ApiError> {
    match step {
        Step::CreateClaim(claim) => match shared.client.create(&**claim).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        },
        Step::Create(pod) => {
            tracing::info!(pod = name(&pod.metadata), "create");
            shared.client.create(&**pod).await.map(drop)
        }
        Step::Update(pod) => shared.client.replace(&**pod).await.map(drop),
        Step::Delete(pod) => {
            tracing::info!(pod = name(&pod.metadata), "delete");
            shared.delete_pod(pod).await
        }
    }
}

async fn prune(
    shared: &Shared,
    set: &StatefulSet,
    revisions: &[Arc<ControllerRevision>],
    pods: &[Arc<Pod>],
    named: [&str; 2],
    default: usize,
) -> Result<(), ApiError> {
    let limit = set.spec.revision_history_limit.map_or(default, |limit| usize::try_from(limit).unwrap_or_default());
    let mut live: Vec<&str> = pods.iter().filter_map(|pod| label(&pod.metadata, identity::REVISION)).collect();
    live.extend(named);
    for old in outdated(revisions, &live, limit) {
        let (namespace, name, params) = (namespace(&old.metadata), name(&old.metadata), DeleteParams::default());
        absent_is_fine(shared.client.delete::<ControllerRevision>(namespace, name, &params).await)?;
    }
    Ok(())
}
