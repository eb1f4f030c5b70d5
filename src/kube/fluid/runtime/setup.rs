//! The setup of a runtime, step by step; each step is a no-op once it is done.
//!
//! The first time, all masters must be ready before anything is asked of them; later one is enough. That asymmetry is
//! upstream's.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::Secret;

use super::health::Pods;
use super::mounts;
use super::{Controller, RoundError, RuntimeKind};
use crate::kube::client::EventType;
use crate::kube::fluid::api::{CALCULATING, Dataset, DatasetPhase, Hcfs, RuntimePhase, RuntimeRef};
use crate::kube::fluid::backup::BackupLocation;
use crate::kube::fluid::chart::Blueprint;
use crate::kube::fluid::conditions;
use crate::kube::fluid::operation::lock::duration;
use crate::kube::fluid::profile::WorkerSet;
use crate::kube::kind::ObjectKey;

impl<K: RuntimeKind> Controller<K> {
    /// Goes on with the setup. True once the dataset is bound.
    pub(super) async fn set_up(
        &mut self,
        key: &ObjectKey,
        dataset: &Dataset,
        b: &Blueprint,
    ) -> Result<bool, RoundError> {
        let status = self.status(key).await?;
        if status.master_phase == RuntimePhase::None {
            self.install(b).await?;
            self.update_status(key, |status| {
                status.master_phase = RuntimePhase::NotReady;
                status.value_file = b.flavor.values(&b.name);
                status.selector = b.worker_selector();
                status.desired_master_number_scheduled = b.masters.cast_signed();
                conditions::set(
                    &mut status.conditions,
                    "MasterInitialized",
                    true,
                    "Master is initialized",
                    "The master is initialized.",
                );
            })
            .await?;
        }
        if !self.masters_ready(key, b).await? {
            return Ok(false);
        }
        self.mount_all(key, dataset).await?;
        self.begin_count(key, dataset).await?;
        self.scale_workers(key, b).await?;
        if !self.workers_ready(key, b).await? {
            return Ok(false);
        }
        self.update_phases(key, b).await?;
        let runtime = self.runtimes.find(key).await?;
        let created = runtime.and_then(|runtime| runtime.meta().creation_timestamp.clone());
        let now = crate::kube::clock::now();
        self.update_status(key, |status| {
            if status.setup_duration.is_empty() {
                status.setup_duration = duration(created.as_ref().map_or(now, |time| time.0), now);
            }
        })
        .await?;
        self.bind(key, dataset, b).await?;
        Ok(true)
    }

    async fn masters_ready(&self, key: &ObjectKey, b: &Blueprint) -> Result<bool, RoundError> {
        let pods = self.masters(b).await?.ok_or_else(|| RoundError::Unhealthy("the masters' set is gone".into()))?;
        if pods.ready < b.masters.cast_signed() {
            return Ok(false);
        }
        self.update_status(key, |status| {
            status.master_phase = RuntimePhase::Ready;
            status.master_number_ready = pods.ready;
            conditions::set(&mut status.conditions, "MasterReady", true, "Master is ready", "The master is ready.");
        })
        .await?;
        Ok(true)
    }

    /// Makes the mounts that master 0 lacks, and removes those that nobody asks for. Gives whether it did anything.
    pub(super) async fn mount_all(&self, key: &ObjectKey, dataset: &Dataset) -> Result<bool, RoundError> {
        let mut secrets = BTreeMap::new();
        for name in mounts::secrets(&dataset.spec) {
            if let Some(secret) = self.client.find::<Secret>(&key.namespace, &name).await? {
                secrets.insert(name, secret);
            }
        }
        let wanted = mounts::wanted(&dataset.spec, &secrets)?;
        let master = Self::master(key);
        self.probe.ready(&master).await?;
        let there = self.probe.mounts(&master).await?;
        let (missing, needless) = mounts::difference(&wanted, &there);
        for mount in &missing {
            tracing::info!(runtime = %key, ?mount, "mounts");
            self.probe.mount(&master, mount).await?;
        }
        for path in &needless {
            self.probe.unmount(&master, path).await?;
        }
        let now = crate::kube::clock::time_now();
        let changed = !missing.is_empty() || !needless.is_empty();
        self.update_status(key, |status| {
            if changed || status.mount_time.is_none() {
                status.mount_time = Some(now.clone());
            }
            status.mounts.clone_from(&dataset.spec.mounts);
        })
        .await?;
        Ok(changed)
    }

    /// Counts the under-stores' files in a task of its own, once: the result is never refreshed.
    pub(super) async fn begin_count(&mut self, key: &ObjectKey, dataset: &Dataset) -> Result<(), RoundError> {
        let known = dataset.status.as_ref().map(|status| status.ufs_total.as_str()).unwrap_or_default();
        let engine = self.engines.entry(key.clone()).or_default();
        if engine.counting.is_some() || !(known.is_empty() || known == CALCULATING) {
            return Ok(());
        }
        let (probe, master) = (self.probe.clone(), Self::master(key));
        // A restored cache is what its backup says; its under-store is not looked through.
        let info = restored(dataset).map(|location| location.info_file(&key.namespace, &key.name));
        engine.counting = Some(self.tasks.spawn("metadata-sync", async move {
            match info {
                Some(file) => probe.backup_info(&master, &file).await,
                None => probe.count(&master).await,
            }
        }));
        self.update_dataset(key, |status| {
            status.ufs_total = CALCULATING.into();
            status.file_num = CALCULATING.into();
        })
        .await?;
        Ok(())
    }

    /// Brings the workers to the number that is asked for.
    pub(super) async fn scale_workers(&self, key: &ObjectKey, b: &Blueprint) -> Result<(), RoundError> {
        match b.profile.workers {
            WorkerSet::StatefulSet => {
                let name = b.flavor.worker(&b.name);
                let set: StatefulSet = self.client.get(&b.namespace, &name).await?;
                let replicas = set.spec.replicas.unwrap_or(0);
                if replicas != b.workers.cast_signed() {
                    self.client.scale::<StatefulSet>(&b.namespace, &name, b.workers).await?;
                    self.note_scaling(key, replicas, b.workers.cast_signed()).await?;
                }
            }
            WorkerSet::DaemonSet => {
                let before = self.status(key).await?;
                self.choose_nodes(b).await?;
                let (before, after) = (before.desired_worker_number_scheduled, b.workers.cast_signed());
                if before != after {
                    self.note_scaling(key, before, after).await?;
                }
            }
        }
        self.update_status(key, |status| {
            if status.worker_phase == RuntimePhase::None {
                status.worker_phase = RuntimePhase::NotReady;
                status.fuse_phase = RuntimePhase::NotReady;
            }
            status.desired_worker_number_scheduled = b.workers.cast_signed();
            conditions::set(
                &mut status.conditions,
                "WorkersInitialized",
                true,
                "Workers are initialized",
                "The workers are initialized.",
            );
            conditions::set(
                &mut status.conditions,
                "FusesInitialized",
                true,
                "Fuses are initialized",
                "The fuses are initialized.",
            );
        })
        .await?;
        Ok(())
    }

    async fn note_scaling(&self, key: &ObjectKey, before: i32, after: i32) -> Result<(), RoundError> {
        if before == 0 {
            return Ok(());
        }
        let (type_, word) = if after > before { ("WorkersScaledOut", "out") } else { ("WorkersScaledIn", "in") };
        let message = format!("The workers are scaled {word} from {before} to {after}.");
        self.update_status(key, |status| {
            status.conditions.retain(|condition| condition.type_ != type_);
            conditions::set(&mut status.conditions, type_, true, &format!("Workers scaled {word}"), &message);
        })
        .await?;
        let Some(runtime) = self.runtimes.find(key).await? else { return Ok(()) };
        let message = format!("Runtime scaled {word}. current replicas: {before}, desired replicas: {after}.");
        self.events.event(&*runtime, EventType::Normal, "Succeed", message);
        Ok(())
    }

    /// One worker is enough to go on.
    async fn workers_ready(&self, key: &ObjectKey, b: &Blueprint) -> Result<bool, RoundError> {
        let pods = self.workers(b).await?.ok_or_else(|| RoundError::Unhealthy("the workers' set is gone".into()))?;
        if b.workers > 0 && pods.ready == 0 {
            return Ok(false);
        }
        self.update_status(key, |status| {
            conditions::set(
                &mut status.conditions,
                "WorkersReady",
                true,
                "Workers are ready",
                "The workers are ready.",
            );
        })
        .await?;
        Ok(true)
    }

    /// Copies what the sets tell into the runtime's status. Fuse pods are ready whatever they are, upstream as here.
    pub(super) async fn update_phases(&self, key: &ObjectKey, b: &Blueprint) -> Result<(), RoundError> {
        let (masters, workers) = (self.masters(b).await?, self.workers(b).await?);
        let fuse: Option<DaemonSet> = self.client.find(&b.namespace, &b.flavor.fuse(&b.name)).await?;
        let fuse = fuse.and_then(|set| set.status).unwrap_or_default();
        let gone = Pods { desired: 1, current: 0, ready: 0 };
        let (masters, workers) = (masters.unwrap_or(gone), workers.unwrap_or(gone));
        self.update_status(key, |status| {
            status.master_phase = masters.phase();
            status.desired_master_number_scheduled = masters.desired;
            status.current_master_number_scheduled = masters.current;
            status.master_number_ready = masters.ready;
            status.worker_phase = workers.phase();
            status.desired_worker_number_scheduled = workers.desired;
            status.current_worker_number_scheduled = workers.current;
            status.worker_number_ready = workers.ready;
            status.worker_number_available = workers.ready;
            status.worker_number_unavailable = (workers.desired - workers.ready).max(0);
            status.fuse_phase = RuntimePhase::Ready;
            status.desired_fuse_number_scheduled = fuse.desired_number_scheduled;
            status.current_fuse_number_scheduled = fuse.current_number_scheduled;
            status.fuse_number_ready = fuse.number_ready;
            status.fuse_number_available = fuse.number_available.unwrap_or(0);
            status.fuse_number_unavailable = fuse.number_unavailable.unwrap_or(0);
        })
        .await?;
        Ok(())
    }

    async fn bind(&self, key: &ObjectKey, dataset: &Dataset, b: &Blueprint) -> Result<(), RoundError> {
        let reference = RuntimeRef {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            category: "Accelerate".into(),
            type_: K::FLAVOR.word().into(),
            master_replicas: b.masters,
        };
        let scheme = K::FLAVOR.word();
        let host = format!("{}-0.{}", b.flavor.master(&b.name), b.namespace);
        let endpoint = format!("{scheme}://{host}:{}", b.ports.master_rpc);
        self.update_dataset(key, |status| {
            status.phase = DatasetPhase::Bound;
            status.mounts.clone_from(&dataset.spec.mounts);
            status.runtimes = vec![reference.clone()];
            status.hcfs = Some(Hcfs { endpoint: endpoint.clone(), ..Hcfs::default() });
            conditions::set(&mut status.conditions, "Ready", true, "DatasetReady", "The ddc runtime is ready.");
        })
        .await?;
        Ok(())
    }

    /// The masters' pods; `None` if their set is gone.
    pub(super) async fn masters(&self, b: &Blueprint) -> Result<Option<Pods>, RoundError> {
        let set: Option<StatefulSet> = self.client.find(&b.namespace, &b.flavor.master(&b.name)).await?;
        Ok(set.map(|set| of_stateful_set(&set)))
    }

    /// The workers' pods; `None` if their set is gone.
    pub(super) async fn workers(&self, b: &Blueprint) -> Result<Option<Pods>, RoundError> {
        let name = b.flavor.worker(&b.name);
        Ok(match b.profile.workers {
            WorkerSet::StatefulSet => {
                self.client.find::<StatefulSet>(&b.namespace, &name).await?.map(|set| of_stateful_set(&set))
            }
            WorkerSet::DaemonSet => self.client.find::<DaemonSet>(&b.namespace, &name).await?.map(|set| {
                let status = set.status.unwrap_or_default();
                Pods {
                    desired: status.desired_number_scheduled,
                    current: status.current_number_scheduled,
                    ready: status.number_ready,
                }
            }),
        })
    }
}

/// The backup that the masters began from.
fn restored(dataset: &Dataset) -> Option<BackupLocation> {
    BackupLocation::parse(dataset.spec.data_restore_location.as_ref()?.path.as_deref()?).ok()
}

fn of_stateful_set(set: &StatefulSet) -> Pods {
    let desired = set.spec.replicas.unwrap_or(1);
    let status = set.status.as_ref();
    Pods {
        desired,
        current: status.map_or(0, |status| status.replicas),
        ready: status.and_then(|status| status.ready_replicas).unwrap_or(0),
    }
}
