//! The `JindoRuntime` kind: a JindoFS cluster, with one master on `namespace.meta-dir` or three of them by Raft.
//!
//! Follows fluid-cloudnative/fluid v1.0.8 `jindoruntime_types.go`. Differs: no images, ports, environment or log settings.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration, Volume, VolumeMount};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::is_default;
use super::runtime::{CleanPolicy, NetworkMode};
use super::runtime_status::RuntimeStatus;
use super::tiered_store::TieredStore;

/// What a [`JindoRuntime`] asks for.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, CustomResource)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[kube(
    group = "data.fluid.io",
    version = "v1alpha1",
    kind = "JindoRuntime",
    doc = "A JindoFS cluster that caches the dataset of the same name.",
    namespaced,
    schema = "disabled",
    status = "RuntimeStatus",
    derive = "PartialEq",
    shortname = "jindo",
    category = "fluid",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.currentWorkerNumberScheduled"),
    printcolumn(name = "Ready Masters", type_ = "integer", json_path = ".status.masterNumberReady", priority = 10),
    printcolumn(
        name = "Desired Masters",
        type_ = "integer",
        json_path = ".status.desiredMasterNumberScheduled",
        priority = 10
    ),
    printcolumn(name = "Master Phase", type_ = "string", json_path = ".status.masterPhase", priority = 0),
    printcolumn(name = "Ready Workers", type_ = "integer", json_path = ".status.workerNumberReady", priority = 10),
    printcolumn(
        name = "Desired Workers",
        type_ = "integer",
        json_path = ".status.desiredWorkerNumberScheduled",
        priority = 10
    ),
    printcolumn(name = "Worker Phase", type_ = "string", json_path = ".status.workerPhase", priority = 0),
    printcolumn(name = "Ready Fuses", type_ = "integer", json_path = ".status.fuseNumberReady", priority = 10),
    printcolumn(
        name = "Desired Fuses",
        type_ = "integer",
        json_path = ".status.desiredFuseNumberScheduled",
        priority = 10
    ),
    printcolumn(name = "Fuse Phase", type_ = "string", json_path = ".status.fusePhase", priority = 0),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 0)
)]
pub struct JindoRuntimeSpec {
    /// Number of workers.
    pub replicas: u32,
    /// Where workers keep blocks; the masters' metadata go to the first path unless `namespace.meta-dir` says else.
    pub tieredstore: TieredStore,
    /// The masters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub master: JindoMaster,
    /// The workers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub worker: JindoPart,
    /// The fuse pods.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fuse: JindoPart,
    /// Properties of all roles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Volumes that roles may mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Secret with the under-store's keys, mounted as files.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub secret: String,
    /// The node's network or one of its own. Upstream spells it without a capital.
    #[serde(default, rename = "networkmode", skip_serializing_if = "is_default")]
    pub network_mode: NetworkMode,
}

/// `spec.master`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JindoMaster {
    /// 3 makes a Raft group; any other number means one master, as upstream has it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replicas: u32,
    /// Properties of this role, such as `namespace.meta-dir`; they come before the runtime's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Labels that its nodes have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it puts up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Processor and memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Volumes of the runtime that it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Install none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disabled: bool,
}

impl JindoMaster {
    /// How many masters there will be: 3 or 1, none if disabled.
    pub const fn effective_replicas(&self) -> u32 {
        match (self.disabled, self.replicas) {
            (true, _) => 0,
            (false, 3) => 3,
            (false, _) => 1,
        }
    }
}

/// `spec.worker` and `spec.fuse`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JindoPart {
    /// Properties of this role; they come before the runtime's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Labels that its nodes have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that it puts up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Processor and memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Volumes of the runtime that it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// When fuse pods go; nothing to workers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clean_policy: CleanPolicy,
    /// Install none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub disabled: bool,
}

#[cfg(test)]
mod tests {
    use super::JindoMaster;

    #[test]
    fn only_three_masters_are_more_than_one() {
        for (replicas, disabled, there) in
            [(0, false, 1), (1, false, 1), (2, false, 1), (3, false, 3), (5, false, 1), (3, true, 0)]
        {
            let master = JindoMaster { replicas, disabled, ..JindoMaster::default() };
            assert_eq!(master.effective_replicas(), there, "{replicas} {disabled}");
        }
    }
}
