//! The kinds of the group `data.fluid.io/v1alpha1`, with the field names and printed columns of Fluid's CRDs.
//!
//! Follows fluid-cloudnative/fluid v1.0.8 `api/v1alpha1` (GooseFSRuntime was removed later). Rule: only fields of a spec
//! that the simulation honours are here, so that a manifest never asks for something that is silently left out; any
//! other field is refused by name. What a status holds is written by controllers and read leniently.

#![expect(
    clippy::duplicated_attributes,
    reason = "kube has an attribute for each column, whose parts clippy takes for repetitions"
)]

mod data_backup;
mod data_load;
mod dataset;
mod dataset_status;
mod jindo_runtime;
mod runtime;
mod runtime_status;
mod tiered_store;

use serde::{Deserialize, Serialize};

pub use data_backup::{DataBackup, DataBackupSpec};
pub use data_load::{DataLoad, DataLoadSpec, DatasetRef, OperationPhase, OperationStatus, Policy, TargetPath};
pub use dataset::{
    CacheableNodeAffinity, DataRestoreLocation, Dataset, DatasetSpec, EncryptOption, EncryptSource, Mount, Placement,
    SecretKey,
};
pub use dataset_status::{CALCULATING, Condition, DatasetPhase, DatasetStatus, Hcfs, RuntimeRef};
pub use jindo_runtime::{JindoMaster, JindoPart, JindoRuntime, JindoRuntimeSpec};
pub use runtime::{
    AlluxioRuntime, AlluxioRuntimeSpec, CleanPolicy, Fuse, GooseFsRuntime, GooseFsRuntimeSpec, Master, NetworkMode,
    Worker,
};
pub use runtime_status::{RuntimePhase, RuntimeStatus};
pub use tiered_store::{Level, MediumType, TieredStore, VolumeType};

/// The API group of everything here.
pub const GROUP: &str = "data.fluid.io";

/// The API group and version of everything here.
pub const API_VERSION: &str = "data.fluid.io/v1alpha1";

/// The only [`API_VERSION`] there is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// Fluid's first and so far only version.
    #[default]
    #[serde(rename = "data.fluid.io/v1alpha1")]
    V1Alpha1,
}

/// A document of a manifest as a user writes it: one of the kinds here, without a status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest<S> {
    /// `data.fluid.io/v1alpha1`.
    pub api_version: ApiVersion,
    /// Which kind; the reader has chosen `S` by it.
    pub kind: String,
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: S,
}

/// Kubernetes' `metadata` as far as a manifest writes it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Whether a value is what it would be if the field were not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use kube::{CustomResourceExt, Resource};

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

    /// `NAME` is kubectl's own; a column of priority 0 is always shown, any other with `-o wide`.
    fn columns<K: CustomResourceExt>(wide: bool) -> Vec<String> {
        let columns = K::crd().spec.versions.remove(0).additional_printer_columns.unwrap_or_default();
        let shown = columns.into_iter().filter(|c| wide || c.priority.unwrap_or(0) == 0);
        shown.map(|c| c.name.to_uppercase()).collect()
    }

    #[test]
    fn rows_have_the_columns_of_the_documents() {
        let dataset = ["UFS TOTAL SIZE", "CACHED", "CACHE CAPACITY", "CACHED PERCENTAGE", "PHASE", "AGE"];
        assert_eq!(columns::<Dataset>(false), dataset);
        let plain = ["MASTER PHASE", "WORKER PHASE", "FUSE PHASE", "AGE"];
        assert_eq!(columns::<GooseFsRuntime>(false), plain);
        assert_eq!(columns::<JindoRuntime>(false), plain);
        let wide = [
            ["READY MASTERS", "DESIRED MASTERS", "MASTER PHASE"],
            ["READY WORKERS", "DESIRED WORKERS", "WORKER PHASE"],
            ["READY FUSES", "DESIRED FUSES", "FUSE PHASE"],
        ]
        .concat();
        assert_eq!(columns::<AlluxioRuntime>(true), [wide.clone(), vec!["API GATEWAY", "AGE"]].concat());
        assert_eq!(columns::<JindoRuntime>(true), [wide, vec!["AGE"]].concat());
    }

    #[test]
    fn kinds_have_the_names_of_the_crds() {
        fn names<K: CustomResourceExt + Resource<DynamicType = ()>>() -> (String, String, String) {
            let names = K::crd().spec.names;
            let short = names.short_names.unwrap_or_default().join(",");
            (K::kind(&()).into(), names.plural, short)
        }
        let of = |kind: &str, plural: &str, short: &str| (kind.to_string(), plural.to_string(), short.to_string());
        assert_eq!(names::<Dataset>(), of("Dataset", "datasets", "dataset"));
        assert_eq!(names::<AlluxioRuntime>(), of("AlluxioRuntime", "alluxioruntimes", "alluxio"));
        assert_eq!(names::<GooseFsRuntime>(), of("GooseFSRuntime", "goosefsruntimes", "goose"));
        assert_eq!(names::<JindoRuntime>(), of("JindoRuntime", "jindoruntimes", "jindo"));
        assert_eq!(names::<DataLoad>(), of("DataLoad", "dataloads", "load"));
        assert_eq!(names::<DataBackup>(), of("DataBackup", "databackups", "backup"));
    }
}
