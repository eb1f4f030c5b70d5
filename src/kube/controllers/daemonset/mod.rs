//! The DaemonSet controller: one pod on every node that fits.
//!
//! The loop around [`plan`]. Pods get generated names, so a round waits until the cache shows what the last one did.

pub mod template;

pub mod plan;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::apps::v1::DaemonSet;

use self::plan::{Plan, Step, View};
use super::expectations::Expectations;
use super::meta::{controlled_by, name, owner_key};
use super::revision::{History, Known, hash_of, history};
use super::shared::{Seen, Shared, feed, work};
use crate::base::lock;
use crate::kube::client::{ApiError, EventRecorder, EventType, InformerEvent, QueueConfig, WorkQueue};
use crate::kube::clock;
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant};

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaemonSetConfig {
    /// Delays after errors.
    pub delays: QueueConfig,
    /// Before a failed pod is replaced a second time on the same node; doubles. Upstream's `failedPodsBackoff`: 1 s.
    pub failed: Duration,
    /// The longest such delay: 15 minutes.
    pub failed_max: Duration,
    /// Pods made or deleted in one round at most: upstream's `BurstReplicas`.
    pub burst: usize,
}

impl Default for DaemonSetConfig {
    fn default() -> Self {
        Self {
            delays: QueueConfig::default(),
            failed: Duration::from_secs(1),
            failed_max: Duration::from_secs(900),
            burst: 250,
        }
    }
}

/// When failed pods were replaced, by set and node: the delay, and since when.
type Failed = BTreeMap<(ObjectKey, String), (Duration, Instant)>;

struct Controller {
    shared: Shared,
    events: EventRecorder,
    config: DaemonSetConfig,
    seen: Seen,
    expectations: Mutex<Expectations>,
    failed: Mutex<Failed>,
    /// Newest revisions of sets.
    known: Mutex<BTreeMap<ObjectKey, Known>>,
}

/// Runs the controller.
pub async fn run(shared: Shared, config: DaemonSetConfig) -> Infallible {
    let (queue, scope, seen) = (WorkQueue::new(config.delays), Scope::new(), Seen::default());
    feed(&scope, &shared.daemon_sets, &queue, |event| vec![event.key()]);
    let noted = seen.clone();
    feed(&scope, &shared.pods, &queue, move |event| {
        noted.note(event);
        owner_key(&event.object().metadata, "DaemonSet").into_iter().collect()
    });
    let sets = shared.daemon_sets.clone();
    feed(&scope, &shared.nodes, &queue, move |event| match event {
        // Labels, taints and cordons matter; heartbeats do not.
        InformerEvent::Modified(old, new) if old.spec == new.spec && old.metadata.labels == new.metadata.labels => {
            Vec::new()
        }
        _ => sets.with(|all| all.keys().cloned().collect()),
    });
    let (expectations, failed, known) = (Mutex::default(), Mutex::default(), Mutex::default());
    let events = EventRecorder::new(&shared.client, "daemonset-controller", "");
    let controller = Controller { shared, events, config, seen, expectations, failed, known };
    work("daemonset", &queue, |key| controller.sync(key)).await
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Option<Duration>, ApiError> {
        let now = Instant::now();
        let Some(set) = self.shared.daemon_sets.get_key(&key) else {
            lock(&self.expectations).forget(&key);
            lock(&self.known).remove(&key);
            lock(&self.failed).retain(|(set, _), _| *set != key);
            return Ok(None);
        };
        let seen = self.seen.version();
        let pods = self.shared.pods_in(&key.namespace, |pod| controlled_by(&pod.metadata, &set.metadata));
        if let Some(wait) = lock(&self.expectations).pending(&key, seen, pods.iter().map(|pod| &**pod), now) {
            return Ok(Some(wait));
        }
        let revision = self.revision(&key, &set).await?;
        let nodes = self.shared.nodes.list();
        let Plan { steps, waiting, status } = {
            let failed = lock(&self.failed);
            let free = |node: &str| {
                failed.get(&(key.clone(), node.to_string())).is_none_or(|(delay, since)| now >= *since + *delay)
            };
            let now = clock::now();
            let view = View { set: &set, revision: &revision, pods: &pods, nodes: &nodes, may_replace: &free, now };
            plan::plan(&view)
        };
        for step in steps.into_iter().take(self.config.burst) {
            self.carry_out(&key, &set, step).await?;
        }
        if set.status.as_ref() != Some(&status) {
            let mut written = DaemonSet::clone(&set);
            written.status = Some(status);
            self.shared.client.replace_status(&written).await?;
        }
        let again = |node: &String| {
            let failed = lock(&self.failed);
            failed.get(&(key.clone(), node.clone())).map(|(delay, since)| (*since + *delay).duration_since(now))
        };
        Ok(waiting.iter().filter_map(again).min())
    }

    /// The hash of the newest revision, which is written if it is new.
    async fn revision(&self, key: &ObjectKey, set: &Arc<DaemonSet>) -> Result<String, ApiError> {
        let mut revisions = self.shared.revisions.list_in(&key.namespace);
        revisions.retain(|revision| controlled_by(&revision.metadata, &set.metadata));
        if let Some(hash) = lock(&self.known).get(key).and_then(|known| known.hash(&**set, &revisions)) {
            return Ok(hash.to_owned());
        }
        let history = history(&**set, &set.spec.template, &revisions);
        let client = &self.shared.client;
        match &history {
            History::Is(revision) => {
                let known = Known::new(&**set, revisions, hash_of(revision));
                lock(&self.known).insert(key.clone(), known);
            }
            History::Renumber(revision) => drop(client.replace(&**revision).await?),
            History::Create(revision) => match client.create(&**revision).await {
                Err(error) if !error.is_already_exists() => return Err(error),
                _ => {}
            },
        }
        Ok(hash_of(history.update()).to_string())
    }

    async fn carry_out(&self, key: &ObjectKey, set: &DaemonSet, step: Step) -> Result<(), ApiError> {
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
                let now = Instant::now();
                lock(&self.expectations).deleted(key, &pod, now);
                if super::pod::is_finished(&pod)
                    && let Some(node) = template::target(&pod)
                {
                    self.note_failure(key, node, now);
                }
            }
        }
        Ok(())
    }

    /// The next failure on that node waits longer, unless the last was long ago.
    fn note_failure(&self, key: &ObjectKey, node: &str, now: Instant) {
        let mut failed = lock(&self.failed);
        let (delay, since) = failed.entry((key.clone(), node.into())).or_insert((Duration::ZERO, now));
        let quiet = now.duration_since(*since) > self.config.failed_max.saturating_mul(2);
        let next = if quiet { self.config.failed } else { delay.saturating_mul(2).max(self.config.failed) };
        (*delay, *since) = (next.min(self.config.failed_max), now);
    }
}
