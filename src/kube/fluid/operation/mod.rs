//! The controllers of operations on datasets: DataLoad and DataBackup. They run in `dataset-controller`.
//!
//! Follows `pkg/controllers/operation_controller.go` and `pkg/ddc/base/operate.go` of fluid-cloudnative/fluid: an operation is
//! pending until its dataset is bound, nobody else holds the lock and the cache serves; then something runs for it, and what
//! that comes to is how it ended. The lock is given back whichever way it ends, and when the operation is deleted.

pub mod chart;
pub mod kind;
pub mod lock;
pub mod program;
pub mod work;

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::core::params::DeleteParams;
use serde_json::json;

use self::kind::Outcome;
use self::work::{Progress, Work};
use super::api::{
    AlluxioRuntime, Condition, Dataset, DatasetStatus, GooseFsRuntime, JindoRuntime, OperationPhase, OperationStatus,
};
use super::flavor::Flavor;
use super::probe::{CacheProbe, PodRef, ProbeError};
use super::profile::{Profile, SecondOperation};
use crate::kube::client::{ApiError, Client, EventRecorder, EventType, Informer, Patch, WorkQueue};
use crate::kube::clock;
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::Duration;

/// The controllers' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationConfig {
    /// Differences by version.
    pub profile: Profile,
    /// Between two looks at an operation that waits or runs: 20 s.
    pub retry: Duration,
}

impl Default for OperationConfig {
    fn default() -> Self {
        Self { profile: Profile::V1_0, retry: Duration::from_secs(20) }
    }
}

/// Why a round ended early. All of them are tried again later.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The API server refused, or did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The cache did not answer.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Something of this name belongs to somebody else.
    #[error("the {0} is there already")]
    Taken(String),
    /// The pod of the master is on no node, or has no address.
    #[error("no master to ask")]
    NoMaster,
    /// An object of the chart is none of Kubernetes'. Only a bug here can cause that.
    #[error("{0}")]
    Chart(String),
}

/// What an operation is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The dataset.
    pub dataset: Dataset,
    /// The cache that it is bound to.
    pub flavor: Flavor,
    /// Masters of that.
    pub masters: u32,
    /// Workers of that.
    pub workers: u32,
    /// The container that is asked: that of master 0.
    pub master: PodRef,
}

struct Controller {
    client: Client,
    probe: Arc<dyn CacheProbe>,
    config: OperationConfig,
    events: EventRecorder,
}

/// Runs the controller of one kind of operation.
pub async fn run<K: Work>(client: Client, probe: Arc<dyn CacheProbe>, config: OperationConfig) -> Infallible {
    let operations = Informer::<K>::all(&client);
    let events = EventRecorder::new(&client, &format!("{}-controller", K::kind(&()).to_lowercase()), "");
    let queue = WorkQueue::<ObjectKey>::default();
    let feeder = Scope::new();
    let (mut changes, keys) = (operations.subscribe(), queue.clone());
    feeder.spawn("operation-events", async move {
        let _kept = operations;
        while let Some(event) = changes.recv().await {
            keys.add(event.key());
        }
    });
    let controller = Controller { client, probe, config, events };
    loop {
        let key = queue.get().await;
        match controller.reconcile::<K>(&key).await {
            Ok(next) => {
                queue.forget(&key);
                if let Some(wait) = next {
                    queue.add_after(key.clone(), wait);
                }
            }
            Err(error) => {
                tracing::warn!(operation = %key, %error, "round ended early");
                queue.add_after(key.clone(), config.retry);
            }
        }
        queue.done(&key);
    }
}

impl Controller {
    async fn reconcile<K: Work>(&self, key: &ObjectKey) -> Result<Option<Duration>, OperationError> {
        let Some(operation) = self.client.find::<K>(&key.namespace, &key.name).await? else { return Ok(None) };
        if operation.meta().deletion_timestamp.is_some() {
            operation.clean(&self.client).await?;
            self.unlock(&operation).await?;
            return self.let_go(&operation).await.map(|()| None);
        }
        let status = operation.status();
        if matches!(status.phase, OperationPhase::Complete | OperationPhase::Failed) {
            self.unlock(&operation).await?;
            return self.expire(&operation, &status).await;
        }
        let Some(target) = self.target(&operation).await? else { return Ok(Some(self.config.retry)) };
        if self.adopt(&operation, &target.dataset).await? {
            return Ok(Some(Duration::ZERO));
        }
        match status.phase {
            OperationPhase::None => {
                self.update::<K>(key, |status| {
                    status.phase = OperationPhase::Pending;
                    status.duration = "Unfinished".into();
                })
                .await?;
                Ok(Some(Duration::ZERO))
            }
            OperationPhase::Pending => self.begin(key, &operation, &target).await,
            _ => self.go_on(key, &operation, &target).await,
        }
    }

    /// The dataset and its cache; `None` with an event while there is none.
    async fn target<K: Work>(&self, operation: &K) -> Result<Option<Target>, OperationError> {
        let (namespace, name) = operation.dataset();
        let Some(dataset) = self.client.find::<Dataset>(&namespace, &name).await? else {
            let message = format!("Target dataset not found: {namespace}/{name}");
            self.events.event(operation, EventType::Warning, "TargetDatasetNotFound", message);
            return Ok(None);
        };
        let bound = dataset.status.as_ref().and_then(|status| status.runtimes.first().cloned());
        let flavor = bound.as_ref().and_then(|bound| Flavor::ALL.into_iter().find(|f| f.word() == bound.type_));
        let (Some(bound), Some(flavor)) = (bound, flavor) else {
            let message = "Bounded accelerate runtime not ready";
            self.events.event(operation, EventType::Normal, "RuntimeNotReady", message);
            return Ok(None);
        };
        let workers = match flavor {
            Flavor::Alluxio => self.client.find::<AlluxioRuntime>(&namespace, &name).await?.map(|r| r.spec.replicas),
            Flavor::GooseFs => self.client.find::<GooseFsRuntime>(&namespace, &name).await?.map(|r| r.spec.replicas),
            Flavor::Jindo => self.client.find::<JindoRuntime>(&namespace, &name).await?.map(|r| r.spec.replicas),
        };
        let master = PodRef::master(flavor, &namespace, &name);
        let workers = workers.unwrap_or(0);
        Ok(Some(Target { dataset, flavor, masters: bound.master_replicas, workers, master }))
    }

    /// From pending to executing, if nothing is in the way.
    async fn begin<K: Work>(
        &self,
        key: &ObjectKey,
        operation: &K,
        target: &Target,
    ) -> Result<Option<Duration>, OperationError> {
        if let Err((reason, message)) = operation.check(target.flavor) {
            return self.fail::<K>(key, reason, message).await;
        }
        if self.probe.ready(&target.master).await.is_err() {
            let message = "Bounded accelerate runtime not ready";
            self.events.event(operation, EventType::Normal, "RuntimeNotReady", message);
            return Ok(Some(self.config.retry));
        }
        let rule = self.config.profile.second_operation;
        let mut dataset = target.dataset.clone();
        let status = dataset.status.get_or_insert_default();
        let before = status.operation_ref.clone();
        if let Err(others) = lock::take(&mut status.operation_ref, K::TYPE, &key.name, rule) {
            if K::CONFLICT_FAILS && rule == SecondOperation::WaitOrFail {
                let message = format!("Found other {} that is in Executing phase", K::TYPE);
                return self.fail::<K>(key, &format!("conflict{}Ref", K::TYPE), message).await;
            }
            let message = format!("Found other {}({others}) that is in Executing phase, will backoff", K::TYPE);
            self.events.event(operation, EventType::Normal, "DataOperationCollision", message);
            return Ok(Some(self.config.retry));
        }
        if status.operation_ref != before {
            // In the version that was seen: of two that try, one loses and looks again.
            match self.client.replace_status(&dataset).await {
                Err(error) if error.is_conflict() => return Ok(Some(self.config.retry)),
                other => drop(other?),
            }
        }
        self.update::<K>(key, |status| status.phase = OperationPhase::Executing).await?;
        Ok(Some(Duration::ZERO))
    }

    async fn fail<K: Work>(
        &self,
        key: &ObjectKey,
        reason: &str,
        message: String,
    ) -> Result<Option<Duration>, OperationError> {
        let now = clock::now();
        let (reason, node) = (reason.to_string(), String::new());
        let outcome = Outcome { complete: false, reason, message, began: now, ended: now, node };
        self.end::<K>(key, &outcome, &[]).await
    }

    async fn go_on<K: Work>(
        &self,
        key: &ObjectKey,
        operation: &K,
        target: &Target,
    ) -> Result<Option<Duration>, OperationError> {
        let profile = &self.config.profile;
        match operation.advance(&self.client, &*self.probe, target, profile).await? {
            Progress::Begun(name) => {
                let message = format!("The {} job {name} started", K::TYPE);
                self.events.event(operation, EventType::Normal, &format!("{}JobStarted", K::TYPE), message);
                Ok(Some(self.config.retry))
            }
            Progress::Running => Ok(Some(self.config.retry)),
            Progress::Ended(outcome) => {
                let word = if outcome.complete { "succeeded" } else { "failed" };
                let reason = format!("{}{}", K::TYPE, if outcome.complete { "Succeed" } else { "Failed" });
                let message = format!("{} {} {word}", K::TYPE, key.name);
                self.events.event(operation, EventType::Normal, &reason, message);
                let infos = if outcome.complete { operation.infos(&outcome.node) } else { Vec::new() };
                self.end::<K>(key, &outcome, &infos).await
            }
        }
    }

    async fn end<K: Work>(
        &self,
        key: &ObjectKey,
        outcome: &Outcome,
        infos: &[(String, String)],
    ) -> Result<Option<Duration>, OperationError> {
        let phase = if outcome.complete { OperationPhase::Complete } else { OperationPhase::Failed };
        self.update::<K>(key, |status| {
            status.phase = phase;
            status.duration = lock::duration(outcome.began, outcome.ended);
            status.infos.extend(infos.iter().cloned());
            status.conditions = vec![Condition {
                type_: if outcome.complete { "Complete" } else { "Failed" }.into(),
                status: "True".into(),
                reason: outcome.reason.clone(),
                message: outcome.message.clone(),
                last_update_time: None,
                last_probe_time: Some(clock::time_now()),
                last_transition_time: Some(Time(outcome.ended)),
            }];
        })
        .await?;
        Ok(Some(Duration::ZERO))
    }

    /// Deletes what ended long ago.
    async fn expire<K: Work>(
        &self,
        operation: &K,
        status: &OperationStatus,
    ) -> Result<Option<Duration>, OperationError> {
        let Some(ttl) = operation.ttl() else { return Ok(None) };
        let ended = status.conditions.first().and_then(|condition| condition.last_transition_time.as_ref());
        let age = ended.map_or(0, |time| clock::now().as_second() - time.0.as_second());
        if let Ok(left @ 1..) = u64::try_from(i64::from(ttl) - age) {
            return Ok(Some(Duration::from_secs(left)));
        }
        let (namespace, name) = place(operation);
        match self.client.delete::<K>(&namespace, &name, &DeleteParams::background()).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(None),
        }
    }

    /// The dataset owns its operations; the finalizer keeps them until the lock is given back. Tells whether it wrote.
    async fn adopt<K: Work>(&self, operation: &K, dataset: &Dataset) -> Result<bool, OperationError> {
        let meta = operation.meta();
        let owned =
            meta.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == dataset.metadata.uid.as_ref());
        let kept = meta.finalizers.iter().flatten().any(|finalizer| finalizer == K::FINALIZER);
        // Only a dataset of its own namespace can own it; another one is refused later.
        let foreign = meta.namespace != dataset.metadata.namespace;
        if (owned || foreign) && kept {
            return Ok(false);
        }
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        finalizers.extend((!kept).then(|| K::FINALIZER.to_string()));
        let mut patch = json!({ "metadata": { "resourceVersion": meta.resource_version, "finalizers": finalizers } });
        if !foreign {
            patch["metadata"]["ownerReferences"] = json!([{
                "apiVersion": Dataset::api_version(&()), "kind": Dataset::kind(&()),
                "name": dataset.metadata.name, "uid": dataset.metadata.uid,
            }]);
        }
        let (namespace, name) = place(operation);
        self.client.patch::<K>(&namespace, &name, &Patch::Merge(patch)).await?;
        Ok(true)
    }

    async fn let_go<K: Work>(&self, operation: &K) -> Result<(), OperationError> {
        let kept: Vec<_> = operation.meta().finalizers.iter().flatten().filter(|f| *f != K::FINALIZER).collect();
        let (namespace, name) = place(operation);
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": kept } }));
        match self.client.patch::<K>(&namespace, &name, &patch).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Gives the lock back, if the dataset is still there.
    async fn unlock<K: Work>(&self, operation: &K) -> Result<(), OperationError> {
        let ((namespace, name), (_, own)) = (operation.dataset(), place(operation));
        let key = ObjectKey::new(namespace, name);
        let change = |status: &mut DatasetStatus| lock::give_back(&mut status.operation_ref, K::TYPE, &own);
        match super::update::dataset(&self.client, &key, None, change).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn update<K: Work>(&self, key: &ObjectKey, change: impl Fn(&mut OperationStatus)) -> Result<(), ApiError> {
        let change = |operation: &mut K| change(operation.status_mut());
        super::update::status(&self.client, key, None, K::status, change).await.map(drop)
    }
}

fn place<K: Work>(operation: &K) -> (String, String) {
    let meta = operation.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
