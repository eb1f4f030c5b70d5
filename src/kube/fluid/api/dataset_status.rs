//! What Fluid's controllers tell about a dataset.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::dataset::Mount;

/// What [`DatasetStatus::ufs_total`] and [`DatasetStatus::file_num`] say while metadata are loaded.
pub const CALCULATING: &str = "[Calculating]";

/// Status of a dataset. Sizes are printed with two decimals and binary units, shares with one decimal.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatasetStatus {
    /// The mounts that the runtime has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Bytes below all mounts, or [`CALCULATING`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ufs_total: String,
    /// Where it stands.
    pub phase: DatasetPhase,
    /// The runtimes bound to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runtimes: Vec<RuntimeRef>,
    /// What is known, with times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// `cached`, `cacheCapacity`, `cachedPercentage`, `cacheHitRatio` and so on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cache_states: BTreeMap<String, String>,
    /// Where Hadoop clients find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hcfs: Option<Hcfs>,
    /// Files below all mounts, or [`CALCULATING`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub file_num: String,
    /// Operations that hold the dataset, by type: names joined by commas.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub operation_ref: BTreeMap<String, String>,
    /// Datasets that refer to this one, `namespace/name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dataset_ref: Vec<String>,
}

/// Where a dataset stands. Upstream's `Pending` is declared there and used nowhere.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DatasetPhase {
    /// Not seen by the controller yet.
    #[default]
    #[serde(rename = "")]
    None,
    /// No runtime.
    NotBound,
    /// A runtime caches it.
    Bound,
    /// The runtime is broken.
    Failed,
    /// Mounts change.
    Updating,
    /// Data move.
    DataMigrating,
}

impl fmt::Display for DatasetPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "",
            Self::NotBound => "NotBound",
            Self::Bound => "Bound",
            Self::Failed => "Failed",
            Self::Updating => "Updating",
            Self::DataMigrating => "DataMigrating",
        })
    }
}

/// A runtime bound to a dataset.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeRef {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// `Accelerate`.
    pub category: String,
    /// `alluxio`, `goosefs` or `jindo`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Number of masters.
    pub master_replicas: u32,
}

/// Something known about an object, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word of why.
    #[serde(default)]
    pub reason: String,
    /// Why.
    #[serde(default)]
    pub message: String,
    /// When it was looked at last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// When it was looked at last, in a runtime's conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    /// When `status` changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// Where Hadoop clients find a dataset.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hcfs {
    /// Such as `alluxio://hbase-master-0.default:20000`.
    pub endpoint: String,
    /// Of the under-store, if it tells.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub underlayer_file_system_version: String,
}
