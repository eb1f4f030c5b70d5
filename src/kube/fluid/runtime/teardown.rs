//! The end of a runtime: volume, cache, release, labels, ports; then the dataset is free again.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Service};
use kube::core::params::DeleteParams;
use serde_json::json;

use super::{Controller, RoundError, RuntimeKind};
use crate::kube::client::{ApiError, Patch};
use crate::kube::fluid::api::{Dataset, DatasetPhase, DatasetStatus};
use crate::kube::fluid::chart::{Blueprint, PortSet};
use crate::kube::kind::{ApiObject, ObjectKey};

impl<K: RuntimeKind> Controller<K> {
    pub(super) async fn tear_down(&mut self, key: &ObjectKey, runtime: &K) -> Result<(), RoundError> {
        if !Self::is_kept(runtime) {
            return Ok(());
        }
        let dataset = self.datasets.find(key).await?;
        let standing = dataset.map_or_else(|| nameless(key), Arc::unwrap_or_clone);
        let ports = self.engines.get(key).and_then(|engine| engine.ports).unwrap_or(PortSet::native(K::FLAVOR));
        let blueprint = runtime.blueprint(&standing, self.config.profile, ports);
        self.remove::<PersistentVolumeClaim>(&blueprint.namespace, &blueprint.name).await?;
        self.remove::<PersistentVolume>("", &blueprint.profile.volume(&blueprint.namespace, &blueprint.name)).await?;
        for _ in 0..self.config.clean_tries {
            if self.probe.free(&Self::master(key)).await.is_ok() {
                break;
            }
        }
        self.uninstall(&blueprint).await?;
        self.unlabel_nodes(&blueprint).await?;
        if let Some(ports) = self.engines.remove(key).and_then(|engine| engine.ports) {
            self.ports.give_back(ports.list());
        }
        self.release(key).await?;
        let kept: Vec<_> = runtime.meta().finalizers.iter().flatten().filter(|f| **f != Self::finalizer()).collect();
        let uid = &runtime.meta().uid;
        let patch = Patch::Merge(json!({ "metadata": { "uid": uid, "finalizers": kept } }));
        match self.runtimes.write(key, self.client.patch::<K>(&key.namespace, &key.name, &patch)).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn uninstall(&self, b: &Blueprint) -> Result<(), RoundError> {
        for object in b.objects().iter().rev() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            match object["kind"].as_str().unwrap_or_default() {
                "ConfigMap" => self.remove::<ConfigMap>(&b.namespace, name).await?,
                "Service" => self.remove::<Service>(&b.namespace, name).await?,
                "StatefulSet" => self.remove::<StatefulSet>(&b.namespace, name).await?,
                "DaemonSet" => self.remove::<DaemonSet>(&b.namespace, name).await?,
                other => return Err(RoundError::Chart(format!("the chart holds a {other}"))),
            }
        }
        Ok(())
    }

    /// The dataset waits for another runtime.
    async fn release(&self, key: &ObjectKey) -> Result<(), RoundError> {
        let change = |status: &mut DatasetStatus| {
            let (operations, references) = (status.operation_ref.clone(), status.dataset_ref.clone());
            *status = DatasetStatus {
                phase: DatasetPhase::NotBound,
                operation_ref: operations,
                dataset_ref: references,
                ..DatasetStatus::default()
            };
        };
        match self.update_dataset(key, change).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn remove<T: ApiObject>(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        match self.client.delete::<T>(namespace, name, &DeleteParams::background()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Stands for a dataset that is gone already.
fn nameless(key: &ObjectKey) -> Dataset {
    let mut dataset = Dataset::new(&key.name, Default::default());
    dataset.metadata.namespace = Some(key.namespace.clone());
    dataset
}
