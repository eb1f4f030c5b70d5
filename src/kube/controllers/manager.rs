//! kube-controller-manager: one program that runs the controllers.
//!
//! Rule: they share a client and caches and nothing else; each may be left out, as with `--controllers`. Differs: no leader
//! election, so there is one such program in a cluster.

use std::convert::Infallible;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::storage::v1::VolumeAttachment;

use super::daemonset::DaemonSetConfig;
use super::deployment::DeploymentConfig;
use super::endpoints::EndpointsConfig;
use super::garbage_collector::kinds::Objects;
use super::job::JobConfig;
use super::node_lifecycle::NodeLifecycleConfig;
use super::pod_gc::PodGcConfig;
use super::replicaset::ReplicaSetConfig;
use super::shared::Shared;
use super::statefulset::StatefulSetConfig;
use super::taint_eviction::TaintEvictionConfig;
use super::{
    daemonset, deployment, endpoints, garbage_collector, job, node_lifecycle, pod_gc, protection, replicaset,
    statefulset, taint_eviction,
};
use crate::kube::client::{Informers, QueueConfig};
use crate::rt::task::Scope;

/// A controller by upstream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// `deployment-controller`.
    Deployment,
    /// `replicaset-controller`.
    ReplicaSet,
    /// `statefulset-controller`.
    StatefulSet,
    /// `daemonset-controller`.
    DaemonSet,
    /// `job-controller`, and `ttl-after-finished-controller` with it.
    Job,
    /// `endpoints-controller`, and `endpointslice-controller` with it.
    Endpoints,
    /// `node-lifecycle-controller`.
    NodeLifecycle,
    /// `taint-eviction-controller`.
    TaintEviction,
    /// `pod-garbage-collector-controller`.
    PodGarbageCollector,
    /// `garbage-collector-controller`.
    GarbageCollector,
    /// `persistentvolumeclaim-protection-controller`, and that of volumes with it.
    Protection,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Deployment,
        Self::ReplicaSet,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Job,
        Self::Endpoints,
        Self::NodeLifecycle,
        Self::TaintEviction,
        Self::PodGarbageCollector,
        Self::GarbageCollector,
        Self::Protection,
    ];

    /// Upstream's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment-controller",
            Self::ReplicaSet => "replicaset-controller",
            Self::StatefulSet => "statefulset-controller",
            Self::DaemonSet => "daemonset-controller",
            Self::Job => "job-controller",
            Self::Endpoints => "endpoints-controller",
            Self::NodeLifecycle => "node-lifecycle-controller",
            Self::TaintEviction => "taint-eviction-controller",
            Self::PodGarbageCollector => "pod-garbage-collector-controller",
            Self::GarbageCollector => "garbage-collector-controller",
            Self::Protection => "persistentvolumeclaim-protection-controller",
        }
    }
}

/// Which controllers run, and their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerManagerConfig {
    /// Those that run.
    pub controllers: Vec<Controller>,
    /// Deployments.
    pub deployment: DeploymentConfig,
    /// ReplicaSets.
    pub replica_set: ReplicaSetConfig,
    /// StatefulSets.
    pub stateful_set: StatefulSetConfig,
    /// DaemonSets.
    pub daemon_set: DaemonSetConfig,
    /// Jobs.
    pub job: JobConfig,
    /// Endpoints.
    pub endpoints: EndpointsConfig,
    /// Nodes.
    pub node_lifecycle: NodeLifecycleConfig,
    /// Evictions by taint.
    pub taint_eviction: TaintEvictionConfig,
    /// Pods that nobody runs.
    pub pod_gc: PodGcConfig,
    /// Delays of the remaining ones after errors.
    pub delays: QueueConfig,
}

impl Default for ControllerManagerConfig {
    fn default() -> Self {
        Self {
            controllers: Controller::ALL.to_vec(),
            deployment: DeploymentConfig::default(),
            replica_set: ReplicaSetConfig::default(),
            stateful_set: StatefulSetConfig::default(),
            daemon_set: DaemonSetConfig::default(),
            job: JobConfig::default(),
            endpoints: EndpointsConfig::default(),
            node_lifecycle: NodeLifecycleConfig::default(),
            taint_eviction: TaintEvictionConfig::default(),
            pod_gc: PodGcConfig::default(),
            delays: QueueConfig::default(),
        }
    }
}

impl ControllerManagerConfig {
    /// All controllers but these.
    #[must_use]
    pub fn without(mut self, left_out: &[Controller]) -> Self {
        self.controllers.retain(|controller| !left_out.contains(controller));
        self
    }
}

/// What the garbage collector watches beside the shared caches.
fn objects(shared: &Shared, informers: &Informers) -> Objects {
    Objects::new(informers.client().clone())
        .with("Pod", true, &shared.pods)
        .with("Node", false, &shared.nodes)
        .with("Lease", true, &shared.leases)
        .with("Deployment", true, &shared.deployments)
        .with("ReplicaSet", true, &shared.replica_sets)
        .with("StatefulSet", true, &shared.stateful_sets)
        .with("DaemonSet", true, &shared.daemon_sets)
        .with("ControllerRevision", true, &shared.revisions)
        .with("Job", true, &shared.jobs)
        .with("Service", true, &shared.services)
        .with("Endpoints", true, &shared.endpoints)
        .with("EndpointSlice", true, &shared.slices)
        .with("PersistentVolumeClaim", true, &shared.claims)
        .with("PersistentVolume", false, &shared.volumes)
        .with("ConfigMap", true, &informers.of::<ConfigMap>())
        .with("Secret", true, &informers.of::<Secret>())
        .with("VolumeAttachment", false, &informers.of::<VolumeAttachment>())
}

/// Runs the program. `more` adds kinds that the garbage collector shall watch too, such as custom ones.
pub async fn run(
    informers: Informers,
    config: ControllerManagerConfig,
    more: impl FnOnce(&Informers, Objects) -> Objects,
) -> Infallible {
    let (shared, scope) = (Shared::start(&informers), Scope::new());
    shared.synced().await;
    let mut more = Some(more);
    for controller in &config.controllers {
        let (own, task) = (shared.clone(), controller.name());
        match controller {
            Controller::Deployment => drop(scope.spawn(task, deployment::run(own, config.deployment))),
            Controller::ReplicaSet => drop(scope.spawn(task, replicaset::run(own, config.replica_set))),
            Controller::StatefulSet => drop(scope.spawn(task, statefulset::run(own, config.stateful_set))),
            Controller::DaemonSet => drop(scope.spawn(task, daemonset::run(own, config.daemon_set))),
            Controller::Job => drop(scope.spawn(task, job::run(own, config.job))),
            Controller::Endpoints => drop(scope.spawn(task, endpoints::run(own, config.endpoints))),
            Controller::NodeLifecycle => drop(scope.spawn(task, node_lifecycle::run(own, config.node_lifecycle))),
            Controller::TaintEviction => drop(scope.spawn(task, taint_eviction::run(own, config.taint_eviction))),
            Controller::PodGarbageCollector => drop(scope.spawn(task, pod_gc::run(own, config.pod_gc))),
            Controller::Protection => drop(scope.spawn(task, protection::run(own, config.delays))),
            Controller::GarbageCollector => {
                let objects = objects(&shared, &informers);
                let objects = more
                    .take()
                    .map_or_else(|| Objects::new(informers.client().clone()), |more| more(&informers, objects));
                drop(scope.spawn(task, garbage_collector::run(objects, config.delays)));
            }
        }
    }
    std::future::pending().await
}
