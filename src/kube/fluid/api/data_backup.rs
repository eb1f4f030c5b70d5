//! The `DataBackup` kind: a copy of the masters' metadata, to begin from later.
//!
//! Follows fluid-cloudnative/fluid v1.0.8 `databackup_types.go`. Differs: no `runAs`, no `runAfter`.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::data_load::OperationStatus;

/// What a [`DataBackup`] asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[kube(
    group = "data.fluid.io",
    version = "v1alpha1",
    kind = "DataBackup",
    doc = "Backs the metadata of a dataset up.",
    namespaced,
    schema = "disabled",
    status = "OperationStatus",
    derive = "PartialEq",
    shortname = "backup",
    category = "fluid",
    printcolumn(name = "Dataset", type_ = "string", json_path = ".spec.dataset"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Path", type_ = "string", json_path = ".status.infos.BackupLocationPath"),
    printcolumn(name = "NodeName", type_ = "string", json_path = ".status.infos.BackupLocationNodeName"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct DataBackupSpec {
    /// Which dataset, of the same namespace.
    pub dataset: String,
    /// `pvc://name/sub` or `local://path`.
    pub backup_path: String,
    /// The DataBackup is deleted so long after it ended; never if nothing is written. In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i32>,
}
