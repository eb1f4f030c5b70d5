//! Which changes of the cluster wake which pods: upstream's `EventsToRegister` and queueing hints.
//!
//! For plugins that look at one node only, the hint is the plugin itself: a node that it still refuses wakes nobody.

use super::filter::{Filters, Plugin};
use super::pod::PodInfo;
use super::snapshot::Snapshot;

/// A change that may help a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A node appeared, or its labels, taints or allocatable resources changed.
    Node(String),
    /// A node is gone.
    NodeGone,
    /// A pod got a node, or a pod with a node changed its labels.
    PodPlaced,
    /// A pod with a node is gone, or has ended.
    PodGone,
    /// A claim appeared or changed.
    Claim,
    /// A volume appeared or changed.
    Volume,
    /// A storage class appeared.
    Class,
    /// A node's storage drivers changed.
    CsiNode,
}

impl ClusterEvent {
    /// Whether a pod that `plugin` refused should be tried again.
    pub fn wakes(&self, plugin: Plugin, pod: &PodInfo, snapshot: &Snapshot) -> bool {
        use Plugin::{InterPodAffinity, NodePorts, NodeResourcesFit, NodeVolumeLimits, PodTopologySpread};
        use Plugin::{VolumeBinding, VolumeRestrictions, VolumeZone};
        match self {
            Self::Node(name) => match snapshot.nodes.get(name) {
                None => false,
                Some(node) => Filters::alone(plugin, pod, node).unwrap_or(!matches!(plugin, VolumeRestrictions)),
            },
            Self::NodeGone => plugin == PodTopologySpread,
            Self::PodPlaced => matches!(plugin, PodTopologySpread | InterPodAffinity),
            Self::PodGone => matches!(
                plugin,
                NodePorts
                    | NodeResourcesFit
                    | VolumeRestrictions
                    | NodeVolumeLimits
                    | PodTopologySpread
                    | InterPodAffinity
            ),
            Self::Claim => matches!(plugin, VolumeRestrictions | NodeVolumeLimits | VolumeBinding | VolumeZone),
            Self::Volume | Self::Class => matches!(plugin, VolumeBinding | VolumeZone),
            Self::CsiNode => matches!(plugin, NodeVolumeLimits | VolumeBinding),
        }
    }
}
