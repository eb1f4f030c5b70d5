//! The `AlluxioRuntime` and `GooseFSRuntime` kinds: how many masters, workers and which tiers cache a dataset.
//!
//! Follows fluid-cloudnative/fluid v1.0.8 `alluxioruntime_types.go` and `goosefsruntime_types.go`, which are the same
//! but for the names. Differs: no images, ports, JVM options, job masters of their own, API gateway or environment.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Volume, VolumeMount};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::is_default;
use super::runtime_status::RuntimeStatus;
use super::tiered_store::TieredStore;

/// Upstream writes the two kinds out twice; here one text makes both.
macro_rules! runtime {
    ($spec:ident, $root:literal, $kind:literal, $plural:literal, $short:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, CustomResource)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        #[kube(
            group = "data.fluid.io",
            version = "v1alpha1",
            kind = $kind,
            root = $root,
            plural = $plural,
            doc = "A cluster that caches the dataset of the same name.",
            namespaced,
            schema = "disabled",
            status = "RuntimeStatus",
            derive = "PartialEq",
            shortname = $short,
            category = "fluid",
            scale(
                spec_replicas_path = ".spec.replicas",
                status_replicas_path = ".status.currentWorkerNumberScheduled",
                label_selector_path = ".status.selector"
            ),
            printcolumn(name = "Ready Masters", type_ = "integer", json_path = ".status.masterNumberReady", priority = 10),
            printcolumn(name = "Desired Masters", type_ = "integer", json_path = ".status.desiredMasterNumberScheduled", priority = 10),
            printcolumn(name = "Master Phase", type_ = "string", json_path = ".status.masterPhase", priority = 0),
            printcolumn(name = "Ready Workers", type_ = "integer", json_path = ".status.workerNumberReady", priority = 10),
            printcolumn(name = "Desired Workers", type_ = "integer", json_path = ".status.desiredWorkerNumberScheduled", priority = 10),
            printcolumn(name = "Worker Phase", type_ = "string", json_path = ".status.workerPhase", priority = 0),
            printcolumn(name = "Ready Fuses", type_ = "integer", json_path = ".status.fuseNumberReady", priority = 10),
            printcolumn(name = "Desired Fuses", type_ = "integer", json_path = ".status.desiredFuseNumberScheduled", priority = 10),
            printcolumn(name = "Fuse Phase", type_ = "string", json_path = ".status.fusePhase", priority = 0),
            printcolumn(name = "API Gateway", type_ = "string", json_path = ".status.apiGateway.endpoint", priority = 10),
            printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 0)
        )]
        pub struct $spec {
            /// Number of workers; at most one per node, as Fluid's exclusive placement has it.
            pub replicas: u32,
            /// Where workers keep blocks.
            pub tieredstore: TieredStore,
            /// The masters.
            #[serde(default)]
            pub master: Master,
            /// The workers.
            #[serde(default, skip_serializing_if = "is_default")]
            pub worker: Worker,
            /// The fuse pods.
            #[serde(default, skip_serializing_if = "is_default")]
            pub fuse: Fuse,
            /// Properties of all roles.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub properties: BTreeMap<String, String>,
            /// Volumes that roles may mount.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub volumes: Vec<Volume>,
        }
    };
}

runtime!(
    AlluxioRuntimeSpec,
    "AlluxioRuntime",
    "AlluxioRuntime",
    "alluxioruntimes",
    "alluxio",
    "What an [`AlluxioRuntime`] asks for."
);
runtime!(
    GooseFsRuntimeSpec,
    "GooseFsRuntime",
    "GooseFSRuntime",
    "goosefsruntimes",
    "goose",
    "What a [`GooseFsRuntime`] asks for."
);

/// `spec.master`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Master {
    /// Number of masters; odd, as the GooseFS document requires. More than one makes them a Raft group.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Properties of this role; they come before the runtime's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Labels that its nodes have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// The node's network or one of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_mode: NetworkMode,
    /// Processor and memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Volumes of the runtime that it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
}

fn one() -> u32 {
    1
}

impl Default for Master {
    fn default() -> Self {
        Self {
            replicas: 1,
            properties: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            network_mode: NetworkMode::default(),
            resources: ResourceRequirements::default(),
            volume_mounts: Vec::new(),
        }
    }
}

/// `spec.worker`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Worker {
    /// Properties of this role; they come before the runtime's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Labels that its nodes have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// The node's network or one of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_mode: NetworkMode,
    /// Processor and memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Volumes of the runtime that it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
}

/// `spec.fuse`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fuse {
    /// When its pods go.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clean_policy: CleanPolicy,
    /// Properties of this role; they come before the runtime's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Labels that its nodes have, besides the one that asks for a mount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// The node's network or one of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network_mode: NetworkMode,
    /// Processor and memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: ResourceRequirements,
    /// Volumes of the runtime that it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
}

/// The node's network or one of its own.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The node's: ports are taken from the range of the runtime. What no word at all means, too.
    #[default]
    #[serde(alias = "")]
    HostNetwork,
    /// An address of the pod's own, and the ports of the stack.
    ContainerNetwork,
}

/// When fuse pods go.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CleanPolicy {
    /// With the runtime. What no word at all means, too.
    #[default]
    #[serde(alias = "")]
    OnRuntimeDeleted,
    /// When the last application on the node has gone.
    OnDemand,
}
