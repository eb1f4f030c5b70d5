//! The ReplicaSet controller: as many pods as are asked for, none of them with a name of its own.
//!
//! The loop around [`plan`]. Pods get generated names, so a round waits until the cache shows what the last one did.

pub mod plan;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;

use self::plan::{Plan, Step, View};
use super::expectations::Expectations;
use super::meta::{controlled_by, controller_of, name, owner_key};
use super::shared::{Seen, Shared, feed, work};
use crate::base::lock;
use crate::kube::client::{ApiError, EventRecorder, EventType, QueueConfig, WorkQueue};
use crate::kube::clock;
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant};

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaSetConfig {
    /// Delays after errors.
    pub delays: QueueConfig,
    /// Pods made or deleted in one round at most: upstream's `BurstReplicas`.
    pub burst: usize,
}

impl Default for ReplicaSetConfig {
    fn default() -> Self {
        Self { delays: QueueConfig::default(), burst: 500 }
    }
}

struct Controller {
    shared: Shared,
    events: EventRecorder,
    config: ReplicaSetConfig,
    seen: Seen,
    expectations: Mutex<Expectations>,
}

/// Runs the controller.
pub async fn run(shared: Shared, config: ReplicaSetConfig) -> Infallible {
    let (queue, scope, seen) = (WorkQueue::new(config.delays), Scope::new(), Seen::default());
    feed(&scope, &shared.replica_sets, &queue, |event| vec![event.key()]);
    let noted = seen.clone();
    feed(&scope, &shared.pods, &queue, move |event| {
        noted.note(event);
        owner_key(&event.object().metadata, "ReplicaSet").into_iter().collect()
    });
    let events = EventRecorder::new(&shared.client, "replicaset-controller", "");
    let controller = Controller { shared, events, config, seen, expectations: Mutex::default() };
    work("replicaset", &queue, |key| controller.sync(key)).await
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, ApiError> {
        let Some(set) = self.shared.replica_sets.get_key(&key) else {
            lock(&self.expectations).forget(&key);
            return Ok(None);
        };
        let seen = self.seen.version();
        let pods = self.shared.pods_in(&key.namespace, |pod| controlled_by(&pod.metadata, &set.metadata));
        let pending = lock(&self.expectations).pending(&key, seen, pods.iter().map(|pod| &**pod), Instant::now());
        if let Some(wait) = pending {
            return Ok(Some(wait));
        }
        let related = self.related(&key, &set);
        let view = View { set: &set, pods: &pods, related: &related, now: clock::now() };
        let Plan { steps, status, recheck } = plan::plan(&view);
        for step in steps.into_iter().take(self.config.burst) {
            self.carry_out(&key, &set, step).await?;
        }
        if set.status.as_ref() != Some(&status) {
            let mut written = ReplicaSet::clone(&set);
            written.status = Some(status);
            self.shared.client.replace_status(&written).await?;
        }
        Ok(recheck)
    }

    /// Pods of all sets of the same owner.
    fn related(&self, key: &ObjectKey, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let Some(owner) = controller_of(&set.metadata) else {
            return self.shared.pods_in(&key.namespace, |pod| controlled_by(&pod.metadata, &set.metadata));
        };
        let mut siblings = self.shared.replica_sets.list_in(&key.namespace);
        siblings.retain(|other| controller_of(&other.metadata).is_some_and(|of| of.uid == owner.uid));
        self.shared
            .pods_in(&key.namespace, |pod| siblings.iter().any(|set| controlled_by(&pod.metadata, &set.metadata)))
    }

    async fn carry_out(&self, key: &ObjectKey, set: &ReplicaSet, step: Step) -> Result<(), ApiError> {
        match step {
            Step::Create(pod) => {
                let made = self.shared.client.create(&*pod).await?;
                let said = format!("Created pod: {}", name(&made.metadata));
                self.events.event(set, EventType::Normal, "SuccessfulCreate", said);
                lock(&self.expectations).created(key, &made, Instant::now());
            }
            Step::Delete(pod) => {
                self.shared.delete_pod(&pod).await?;
                let said = format!("Deleted pod: {}", name(&pod.metadata));
                self.events.event(set, EventType::Normal, "SuccessfulDelete", said);
                lock(&self.expectations).deleted(key, &pod, Instant::now());
            }
        }
        Ok(())
    }
}
