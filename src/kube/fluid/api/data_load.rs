//! The `DataLoad` kind: fill the cache before anybody asks. And what every operation on a dataset has.
//!
//! Follows fluid-cloudnative/fluid v1.0.8 `dataload_types.go`. Differs: the policies `Cron` and `OnEvent` are refused, and so are
//! `schedule`, `runAfter` and the options of single caches.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::dataset_status::Condition;
use super::is_default;

/// What a [`DataLoad`] asks for.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, CustomResource)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[kube(
    group = "data.fluid.io",
    version = "v1alpha1",
    kind = "DataLoad",
    doc = "Loads files of a dataset into its cache.",
    namespaced,
    schema = "disabled",
    status = "OperationStatus",
    derive = "PartialEq",
    shortname = "load",
    category = "fluid",
    printcolumn(name = "Dataset", type_ = "string", json_path = ".spec.dataset.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration")
)]
pub struct DataLoadSpec {
    /// Which dataset.
    pub dataset: DatasetRef,
    /// Load metadata first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub load_metadata: bool,
    /// What to load; all of it if nothing is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<TargetPath>,
    /// How often.
    #[serde(default, skip_serializing_if = "is_default")]
    pub policy: Policy,
    /// The DataLoad is deleted so long after it ended; never if nothing is written. In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Labels that the node of its pod has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that its pod puts up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Processor and memory of its pod.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
}

/// How often an operation is done. Upstream has `Cron` and `OnEvent` besides.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Once. What no word at all means, too.
    #[default]
    Once,
}

/// A dataset in a namespace.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRef {
    /// Name.
    pub name: String,
    /// Namespace.
    #[serde(default)]
    pub namespace: String,
}

/// A path to load.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetPath {
    /// Below the dataset's root.
    pub path: String,
    /// Copies among the workers.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub replicas: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_one(n: &u32) -> bool {
    *n == 1
}

/// Status of an operation on a dataset.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationStatus {
    /// Where it stands.
    pub phase: OperationPhase,
    /// From creation to its end, as Go prints a duration; `Unfinished` before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub duration: String,
    /// How it ended, with times.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What it tells besides, such as `BackupLocationPath`.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub infos: std::collections::BTreeMap<String, String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
}

/// Where an operation stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationPhase {
    /// Not seen yet.
    #[default]
    #[serde(rename = "")]
    None,
    /// Waits for the dataset.
    Pending,
    /// Its job runs.
    Executing,
    /// Done.
    Complete,
    /// Given up.
    Failed,
}
