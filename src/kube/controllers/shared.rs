//! What all controllers of one program share: the client and one cache per kind.
//!
//! Follows client-go's shared informer factory. A controller sees the cluster through these caches only, as late as they are; what
//! it must know for certain it asks the API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Endpoints, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::params::{DeleteParams, Preconditions};

use super::meta::{name, namespace, resource_version, uid};
use crate::kube::client::{ApiError, Client, Informer, InformerEvent, Informers, WorkQueue};
use crate::kube::kind::{ApiObject, ObjectKey};
use crate::rt::task::Scope;
use crate::rt::time::Duration;

/// Client and caches.
#[derive(Clone)]
pub struct Shared {
    /// To the API server.
    pub client: Client,
    /// Pods.
    pub pods: Informer<Pod>,
    /// Nodes.
    pub nodes: Informer<Node>,
    /// Leases, of nodes among others.
    pub leases: Informer<Lease>,
    /// Deployments.
    pub deployments: Informer<Deployment>,
    /// ReplicaSets.
    pub replica_sets: Informer<ReplicaSet>,
    /// StatefulSets.
    pub stateful_sets: Informer<StatefulSet>,
    /// DaemonSets.
    pub daemon_sets: Informer<DaemonSet>,
    /// Revisions of both.
    pub revisions: Informer<ControllerRevision>,
    /// Jobs.
    pub jobs: Informer<Job>,
    /// Services.
    pub services: Informer<Service>,
    /// Endpoints.
    pub endpoints: Informer<Endpoints>,
    /// Slices of endpoints.
    pub slices: Informer<EndpointSlice>,
    /// Claims.
    pub claims: Informer<PersistentVolumeClaim>,
    /// Volumes.
    pub volumes: Informer<PersistentVolume>,
}

impl Shared {
    /// Begins to fill the caches.
    pub fn start(informers: &Informers) -> Self {
        Self {
            pods: informers.of(),
            nodes: informers.of(),
            leases: informers.of(),
            deployments: informers.of(),
            replica_sets: informers.of(),
            stateful_sets: informers.of(),
            daemon_sets: informers.of(),
            revisions: informers.of(),
            jobs: informers.of(),
            services: informers.of(),
            endpoints: informers.of(),
            slices: informers.of(),
            claims: informers.of(),
            volumes: informers.of(),
            client: informers.client().clone(),
        }
    }

    /// Waits until every cache holds its first list.
    pub async fn synced(&self) {
        self.pods.synced().await;
        self.nodes.synced().await;
        self.leases.synced().await;
        self.deployments.synced().await;
        self.replica_sets.synced().await;
        self.stateful_sets.synced().await;
        self.daemon_sets.synced().await;
        self.revisions.synced().await;
        self.jobs.synced().await;
        self.services.synced().await;
        self.endpoints.synced().await;
        self.slices.synced().await;
        self.claims.synced().await;
        self.volumes.synced().await;
    }

    /// The pods of a namespace that `choose` wants.
    pub fn pods_in(&self, namespace: &str, choose: impl Fn(&Pod) -> bool) -> Vec<Arc<Pod>> {
        self.pods.with(|all| {
            let from = all.range(ObjectKey::new(namespace, "")..);
            let inside = from.take_while(|(key, _)| key.namespace == namespace).map(|(_, pod)| pod);
            inside.filter(|pod| choose(pod)).cloned().collect()
        })
    }

    /// Deletes a pod with the grace that it asks for. That it is gone already is fine.
    ///
    /// # Errors
    /// Any other refusal, or no answer.
    pub async fn delete_pod(&self, pod: &Pod) -> Result<(), ApiError> {
        let params = DeleteParams { preconditions: only(uid(&pod.metadata)), ..DeleteParams::default() };
        absent_is_fine(self.client.delete::<Pod>(namespace(&pod.metadata), name(&pod.metadata), &params).await)
    }
}

/// Only the object with that uid.
pub fn only(uid: &str) -> Option<Preconditions> {
    Some(Preconditions { uid: Some(uid.into()), resource_version: None })
}

/// What is gone already need not be deleted or changed.
///
/// # Errors
/// Any other.
pub fn absent_is_fine<T>(result: Result<T, ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Puts the keys that `keys` makes of each event into `queue`, for as long as the scope lives.
pub fn feed<K: ApiObject>(
    scope: &Scope,
    informer: &Informer<K>,
    queue: &WorkQueue<ObjectKey>,
    keys: impl Fn(&InformerEvent<K>) -> Vec<ObjectKey> + Send + 'static,
) {
    let (mut events, queue) = (informer.subscribe(), queue.clone());
    scope.spawn("informer events", async move {
        while let Some(event) = events.recv().await {
            keys(&event).into_iter().for_each(|key| queue.add(key));
        }
    });
}

/// The newest version that a controller's events have shown.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<AtomicU64>);

impl Seen {
    /// An event came.
    pub fn note<K: ApiObject>(&self, event: &InformerEvent<K>) {
        self.0.fetch_max(resource_version(event.object().meta()), Ordering::Relaxed);
    }

    /// That version.
    pub fn version(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Looks at one key after the other, for ever. `sync` tells when it wants to look again although nothing changed.
pub async fn work<F, Fut>(what: &'static str, queue: &WorkQueue<ObjectKey>, sync: F) -> std::convert::Infallible
where
    F: Fn(ObjectKey) -> Fut,
    Fut: Future<Output = Result<Option<Duration>, ApiError>>,
{
    loop {
        let key = queue.get().await;
        match sync(key.clone()).await {
            Ok(again) => {
                queue.forget(&key);
                if let Some(delay) = again {
                    queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                tracing::debug!(controller = what, %key, %error, "sync again");
                queue.add_rate_limited(key.clone());
            }
        }
        queue.done(&key);
    }
}
