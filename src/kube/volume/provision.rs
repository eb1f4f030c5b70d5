//! What a zonal disk's provisioner decides: for which claims, in which zone, what the volume looks like, when it goes.
//! Upstream's external-provisioner with topology.
//!
//! An immediate claim's zone follows from its name, so that the claims of a stateful set are spread over the zones; it does
//! not ask where the pod can run, which is the known weakness of that mode. A delayed claim follows its selected node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::binder::reference;
use super::matching::{
    PROVISIONED_BY, SELECTED_NODE, STORAGE_PROVISIONER, allowed_topology, class_of, note, volume_name,
    waits_for_consumer,
};
use crate::base::planted::{Bug, planted};

/// Whether `driver` shall make a volume for the claim now.
pub fn wanted(claim: &PersistentVolumeClaim, classes: &BTreeMap<String, Arc<StorageClass>>, driver: &str) -> bool {
    let ours = note(claim, STORAGE_PROVISIONER) == Some(driver) && classes.contains_key(class_of(claim));
    let placed = !waits_for_consumer(claim, classes) || note(claim, SELECTED_NODE).is_some();
    ours && placed && volume_name(claim).is_none() && claim.metadata.deletion_timestamp.is_none()
}

/// Why no zone can be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoZone {
    /// The scheduler's choice does not exist (any more): it shall choose again.
    #[error("selected node \"{0}\" not found")]
    NoNode(String),
    /// The node does not say where it is.
    #[error("no topology key found on node {0}")]
    NoLabel(String),
    /// No node is in a zone that the class allows.
    #[error("no available topology found")]
    Nowhere,
}

/// The zone for a claim's volume. `key` is the label of nodes that names it.
///
/// # Errors
/// The selected node is gone or has no such label; or there is no zone at all.
pub fn zone(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    nodes: &BTreeMap<String, Arc<Node>>,
    key: &str,
) -> Result<String, NoZone> {
    let of = |node: &Node| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    if let Some(selected) = note(claim, SELECTED_NODE).filter(|_| !planted(Bug::ProvisionerIgnoresNode)) {
        let node = nodes.get(selected).ok_or_else(|| NoZone::NoNode(selected.into()))?;
        return of(node).ok_or_else(|| NoZone::NoLabel(selected.into()));
    }
    let allowed = |node: &&Arc<Node>| allowed_topology(class.allowed_topologies.as_deref(), node);
    let zones: BTreeSet<String> = nodes.values().filter(allowed).filter_map(|node| of(node)).collect();
    let zones: Vec<String> = zones.into_iter().collect();
    let turn = turn(claim.metadata.name.as_deref().unwrap_or_default());
    zones.get(turn as usize % zones.len().max(1)).cloned().ok_or(NoZone::Nowhere)
}

/// A number from a claim's name: of `data-web-2`, the hash of `data-web` plus 2, so that ordinals go round the zones.
fn turn(name: &str) -> u32 {
    let ordinal = name.rsplit_once('-').and_then(|(base, number)| Some((base, number.parse::<u32>().ok()?)));
    let (base, ordinal) = ordinal.unwrap_or((name, 0));
    let fnv = |state: u32, byte: &u8| (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    base.as_bytes().iter().fold(0x811c_9dc5, fnv).wrapping_add(ordinal)
}

/// The name of the volume and of the disk for a claim.
pub fn volume_name_for(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default())
}

/// The volume for a claim: as large as asked, bound to it from the start, usable in one zone.
pub fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    driver: &str,
    handle: &str,
    (key, zone): (&str, &str),
) -> PersistentVolume {
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
    let in_zone = NodeSelectorRequirement { key: key.into(), operator: "In".into(), values: Some(vec![zone.into()]) };
    let term = NodeSelectorTerm { match_expressions: Some(vec![in_zone]), match_fields: None };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(volume_name_for(claim)),
            annotations: Some([(PROVISIONED_BY.to_string(), driver.to_string())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some(requests.into_iter().filter(|(name, _)| name == "storage").collect()),
            claim_ref: Some(reference(claim)),
            csi: Some(CSIPersistentVolumeSource {
                driver: driver.into(),
                volume_handle: handle.into(),
                ..CSIPersistentVolumeSource::default()
            }),
            mount_options: class.mount_options.clone(),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            persistent_volume_reclaim_policy: Some(class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into())),
            storage_class_name: Some(class_of(claim).into()),
            volume_mode: Some(spec.volume_mode.unwrap_or_else(|| "Filesystem".into())),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// Whether `driver` shall remove the volume and its disk: released, made by it, and to be deleted.
pub fn to_delete(volume: &PersistentVolume, driver: &str) -> bool {
    let by = volume.metadata.annotations.as_ref().and_then(|notes| notes.get(PROVISIONED_BY));
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    by.is_some_and(|by| by == driver) && policy == Some("Delete") && phase == Some("Released")
}
