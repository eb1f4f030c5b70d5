//! The programs of Fluid's pods: each of its controllers under leader election.
//!
//! Follows `cmd/*/app` of fluid-cloudnative/fluid. Of several replicas one works; upstream installs one and elects all the same, so
//! that two that live for a moment do not both work. A program that loses its lease ends, and its kubelet starts it again.

use std::convert::Infallible;
use std::sync::Arc;

use super::api::{DataBackup, DataLoad};
use super::dataset::{self, DatasetConfig};
use super::install::NAMESPACE;
use super::operation::{self, OperationConfig};
use super::probe::CacheProbe;
use super::runtime::{self, RoundError, RuntimeConfig, RuntimeKind};
use crate::kube::client::{Client, Election, ElectionConfig, LostLease};
use crate::rt::task::Scope;

/// Lease of `dataset-controller`.
pub const DATASET_LEASE: &str = "dataset.data.fluid.io";

/// Lease of a runtime controller: `alluxio.data.fluid.io`.
pub fn runtime_lease<K: RuntimeKind>() -> String {
    format!("{}.data.fluid.io", K::FLAVOR.word())
}

/// Why a controller's program ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Somebody else may lead.
    #[error(transparent)]
    Lease(#[from] LostLease),
    /// The controller could not begin.
    #[error(transparent)]
    Round(#[from] RoundError),
}

/// `dataset-controller`: datasets, DataLoads and DataBackups. `identity` is the pod's name.
///
/// # Errors
/// When it has to end.
pub async fn dataset(
    client: Client,
    identity: &str,
    probe: Arc<dyn CacheProbe>,
    datasets: DatasetConfig,
    operations: OperationConfig,
) -> Result<Infallible, Ended> {
    let election = Election::new(&client, NAMESPACE, DATASET_LEASE, identity, ElectionConfig::default());
    let work = async || {
        let scope = Scope::new();
        let (of_loads, of_backups) = (client.clone(), client.clone());
        let second = probe.clone();
        drop(scope.spawn("dataload", operation::run::<DataLoad>(of_loads, probe, operations)));
        drop(scope.spawn("databackup", operation::run::<DataBackup>(of_backups, second, operations)));
        dataset::run(client.clone(), datasets).await
    };
    Ok(election.lead(work).await?)
}

/// `alluxioruntime-controller` and its like. `identity` is the pod's name.
///
/// # Errors
/// When it has to end.
pub async fn runtime<K: RuntimeKind>(
    client: Client,
    identity: &str,
    probe: Arc<dyn CacheProbe>,
    config: RuntimeConfig,
) -> Result<Infallible, Ended> {
    let election = Election::new(&client, NAMESPACE, &runtime_lease::<K>(), identity, ElectionConfig::default());
    Ok(election.lead(|| runtime::run::<K>(client, probe, config)).await??)
}
