//! The scheduler's loop: changes in, decisions made, calls out.
//!
//! One pod at a time is decided, without waiting for anything; bindings, events and statuses are written beside it. The
//! first pod is looked at when every cache has its first list. All that is remembered can be lost: a new scheduler reads it
//! from the API.

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass};
use kube::core::params::DeleteParams;
use serde_json::json;

use super::bind::bind;
use super::cache::{Cache, has_ended};
use super::config::SchedulerConfig;
use super::event::ClusterEvent;
use super::message::FitError;
use super::place::{Nominated, Placement, View, place};
use super::pod::{Key, PodInfo, key_of};
use super::preempt::{Preemption, overruled, preempt};
use super::queue::Queue;
use super::snapshot::AssumedClaim;
use super::tell::Teller;
use crate::base::{SimTime, Stream};
use crate::kube::client::{Client, Informer, InformerEvent, Patch};
use crate::kube::clock::time_now;
use crate::kube::kind::ApiObject;
use crate::kube::volume::matching::is_bound;
use crate::rt::chan::mpsc;
use crate::rt::task::{Scope, spawn};
use crate::rt::time::{Instant, sleep};
use crate::rt::{Either, chance, select2};

/// What the loop hears.
enum Heard {
    Pod(InformerEvent<Pod>),
    Node(InformerEvent<Node>),
    Claim(InformerEvent<PersistentVolumeClaim>),
    Volume(InformerEvent<PersistentVolume>),
    Class(InformerEvent<StorageClass>),
    CsiNode(InformerEvent<CSINode>),
    Namespace(InformerEvent<Namespace>),
    Service(InformerEvent<Service>),
    StatefulSet(InformerEvent<StatefulSet>),
    /// A binding ended; the text says why it failed. The uid tells pods of one name apart.
    Bound(Arc<PodInfo>, Result<String, String>),
}

/// Schedules for ever.
pub async fn run(client: Client, config: SchedulerConfig) -> Infallible {
    let (sender, mut heard) = mpsc::unbounded_channel();
    let scope = Scope::new();
    let claims = Informer::<PersistentVolumeClaim>::all(&client);
    let pods = Informer::<Pod>::all(&client);
    let ears = (
        hear(&scope, &client, &sender, Heard::Node).await,
        hear(&scope, &client, &sender, Heard::Volume).await,
        hear(&scope, &client, &sender, Heard::Class).await,
        hear(&scope, &client, &sender, Heard::CsiNode).await,
        hear(&scope, &client, &sender, Heard::Namespace).await,
        hear(&scope, &client, &sender, Heard::Service).await,
        hear(&scope, &client, &sender, Heard::StatefulSet).await,
    );
    listen(&scope, &claims, &sender, Heard::Claim).await;
    listen(&scope, &pods, &sender, Heard::Pod).await;
    let mut scheduler = Scheduler {
        queue: Queue::new(&config),
        cache: Cache::default(),
        nominated: Nominated::new(),
        start: 0,
        chance: chance::stream("scheduler"),
        began: Instant::now(),
        teller: Teller::new(&client, "default-scheduler"),
        claims,
        sender,
        client,
        config,
    };
    // The informers and their listeners live as long as the loop, which does not end.
    let _ears = (ears, pods, scope);
    loop {
        while let Ok(news) = heard.try_recv() {
            scheduler.hear(news);
        }
        let now = scheduler.now();
        if let Some(pod) = scheduler.queue.pop(now) {
            scheduler.schedule(&pod);
            continue;
        }
        let due = scheduler.queue.due();
        let wait = async {
            if due == SimTime::NEVER {
                std::future::pending::<()>().await;
            }
            sleep(due.since(now)).await;
        };
        if let Either::Left(Some(news)) = select2(heard.recv(), wait).await {
            scheduler.hear(news);
        }
    }
}

/// An informer whose events come as `Heard`, once it has its first list.
async fn hear<K: ApiObject>(
    scope: &Scope,
    client: &Client,
    sender: &mpsc::UnboundedSender<Heard>,
    wrap: fn(InformerEvent<K>) -> Heard,
) -> Informer<K> {
    let informer = Informer::all(client);
    listen(scope, &informer, sender, wrap).await;
    informer
}

async fn listen<K: ApiObject>(
    scope: &Scope,
    informer: &Informer<K>,
    sender: &mpsc::UnboundedSender<Heard>,
    wrap: fn(InformerEvent<K>) -> Heard,
) {
    informer.synced().await;
    let mut events = informer.subscribe();
    let sender = sender.clone();
    while let Ok(event) = events.try_recv() {
        let _ = sender.send(wrap(event));
    }
    scope.spawn("scheduler informer", async move {
        while let Some(event) = events.recv().await {
            if sender.send(wrap(event)).is_err() {
                return;
            }
        }
    });
}

struct Scheduler {
    client: Client,
    config: SchedulerConfig,
    queue: Queue,
    cache: Cache,
    nominated: Nominated,
    start: usize,
    chance: Stream,
    began: Instant,
    teller: Teller,
    claims: Informer<PersistentVolumeClaim>,
    sender: mpsc::UnboundedSender<Heard>,
}

impl Scheduler {
    fn now(&self) -> SimTime {
        SimTime::ZERO + self.began.elapsed()
    }

    fn hear(&mut self, news: Heard) {
        let event = match news {
            Heard::Pod(event) => self.hear_pod(&event),
            Heard::Node(InformerEvent::Deleted(node)) => {
                Some(self.cache.node_gone(node.metadata.name.as_deref().unwrap_or_default()))
            }
            Heard::Node(event) => self.cache.node(event.object().clone()),
            Heard::Claim(event) => self.hear_claim(&event),
            Heard::Volume(event) => {
                keep(&mut self.cache.catalog_mut().volumes, &event, |key| key.1);
                Some(ClusterEvent::Volume)
            }
            Heard::Class(event) => {
                keep(&mut self.cache.catalog_mut().classes, &event, |key| key.1);
                Some(ClusterEvent::Class)
            }
            Heard::CsiNode(event) => {
                keep(&mut self.cache.catalog_mut().csi_nodes, &event, |key| key.1);
                Some(ClusterEvent::CsiNode)
            }
            Heard::Namespace(event) => {
                let (name, labels) = (event.key().name, event.object().metadata.labels.clone());
                self.cache.catalog_mut().namespaces.insert(name, labels.unwrap_or_default());
                None
            }
            Heard::Service(event) => {
                keep(&mut self.cache.catalog_mut().services, &event, |key| key);
                None
            }
            Heard::StatefulSet(event) => {
                keep(&mut self.cache.catalog_mut().stateful_sets, &event, |key| key);
                None
            }
            Heard::Bound(pod, outcome) => self.hear_bound(&pod, outcome),
        };
        let now = self.now();
        if let Some(event) = event {
            let snapshot = self.cache.snapshot();
            self.queue.wake(now, |pod, plugin| event.wakes(plugin, pod, snapshot));
        }
    }

    fn hear_pod(&mut self, event: &InformerEvent<Pod>) -> Option<ClusterEvent> {
        let now = self.now();
        let pod = event.object();
        let key = key_of(pod);
        if matches!(event, InformerEvent::Deleted(_)) {
            self.queue.remove(&key);
            self.nominated.remove(&key);
            return self.cache.pod_gone(&key);
        }
        let spec = pod.spec.as_ref();
        let placed = spec.is_some_and(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()));
        let name = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler");
        if placed || has_ended(pod) || name != self.config.name || pod.metadata.deletion_timestamp.is_some() {
            self.queue.remove(&key);
            self.nominated.remove(&key);
        } else if !self.cache.has(&key) {
            let info = Arc::new(PodInfo::new(pod.clone()));
            let promised = pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
            if let Some(node) = promised.filter(|node| !node.is_empty()) {
                self.nominated.insert(key, (node, info.clone()));
            }
            self.queue.upsert(info, now);
        }
        self.cache.pod(pod)
    }

    fn hear_claim(&mut self, event: &InformerEvent<PersistentVolumeClaim>) -> Option<ClusterEvent> {
        let key = event.key();
        let key = (key.namespace, key.name);
        keep(&mut self.cache.catalog_mut().claims, event, |key| key);
        if is_bound(event.object()) || matches!(event, InformerEvent::Deleted(_)) {
            self.cache.release(&[key]);
        }
        Some(ClusterEvent::Claim)
    }

    fn hear_bound(&mut self, pod: &Arc<PodInfo>, outcome: Result<String, String>) -> Option<ClusterEvent> {
        let now = self.now();
        match outcome {
            Ok(node) => {
                let (namespace, name) = &pod.key;
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                self.teller.tell(&*pod.pod, false, "Scheduled", message);
                if self.is_current(pod) {
                    self.queue.remove(&pod.key);
                }
                None
            }
            Err(why) => {
                self.teller.tell(&*pod.pod, true, "FailedScheduling", why);
                if !self.cache.is_assumed(&pod.key) || !self.is_current(pod) {
                    return None;
                }
                self.cache.forget(&pod.key);
                self.queue.failed(&pod.key, Default::default(), now);
                Some(ClusterEvent::PodGone)
            }
        }
    }

    /// Whether the pod is still the one of that name.
    fn is_current(&self, pod: &PodInfo) -> bool {
        self.queue.get(&pod.key).is_some_and(|known| known.pod.metadata.uid == pod.pod.metadata.uid)
    }

    /// One pod's turn.
    fn schedule(&mut self, pod: &Arc<PodInfo>) {
        let view = View { snapshot: self.cache.snapshot(), nominated: &self.nominated, config: &self.config };
        match place(view, pod, &mut self.start, &mut self.chance) {
            Ok(placement) => self.take(pod, placement),
            Err(error) => self.fail(pod, error),
        }
    }

    /// The pod counts on its node from now on; the binding follows.
    fn take(&mut self, pod: &Arc<PodInfo>, placement: Placement) {
        let Placement { node, volumes } = placement;
        let found = volumes.bind.iter().map(|(claim, name)| (claim.clone(), AssumedClaim::Volume(name.clone())));
        let made = volumes.provision.iter().map(|claim| (claim.clone(), AssumedClaim::Provision(node.clone())));
        self.cache.assume(pod, &node, found.chain(made).collect());
        self.nominated.remove(&pod.key);
        let (client, claims, sender) = (self.client.clone(), self.claims.clone(), self.sender.clone());
        let (pod, patience) = (pod.clone(), self.config.bind_timeout);
        // Not in the scope: it would keep a handle of every binding for ever. It ends by itself.
        drop(spawn("binding", async move {
            let outcome = bind(&client, &claims, &pod, &node, &volumes, patience).await;
            let _ = sender.send(Heard::Bound(pod, outcome.map(|()| node).map_err(|error| error.to_string())));
        }));
    }

    /// No node will do: perhaps others have to go; in any case the user is told.
    fn fail(&mut self, pod: &Arc<PodInfo>, mut error: FitError) {
        let view = View { snapshot: self.cache.snapshot(), nominated: &self.nominated, config: &self.config };
        let outcome = match error.nodes {
            0 => Preemption::Nothing(String::new()),
            _ => preempt(view, pod, &error, &mut self.chance),
        };
        let mut promised = None;
        match outcome {
            Preemption::Nothing(text) => error.preemption = text,
            Preemption::Evict { node, victims } => {
                for other in overruled(&self.nominated, pod, &node) {
                    self.nominated.remove(&other.key);
                }
                self.nominated.insert(pod.key.clone(), (node.clone(), pod.clone()));
                victims.into_iter().for_each(|victim| self.evict(pod, &victim, &node));
                promised = Some(node);
            }
        }
        let now = self.now();
        self.queue.failed(&pod.key, error.plugins(), now);
        let message = error.to_string();
        self.teller.tell(&*pod.pod, true, "FailedScheduling", message.clone());
        let (client, (namespace, name)) = (self.client.clone(), pod.key.clone());
        let condition = json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastTransitionTime": time_now() });
        let mut status = json!({ "conditions": [condition] });
        if let Some(node) = promised {
            status["nominatedNodeName"] = node.into();
        }
        drop(spawn("pod status", async move {
            let patch = Patch::Strategic(json!({ "status": status }));
            if let Err(error) = client.patch_status::<Pod>(&namespace, &name, &patch).await {
                tracing::debug!(%error, namespace, name, "the pod's status was not written");
            }
        }));
    }

    fn evict(&self, pod: &PodInfo, victim: &Arc<PodInfo>, node: &str) {
        let uid = pod.pod.metadata.uid.as_deref().unwrap_or_default();
        self.teller.tell(&*victim.pod, false, "Preempted", format!("Preempted by pod {uid} on node {node}"));
        let (client, (namespace, name)) = (self.client.clone(), victim.key.clone());
        drop(spawn("preemption", async move {
            if let Err(error) = client.delete::<Pod>(&namespace, &name, &DeleteParams::default()).await {
                tracing::debug!(%error, namespace, name, "a victim was not deleted");
            }
        }));
    }
}

/// Keeps a map as the informer's cache is.
fn keep<I: Ord, K: ApiObject>(
    map: &mut std::collections::BTreeMap<I, Arc<K>>,
    event: &InformerEvent<K>,
    index: fn(Key) -> I,
) {
    let key = event.key();
    let key = index((key.namespace, key.name));
    match event {
        InformerEvent::Added(object) | InformerEvent::Modified(_, object) => drop(map.insert(key, object.clone())),
        InformerEvent::Deleted(_) => drop(map.remove(&key)),
    }
}
