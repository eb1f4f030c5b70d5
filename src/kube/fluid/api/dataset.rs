//! The `Dataset` kind: which under-stores are seen at which paths.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{NodeSelector, Toleration};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::dataset_status::DatasetStatus;
use super::is_default;

/// What a [`Dataset`] asks for.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, CustomResource)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[kube(
    group = "data.fluid.io",
    version = "v1alpha1",
    kind = "Dataset",
    doc = "Data of under-stores that a runtime caches.",
    namespaced,
    schema = "disabled",
    status = "DatasetStatus",
    derive = "PartialEq",
    shortname = "dataset",
    category = "fluid",
    printcolumn(name = "Ufs Total Size", type_ = "string", json_path = ".status.ufsTotal"),
    printcolumn(name = "Cached", type_ = "string", json_path = ".status.cacheStates.cached"),
    printcolumn(name = "Cache Capacity", type_ = "string", json_path = ".status.cacheStates.cacheCapacity"),
    printcolumn(name = "Cached Percentage", type_ = "string", json_path = ".status.cacheStates.cachedPercentage"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "HCFS URL", type_ = "string", json_path = ".status.hcfs.endpoint", priority = 10),
    printcolumn(name = "TOTAL FILES", type_ = "string", json_path = ".status.fileNum", priority = 11),
    printcolumn(
        name = "CACHE HIT RATIO",
        type_ = "string",
        json_path = ".status.cacheStates.cacheHitRatio",
        priority = 10
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct DatasetSpec {
    /// Under-stores and the paths where they are seen; at least one.
    pub mounts: Vec<Mount>,
    /// Nodes that may hold caches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<CacheableNodeAffinity>,
    /// Taints that workers and fuse pods put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Access modes of the claim; `ReadOnlyMany` if none is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_modes: Vec<String>,
    /// Whether workers of several datasets share a node.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: Placement,
    /// Where a backup lies that the masters begin from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_restore_location: Option<DataRestoreLocation>,
    /// Options of every mount; a mount's own come first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shared_options: BTreeMap<String, String>,
    /// Secret options of every mount; a mount's own come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_encrypt_options: Vec<EncryptOption>,
}

/// One under-store of a [`Dataset`].
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    /// Location, such as `https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/`. At least 5 characters.
    pub mount_point: String,
    /// Name, unique in the dataset.
    #[serde(default)]
    pub name: String,
    /// Path where it is seen; `/{name}` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Options of the under-store, such as its endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Options whose values are in secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypt_options: Vec<EncryptOption>,
    /// Refuse writes. A web under-store is read-only in any case.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Whether other users of the cache see it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared: bool,
}

impl Mount {
    /// Where it is seen.
    pub fn path(&self) -> String {
        self.path.clone().unwrap_or_else(|| format!("/{}", self.name))
    }
}

/// An option whose value is in a secret.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EncryptOption {
    /// Name of the option, such as `fs.oss.accessKeyId`.
    pub name: String,
    /// Where the value is.
    pub value_from: EncryptSource,
}

/// Where the value of an [`EncryptOption`] is.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EncryptSource {
    /// A key of a secret in the dataset's namespace.
    pub secret_key_ref: SecretKey,
}

/// A key of a secret.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretKey {
    /// The secret's name.
    pub name: String,
    /// Which of its values.
    pub key: String,
}

/// Nodes that may hold caches.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheableNodeAffinity {
    /// What a node must be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<NodeSelector>,
}

/// Whether workers of several datasets share a node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placement {
    /// One dataset a node. What no word at all means, too.
    #[default]
    #[serde(alias = "")]
    Exclusive,
    /// Several.
    Shared,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exclusive => "Exclusive",
            Self::Shared => "Shared",
        })
    }
}

/// Where a backup lies that the masters begin from.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DataRestoreLocation {
    /// `pvc://name/sub` or `local://path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The node of a `local://` path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
}
