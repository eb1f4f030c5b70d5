//! Desired and actual state of attachments, as the API's objects show them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;

use crate::base::planted::{Bug, planted};
use crate::kube::controllers::taints::OUT_OF_SERVICE;
use crate::kube::volume::matching::{is_bound, refers_to, volume_name};
use crate::trace::Rolling;

/// Namespace and name.
type Key = (String, String);

/// The objects that the controller looks at.
#[derive(Debug, Default, Clone)]
pub struct View {
    /// All pods.
    pub pods: BTreeMap<Key, Arc<Pod>>,
    /// All nodes.
    pub nodes: BTreeMap<String, Arc<Node>>,
    /// All claims.
    pub claims: BTreeMap<Key, Arc<PersistentVolumeClaim>>,
    /// All volumes.
    pub volumes: BTreeMap<String, Arc<PersistentVolume>>,
    /// All attachments, by name.
    pub attachments: BTreeMap<String, Arc<VolumeAttachment>>,
}

/// Volume and node.
pub type Place = (String, String);

/// Why a volume should be on a node: the pods there that use it, in the order of their names.
pub type Needed = BTreeMap<Place, Vec<Arc<Pod>>>;

impl View {
    /// Which volumes are needed where: by pods that have a node and are not done.
    pub fn needed(&self) -> Needed {
        let mut needed = Needed::new();
        for pod in self.pods.values().filter(|pod| !pod_is_done(pod)) {
            let Some(spec) = &pod.spec else { continue };
            let node = spec.node_name.clone().unwrap_or_default();
            if !self.nodes.contains_key(&node) {
                continue;
            }
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            for volume in spec.volumes.iter().flatten() {
                let claim = match (&volume.persistent_volume_claim, &volume.ephemeral) {
                    (Some(source), _) => source.claim_name.clone(),
                    (None, Some(_)) => format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name),
                    _ => continue,
                };
                if let Some(volume) = self.volume_of(&(namespace.clone(), claim)) {
                    needed.entry((volume.into(), node.clone())).or_default().push(pod.clone());
                }
            }
        }
        needed
    }

    /// The name of the volume that both sides say is the claim's, if a driver has to attach it.
    fn volume_of(&self, claim: &Key) -> Option<&str> {
        let claim = self.claims.get(claim).filter(|claim| is_bound(claim))?;
        let volume = self.volumes.get(volume_name(claim)?)?;
        let attachable = volume.spec.as_ref()?.csi.is_some() && refers_to(volume, claim);
        attachable.then(|| volume.metadata.name.as_deref())?
    }

    /// The attachments by volume and node.
    pub fn attached(&self) -> BTreeMap<Place, &Arc<VolumeAttachment>> {
        let place = |attachment: &Arc<VolumeAttachment>| {
            let volume = attachment.spec.source.persistent_volume_name.clone()?;
            Some((volume, attachment.spec.node_name.clone()))
        };
        self.attachments.values().filter_map(|attachment| Some((place(attachment)?, attachment))).collect()
    }

    /// The volumes that the node says it uses, by unique name.
    pub fn in_use(&self, node: &str) -> Option<BTreeSet<String>> {
        let status = self.nodes.get(node)?.status.as_ref();
        Some(status.iter().flat_map(|status| status.volumes_in_use.iter().flatten().cloned()).collect())
    }

    /// Whether the node is known and ready.
    pub fn is_healthy(&self, node: &str) -> bool {
        let status = self.nodes.get(node).and_then(|node| node.status.as_ref());
        let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }

    /// Whether a person said that the node's machine is off.
    pub fn is_out_of_service(&self, node: &str) -> bool {
        let spec = self.nodes.get(node).and_then(|node| node.spec.as_ref());
        spec.is_some_and(|spec| spec.taints.iter().flatten().any(|taint| taint.key == OUT_OF_SERVICE))
    }
}

/// Whether the pod's containers are over: it has ended, or it is being deleted and none of them runs
/// (`IsPodTerminated`). Such a pod needs no volume; one that is only being deleted still does.
pub fn pod_is_done(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return !planted(Bug::FinishedPodKeepsDisk);
    }
    let mut states = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let over =
        |state: &k8s_openapi::api::core::v1::ContainerState| state.terminated.is_some() || state.waiting.is_some();
    pod.metadata.deletion_timestamp.is_some() && states.all(|container| container.state.as_ref().is_some_and(over))
}

/// Whether several nodes may have the volume at once.
pub fn multi_attach(volume: &PersistentVolume) -> bool {
    let modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    modes.is_empty() || modes.iter().any(|mode| matches!(mode.as_str(), "ReadOnlyMany" | "ReadWriteMany"))
}

/// What `status.volumesInUse` and `status.volumesAttached` of a node call a volume.
pub fn unique_name(volume: &PersistentVolume) -> String {
    let csi = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
    csi.map(|csi| format!("kubernetes.io/csi/{}^{}", csi.driver, csi.volume_handle)).unwrap_or_default()
}

/// The name of the attachment of a volume to a node: upstream's `csi-` and 64 digits of a hash over handle, driver and
/// node. Differs: the hash is not SHA-256.
pub fn attachment_name(handle: &str, driver: &str, node: &str) -> String {
    let half = |salt: &str| {
        let mut hash = Rolling::default();
        for part in [salt, handle, driver, node] {
            hash.word(part.len() as u64);
            hash.bytes(part.as_bytes());
        }
        hash.digest()
    };
    format!("csi-{}{}", half("a"), half("b"))
}
