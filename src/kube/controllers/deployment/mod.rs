//! The Deployment controller: ReplicaSets for one template after the other.
//!
//! The loop around [`plan`]. Its sets have names that follow from their template, so that a second one is refused by the API
//! server, and a set is replaced only in the version that was seen: stale caches cost a conflict, never a pod too many.

pub mod plan;
pub mod sets;
pub mod status;

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::core::params::DeleteParams;
use serde_json::json;

use self::plan::{Plan, Step, View};
use super::meta::{controlled_by, name, namespace, owner_key, uid};
use super::replicaset::plan::desired;
use super::shared::{Shared, absent_is_fine, feed, only, work};
use crate::kube::client::{ApiError, EventRecorder, EventType, Patch, QueueConfig, WorkQueue};
use crate::kube::clock;
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::Duration;

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeploymentConfig {
    /// Delays after errors.
    pub delays: QueueConfig,
}

struct Controller {
    shared: Shared,
    events: EventRecorder,
}

/// Runs the controller.
pub async fn run(shared: Shared, config: DeploymentConfig) -> Infallible {
    let (queue, scope) = (WorkQueue::new(config.delays), Scope::new());
    feed(&scope, &shared.deployments, &queue, |event| vec![event.key()]);
    feed(&scope, &shared.replica_sets, &queue, |event| {
        owner_key(&event.object().metadata, "Deployment").into_iter().collect()
    });
    // Recreate waits for the last old pod to go.
    let sets = shared.replica_sets.clone();
    feed(&scope, &shared.pods, &queue, move |event| {
        let gone = matches!(event, crate::kube::client::InformerEvent::Deleted(_));
        let set = owner_key(&event.object().metadata, "ReplicaSet").filter(|_| gone).and_then(|key| sets.get_key(&key));
        set.and_then(|set| owner_key(&set.metadata, "Deployment")).into_iter().collect()
    });
    let events = EventRecorder::new(&shared.client, "deployment-controller", "");
    let controller = Controller { shared, events };
    work("deployment", &queue, |key| controller.sync(key)).await
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, ApiError> {
        let Some(deployment) = self.shared.deployments.get_key(&key) else { return Ok(None) };
        let mut sets = self.shared.replica_sets.list_in(&key.namespace);
        sets.retain(|set| controlled_by(&set.metadata, &deployment.metadata));
        let pods = self
            .shared
            .pods_in(&key.namespace, |pod| sets.iter().any(|set| controlled_by(&pod.metadata, &set.metadata)));
        let view = View { deployment: &deployment, sets: &sets, pods: &pods, now: clock::now() };
        let Plan { steps, mut status, recheck } = plan::plan(&view);
        let mut numbered = None;
        for step in steps {
            match step {
                Step::Create(set) if !self.create(&deployment, &set).await? => {
                    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
                }
                Step::Create(_) => {}
                Step::Replace(set) => self.replace(&deployment, &sets, &set).await?,
                Step::Delete(set) => {
                    let params = DeleteParams { preconditions: only(uid(&set.metadata)), ..DeleteParams::default() };
                    let gone = self.shared.client.delete::<ReplicaSet>(&key.namespace, name(&set.metadata), &params);
                    absent_is_fine(gone.await)?;
                }
                Step::Number(number) => numbered = Some(number),
            }
        }
        let mut current = Deployment::clone(&deployment);
        if let Some(number) = numbered {
            let annotations = json!({ sets::REVISION: number.to_string() });
            let patch = json!({ "metadata": { "uid": uid(&deployment.metadata), "annotations": annotations } });
            let patched = self.shared.client.patch(&key.namespace, &key.name, &Patch::Merge(patch)).await?;
            current = Arc::unwrap_or_clone(patched);
        }
        if current.status.as_ref() != Some(&status) {
            current.status = Some(status);
            self.shared.client.replace_status(&current).await?;
        }
        Ok(recheck)
    }

    /// Makes a set. False if its name is that of a set of another template: then the next hash must differ.
    async fn create(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<bool, ApiError> {
        match self.shared.client.create(set).await {
            Ok(_) => {
                self.tell(deployment, set, 0);
                Ok(true)
            }
            Err(error) if error.is_already_exists() => {
                let there: ReplicaSet = self.shared.client.get(namespace(&set.metadata), name(&set.metadata)).await?;
                let same = controlled_by(&there.metadata, &deployment.metadata)
                    && sets::split(deployment, &[Arc::new(there)]).0.is_some();
                Ok(same)
            }
            Err(error) => Err(error),
        }
    }

    async fn replace(
        &self,
        deployment: &Deployment,
        sets: &[Arc<ReplicaSet>],
        set: &ReplicaSet,
    ) -> Result<(), ApiError> {
        self.shared.client.replace(set).await?;
        let before = sets.iter().find(|old| old.metadata.uid == set.metadata.uid).map_or(0, |old| desired(old));
        self.tell(deployment, set, before);
        Ok(())
    }

    fn tell(&self, deployment: &Deployment, set: &ReplicaSet, before: i32) {
        let (name, after) = (name(&set.metadata), desired(set));
        if before != after {
            let way = if after > before { "up" } else { "down" };
            let said = format!("Scaled {way} replica set {name} from {before} to {after}");
            self.events.event(deployment, EventType::Normal, "ScalingReplicaSet", said);
        }
    }
}
