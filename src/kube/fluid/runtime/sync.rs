//! What a round does for a runtime that is set up: numbers, replicas, health, mounts, labels, in upstream's order.
//!
//! An error leaves the rest of the round out, and what the dataset shows stays at its last value. That is upstream's too,
//! and worth a scenario: a frozen row is not a true one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::health::judge;
use super::mounts::outdated;
use super::row::cache_states;
use super::{Controller, RoundError, RuntimeKind};
use crate::base::ByteSize;
use crate::base::planted::{Bug, planted};
use crate::kube::fluid::api::{CALCULATING, Dataset, DatasetPhase};
use crate::kube::fluid::chart::Blueprint;
use crate::kube::kind::ObjectKey;
use crate::rt::time::Instant;

impl<K: RuntimeKind> Controller<K> {
    pub(super) async fn sync(&mut self, key: &ObjectKey, dataset: &Dataset, b: &Blueprint) -> Result<(), RoundError> {
        let permitted = self.permitted(key);
        if permitted {
            self.sync_metadata(key, dataset).await?;
        }
        self.scale_workers(key, b).await?;
        self.check_health(key, b).await?;
        if permitted {
            self.update_phases(key, b).await?;
        }
        self.update_cache(key).await?;
        self.remount(key, dataset).await?;
        if permitted {
            self.label_nodes(b).await?;
        }
        Ok(())
    }

    /// At most one look every so often.
    fn permitted(&mut self, key: &ObjectKey) -> bool {
        let (now, min) = (Instant::now(), self.config.sync_min);
        let engine = self.engines.entry(key.clone()).or_default();
        let due = engine.synced_at.is_none_or(|at| now.duration_since(at) >= min);
        if due {
            engine.synced_at = Some(now);
        }
        due
    }

    /// Takes over the count once it is done. A count that failed is begun anew.
    async fn sync_metadata(&mut self, key: &ObjectKey, dataset: &Dataset) -> Result<(), RoundError> {
        let engine = self.engines.entry(key.clone()).or_default();
        let Some(counting) = engine.counting.take_if(|counting| counting.is_finished()) else {
            return self.begin_count(key, dataset).await;
        };
        let Ok(Ok(content)) = counting.await else { return self.begin_count(key, dataset).await };
        self.update_dataset(key, |status| {
            if status.ufs_total.is_empty() || status.ufs_total == CALCULATING {
                status.ufs_total = ByteSize(content.bytes).to_string();
                status.file_num = content.files.to_string();
            }
        })
        .await?;
        Ok(())
    }

    async fn check_health(&self, key: &ObjectKey, b: &Blueprint) -> Result<(), RoundError> {
        let health = judge(b.profile.health, self.masters(b).await?, self.workers(b).await?);
        if let Some(error) = health.error.clone().filter(|_| planted(Bug::StatusWriteSkipped)) {
            return Err(RoundError::Unhealthy(error));
        }
        if health.error.is_some() && b.profile.unhealthy_written {
            self.update_phases(key, b).await?;
        }
        self.update_dataset(key, |status| {
            if status.phase != DatasetPhase::Updating {
                status.phase = health.dataset;
            }
        })
        .await?;
        health.error.map_or(Ok(()), |error| Err(RoundError::Unhealthy(error)))
    }

    async fn update_cache(&self, key: &ObjectKey) -> Result<(), RoundError> {
        let capacity = self.probe.capacity(&Self::master(key)).await?;
        let dataset = self.datasets.find(key).await?;
        let status = dataset.as_ref().and_then(|dataset| dataset.status.as_ref());
        let total = status.and_then(|status| status.ufs_total.parse::<ByteSize>().ok());
        let states: BTreeMap<_, _> = cache_states(K::FLAVOR, capacity, total.map(|total| total.0));
        self.update_status(key, |status| status.cache_states.clone_from(&states)).await?;
        self.update_dataset(key, |status| status.cache_states.clone_from(&states)).await?;
        Ok(())
    }

    /// Makes the mounts again if master 0 began anew since they were made, or if the dataset asks for others.
    async fn remount(&self, key: &ObjectKey, dataset: &Dataset) -> Result<(), RoundError> {
        let status = self.status(key).await?;
        let master = Self::master(key);
        let pod: Option<Pod> = self.client.find(&master.namespace, &master.name).await?;
        let started = pod.as_ref().and_then(|pod| started(pod, &master.container));
        let mounted = status.mount_time.as_ref().map(|time| time.0);
        let began_anew = outdated(mounted, started) && !planted(Bug::MountsOnlyInSetup);
        if !began_anew && status.mounts == dataset.spec.mounts {
            return Ok(());
        }
        self.update_dataset(key, |status| status.phase = DatasetPhase::Updating).await?;
        self.mount_all(key, dataset).await?;
        let now = crate::kube::clock::time_now();
        self.update_status(key, |status| status.mount_time = Some(now.clone())).await?;
        self.update_dataset(key, |status| {
            status.phase = DatasetPhase::Bound;
            status.mounts.clone_from(&dataset.spec.mounts);
        })
        .await?;
        Ok(())
    }
}

/// When a container of the pod was started.
fn started(pod: &Pod, container: &str) -> Option<Timestamp> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let own = statuses.iter().find(|status| status.name == container)?;
    own.state.as_ref()?.running.as_ref()?.started_at.as_ref().map(|time| time.0)
}
