//! The `Dataset` kind: which under-store is seen at which path.
//!
//! Follows fluid-cloudnative/fluid `api/v1alpha1/dataset_types.go`. Differs: no secrets, affinity, tolerations, sharing
//! or backups yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiVersion, ObjectMeta};

/// `kind` of a [`Dataset`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatasetKind {
    /// The kind.
    #[default]
    Dataset,
}

/// Data of an under-store that a runtime caches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dataset {
    /// `data.fluid.io/v1alpha1`.
    pub api_version: ApiVersion,
    /// `Dataset`.
    pub kind: DatasetKind,
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: DatasetSpec,
}

/// What a [`Dataset`] asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DatasetSpec {
    /// Under-stores and the paths where they are seen; at least one.
    #[schemars(length(min = 1))]
    pub mounts: Vec<Mount>,
}

/// One under-store of a [`Dataset`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    /// Location, such as `https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/`. At least 5 characters.
    #[schemars(length(min = 5))]
    pub mount_point: String,
    /// Name, unique in the dataset.
    pub name: String,
    /// Path where it is seen; `/{name}` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Refuse writes. A web under-store is read-only in any case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Mount {
    /// Where it is seen.
    pub fn path(&self) -> String {
        self.path.clone().unwrap_or_else(|| format!("/{}", self.name))
    }
}
