//! The Kubernetes of a scenario: without it the cluster is built from its manifests directly.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kube::fluid::profile::Profile;
use crate::kube::kubelet::config::NodeConfig;
use crate::kube::quantity::Quantity;

/// The cluster and the Fluid that is installed in it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSpec {
    /// Which Fluid: what it creates and how it judges differs by version.
    pub fluid: FluidVersion,
    /// The manifests are not applied at the start: steps do it.
    pub by_hand: bool,
    /// Files that `kubectl -f` finds, relative to this file, beside the manifests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What nodes are like that differ from a node of four cores and 16 GiB without zone, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeSpec>,
    /// Storage classes of zonal disks, bound when a pod waits for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage_classes: Vec<String>,
    /// Feature gate `FuseRecovery` of Fluid's node plugin, off upstream.
    pub fuse_recovery: bool,
    /// Version that nodes tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A version of Fluid, by what it is known from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FluidVersion {
    /// That of the GooseFS document, April 2022: workers and fuses are DaemonSets, masters are odd in number.
    Goosefs,
    /// v0.7, that of the Alluxio document.
    V07,
    /// v1.0 and later.
    #[default]
    V10,
}

impl FluidVersion {
    /// What differs.
    pub const fn profile(self) -> Profile {
        match self {
            Self::Goosefs => Profile::GOOSEFS_DOCUMENT,
            Self::V07 => Profile::V0_7,
            Self::V10 => Profile::V1_0,
        }
    }
}

/// One node.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeSpec {
    /// `topology.kubernetes.io/zone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Other labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

impl KubernetesSpec {
    /// What the `number`-th node registers as. A node that is called like an address has that address.
    pub fn node(&self, name: &str, number: usize) -> NodeConfig {
        let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        let ip = name.parse().unwrap_or(Ipv4Addr::new(10, 0, 1 + high, low.saturating_add(1)));
        let mut config = NodeConfig::new(name, IpAddr::V4(ip));
        if let Some(version) = &self.version {
            config.kubelet_version.clone_from(version);
        }
        if let Some(spec) = self.nodes.get(name) {
            config.zone.clone_from(&spec.zone);
            config.labels.clone_from(&spec.labels);
            if let Some(cores) = spec.cpu {
                config.capacity.cpu_milli = u64::from(cores) * 1000;
            }
            if let Some(memory) = &spec.memory {
                config.capacity.memory = memory.get();
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_called_like_an_address_has_it() {
        let mut spec = KubernetesSpec::default();
        let zone = NodeSpec { zone: Some("a".into()), cpu: Some(2), ..NodeSpec::default() };
        spec.nodes.insert("n".into(), zone);
        assert_eq!(spec.node("192.168.1.145", 0).ip, IpAddr::from([192, 168, 1, 145]));
        let plain = spec.node("n", 2);
        assert_eq!((plain.ip, plain.zone.as_deref()), (IpAddr::from([10, 0, 1, 3]), Some("a")));
        assert_eq!(plain.capacity.cpu_milli, 2000);
    }
}
