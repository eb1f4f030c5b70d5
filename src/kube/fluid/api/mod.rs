//! Manifests of the group `data.fluid.io/v1alpha1`, with the field names of Fluid's CRDs.
//!
//! Rule: only fields that the simulation honours are here, so that a manifest never asks for something that is silently
//! left out; any other field is refused by name.

mod dataset;
mod goosefs_runtime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use dataset::{Dataset, DatasetSpec, Mount};
pub use goosefs_runtime::{GooseFsRuntime, GooseFsRuntimeSpec, Level, Master, MediumType, TieredStore};

/// The API group and version of everything here.
pub const API_VERSION: &str = "data.fluid.io/v1alpha1";

/// The only [`API_VERSION`] there is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// Fluid's first and so far only version.
    #[default]
    #[serde(rename = "data.fluid.io/v1alpha1")]
    V1Alpha1,
}

/// Kubernetes' `metadata`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectMeta {
    /// Name: a DNS-1035 label (lower-case letters, digits and `-`, starting with a letter). A runtime has its dataset's.
    pub name: String,
    /// Namespace.
    #[serde(default = "default_namespace", skip_serializing_if = "is_default_namespace")]
    pub namespace: String,
}

fn default_namespace() -> String {
    "default".into()
}

fn is_default_namespace(namespace: &str) -> bool {
    namespace == "default"
}

/// Whether `name` is a DNS-1035 label, which Fluid asks of datasets and runtimes.
pub fn is_dns1035(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= 63
        && name.bytes().all(legal)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns1035_labels() {
        for name in ["hbase", "a", "a-1"] {
            assert!(is_dns1035(name), "{name}");
        }
        for name in ["", "1a", "A", "a-", "-a", "a.b", &"a".repeat(64)] {
            assert!(!is_dns1035(name), "{name}");
        }
    }
}
