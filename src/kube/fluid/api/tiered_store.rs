//! `spec.tieredstore`: where workers keep blocks.
//!
//! Follows fluid-cloudnative/fluid v1.0.8 `api/v1alpha1/tieredstore_types.go` as Alluxio, GooseFS and Jindo share it.

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::kube::quantity::{Fraction, Quantity};

/// `spec.tieredstore`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TieredStore {
    /// The levels; ordered by medium whatever their order here.
    pub levels: Vec<Level>,
}

/// Storage medium of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MediumType {
    /// Memory.
    #[serde(rename = "MEM")]
    Mem,
    /// Solid state disk.
    #[serde(rename = "SSD")]
    Ssd,
    /// Hard disk.
    #[serde(rename = "HDD")]
    Hdd,
}

/// What stands behind a level's paths.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeType {
    /// Directories of the node: they outlive the pod.
    #[default]
    HostPath,
    /// A directory of the pod.
    EmptyDir,
}

/// One level of a worker's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Level {
    /// Medium.
    pub mediumtype: MediumType,
    /// What stands behind the paths.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volume_type: VolumeType,
    /// Directories, separated by commas.
    pub path: String,
    /// Bytes of the level, divided equally among the paths. Either this or `quotaList`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quantity>,
    /// Bytes of each path, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_list: Option<String>,
    /// Share of the quota above which blocks are evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<Fraction>,
    /// Share of the quota down to which they are evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<Fraction>,
}

/// Alluxio's default high watermark, in millionths.
const HIGH_MILLIONTHS: u32 = 950_000;
/// Alluxio's default low watermark, in millionths.
const LOW_MILLIONTHS: u32 = 700_000;

impl Level {
    /// Each directory with its bytes. Fewer quotas than paths leave the rest with 0; loading a scenario refuses that.
    pub fn dirs(&self) -> Vec<(String, u64)> {
        let paths: Vec<&str> = self.path.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        let listed: Vec<u64> = match &self.quota_list {
            Some(list) => list.split(',').map(|q| q.trim().parse().map_or(0, |q: Quantity| q.get())).collect(),
            None => {
                let whole = self.quota.as_ref().map_or(0, Quantity::get);
                vec![whole / (paths.len().max(1) as u64); paths.len()]
            }
        };
        let quota = |i: usize| listed.get(i).copied().unwrap_or(0);
        paths.iter().enumerate().map(|(i, path)| (path.to_string(), quota(i))).collect()
    }

    /// High and low watermarks in millionths of the quota; Alluxio's defaults where none is written.
    pub fn watermarks(&self) -> (u32, u32) {
        (
            self.high.as_ref().map_or(HIGH_MILLIONTHS, Fraction::millionths),
            self.low.as_ref().map_or(LOW_MILLIONTHS, Fraction::millionths),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(path: &str, quota: Option<&str>, list: Option<&str>) -> Level {
        Level {
            mediumtype: MediumType::Hdd,
            volume_type: VolumeType::HostPath,
            path: path.into(),
            quota: quota.map(|q| q.parse().expect("legal")),
            quota_list: list.map(Into::into),
            high: None,
            low: None,
        }
    }

    #[test]
    fn a_quota_is_divided_among_the_paths_and_a_list_is_not() {
        let one = |path: &str, bytes| (path.to_string(), bytes);
        assert_eq!(level("/mnt/disk1", Some("2G"), None).dirs(), [one("/mnt/disk1", 2_000_000_000)]);
        assert_eq!(level("/a, /b", Some("2Gi"), None).dirs(), [one("/a", 1 << 30), one("/b", 1 << 30)]);
        assert_eq!(level("/a,/b", None, Some("1Gi,2Gi")).dirs(), [one("/a", 1 << 30), one("/b", 2 << 30)]);
        assert_eq!(level("/a,/b", None, Some("1Gi")).dirs(), [one("/a", 1 << 30), one("/b", 0)]);
    }
}
