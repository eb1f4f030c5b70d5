//! The PV binder's decisions: upstream's `persistentvolume-controller`.
//!
//! Level-triggered: from what claim and volume are now follows the one next write, so a crash between two writes loses
//! nothing. A binding is four writes: the volume's claimRef, its phase, the claim's volumeName, its phase. Volumes of a
//! released claim are deleted by their provisioner, never here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use super::matching::{
    self, BETA_STORAGE_PROVISIONER, BIND_COMPLETED, BOUND_BY_CONTROLLER, NO_PROVISIONER, PROVISIONED_BY, SELECTED_NODE,
    STORAGE_PROVISIONER, claim_ref, class_of, class_of_volume, note, refers_to, volume_name,
};

/// Namespace and name.
type Key = (String, String);

/// What the binder knows.
#[derive(Debug, Default, Clone)]
pub struct Known {
    /// Claims by namespace and name.
    pub claims: BTreeMap<Key, Arc<PersistentVolumeClaim>>,
    /// Volumes by name.
    pub volumes: BTreeMap<String, Arc<PersistentVolume>>,
    /// Classes by name.
    pub classes: BTreeMap<String, Arc<StorageClass>>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write the volume.
    Volume(Box<PersistentVolume>),
    /// Write the volume's status.
    VolumeStatus(Box<PersistentVolume>),
    /// Write the claim.
    Claim(Box<PersistentVolumeClaim>),
    /// Write the claim's status.
    ClaimStatus(Box<PersistentVolumeClaim>),
    /// Tell the claim's owner.
    Tell(Notice),
}

/// An event about a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `Warning`, otherwise `Normal`.
    pub warning: bool,
    /// Upstream's reason.
    pub reason: &'static str,
    /// Upstream's words.
    pub message: String,
}

fn tell(warning: bool, reason: &'static str, message: impl Into<String>) -> Step {
    Step::Tell(Notice { warning, reason, message: message.into() })
}

/// The next steps for a claim; at most one of them writes.
pub fn sync_claim(known: &Known, claim: &PersistentVolumeClaim) -> Vec<Step> {
    let volume = volume_name(claim).map(|name| known.volumes.get(name));
    match (note(claim, BIND_COMPLETED).is_some(), volume) {
        (false, None) if claim.metadata.deletion_timestamp.is_some() => Vec::new(),
        (false, None) => find(known, claim),
        (false, Some(None)) => phase(claim, "Pending").into_iter().collect(),
        (false, Some(Some(volume))) => requested(volume, claim),
        (true, None) => {
            lost(claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!")
        }
        (true, Some(None)) => {
            lost(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
        }
        (true, Some(Some(volume))) if claim_ref(volume).is_none() || refers_to(volume, claim) => {
            bind(volume, claim).into_iter().collect()
        }
        (true, Some(Some(_))) => {
            lost(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        }
    }
}

/// The claim names no volume: one is found, waited for or asked for.
fn find(known: &Known, claim: &PersistentVolumeClaim) -> Vec<Step> {
    let wait = matching::waits_for_consumer(claim, &known.classes) && note(claim, SELECTED_NODE).is_none();
    if let Some(volume) = matching::best(known.volumes.values(), claim, None, &BTreeSet::new(), wait) {
        return bind(volume, claim).into_iter().collect();
    }
    let mut steps: Vec<Step> = phase(claim, "Pending").into_iter().collect();
    let class = class_of(claim);
    steps.push(match known.classes.get(class) {
        _ if wait => {
            let message = "waiting for first consumer to be created before binding";
            tell(false, "WaitForFirstConsumer", message)
        }
        None if class.is_empty() => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            tell(false, "FailedBinding", message)
        }
        None => tell(true, "ProvisioningFailed", format!("storageclass.storage.k8s.io \"{class}\" not found")),
        Some(class) if class.provisioner == NO_PROVISIONER => {
            tell(true, "ProvisioningFailed", format!("no volume plugin matched name: {NO_PROVISIONER}"))
        }
        Some(class) if note(claim, STORAGE_PROVISIONER) != Some(&class.provisioner) => {
            let mut asked = claim.clone();
            let notes = asked.metadata.annotations.get_or_insert_default();
            notes.insert(STORAGE_PROVISIONER.into(), class.provisioner.clone());
            notes.insert(BETA_STORAGE_PROVISIONER.into(), class.provisioner.clone());
            return vec![Step::Claim(Box::new(asked))];
        }
        Some(class) => {
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
                 administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
                 registered.",
                class.provisioner
            );
            tell(false, "ExternalProvisioning", message)
        }
    });
    steps
}

/// The user named a volume, or a binding was interrupted.
fn requested(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Vec<Step> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    if refers_to(volume, claim) {
        return bind(volume, claim).into_iter().collect();
    }
    let mut steps: Vec<Step> = phase(claim, "Pending").into_iter().collect();
    if claim_ref(volume).is_some() {
        steps.push(tell(true, "FailedBinding", format!("volume \"{name}\" already bound to a different claim.")));
        return steps;
    }
    let why = if matching::capacity(volume) < matching::requested(claim) {
        Some("requested PV is too small")
    } else if class_of_volume(volume) != class_of(claim) {
        Some("storageClassName does not match")
    } else if !matching::offers_modes(volume, claim) {
        Some("incompatible accessMode")
    } else if !matching::could_serve(volume, claim) {
        Some("incompatible volumeMode")
    } else {
        None
    };
    match why {
        None => bind(volume, claim).into_iter().collect(),
        Some(why) => {
            steps.push(tell(true, "VolumeMismatch", format!("Cannot bind to requested volume \"{name}\": {why}")));
            steps
        }
    }
}

fn lost(claim: &PersistentVolumeClaim, reason: &'static str, message: &str) -> Vec<Step> {
    // Told once, when it is found out.
    let mut steps: Vec<Step> = phase(claim, "Lost").into_iter().collect();
    if !steps.is_empty() {
        steps.push(tell(true, reason, message));
    }
    steps
}

/// The claim's phase as a write; none if it is so already.
fn phase(claim: &PersistentVolumeClaim, phase: &str) -> Option<Step> {
    let mut next = claim.clone();
    let status = next.status.get_or_insert_default();
    if status.phase.as_deref() == Some(phase) {
        return None;
    }
    status.phase = Some(phase.into());
    if phase == "Lost" {
        (status.access_modes, status.capacity) = (None, None);
    }
    Some(Step::ClaimStatus(Box::new(next)))
}

/// The first write that is missing from a binding.
fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Step> {
    let uid = claim.metadata.uid.as_ref();
    if claim_ref(volume).and_then(|r| r.uid.as_ref()) != uid {
        let mut next = volume.clone();
        if claim_ref(volume).is_none() {
            next.metadata.annotations.get_or_insert_default().insert(BOUND_BY_CONTROLLER.into(), "yes".into());
        }
        next.spec.get_or_insert_default().claim_ref = Some(reference(claim));
        return Some(Step::Volume(Box::new(next)));
    }
    if let Some(step) = volume_phase(volume, "Bound") {
        return Some(step);
    }
    let name = volume.metadata.name.clone().unwrap_or_default();
    if volume_name(claim) != Some(&name) || note(claim, BIND_COMPLETED).is_none() {
        let mut next = claim.clone();
        let notes = next.metadata.annotations.get_or_insert_default();
        notes.insert(BIND_COMPLETED.into(), "yes".into());
        if volume_name(claim).is_none() {
            notes.insert(BOUND_BY_CONTROLLER.into(), "yes".into());
        }
        next.spec.get_or_insert_default().volume_name = Some(name);
        return Some(Step::Claim(Box::new(next)));
    }
    let mut next = claim.clone();
    let status = next.status.get_or_insert_default();
    let spec = volume.spec.as_ref();
    status.phase = Some("Bound".into());
    status.access_modes = spec.and_then(|spec| spec.access_modes.clone());
    status.capacity = spec.and_then(|spec| spec.capacity.clone());
    (next.status != claim.status).then(|| Step::ClaimStatus(Box::new(next)))
}

/// A reference to the claim as the volume holds it.
pub fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        namespace: claim.metadata.namespace.clone(),
        name: claim.metadata.name.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

/// The volume's phase as a write; none if it is so already.
fn volume_phase(volume: &PersistentVolume, phase: &str) -> Option<Step> {
    let mut next = volume.clone();
    let status = next.status.get_or_insert_default();
    if status.phase.as_deref() == Some(phase) {
        return None;
    }
    status.phase = Some(phase.into());
    Some(Step::VolumeStatus(Box::new(next)))
}

/// The next step for a volume. `Released` follows from the claim's absence: the loop confirms that with the API server
/// first, since a cache may lag.
pub fn sync_volume(known: &Known, volume: &PersistentVolume) -> Option<Step> {
    let Some(reference) = claim_ref(volume) else { return volume_phase(volume, "Available") };
    if reference.uid.as_deref().unwrap_or_default().is_empty() {
        // Reserved by a person; the claim has not come yet, or is on its way.
        return volume_phase(volume, "Available");
    }
    let key = (reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default());
    let Some(claim) = known.claims.get(&key).filter(|claim| claim.metadata.uid == reference.uid) else {
        let failed = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Failed");
        return if failed { None } else { volume_phase(volume, "Released") };
    };
    match volume_name(claim) {
        // The claim's own sync goes on.
        None => None,
        Some(name) if Some(name) == volume.metadata.name.as_deref() => volume_phase(volume, "Bound"),
        Some(_) => set_free(volume),
    }
}

/// The claim chose another volume: one that was made for it goes, one that the controller reserved is free again, one that
/// a person reserved stays reserved by name.
fn set_free(volume: &PersistentVolume) -> Option<Step> {
    let notes = volume.metadata.annotations.as_ref();
    let has = |key: &str| notes.is_some_and(|notes| notes.contains_key(key));
    let deletes =
        volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()) == Some("Delete");
    if has(PROVISIONED_BY) && deletes {
        return volume_phase(volume, "Released");
    }
    let mut next = volume.clone();
    let spec = next.spec.get_or_insert_default();
    if has(BOUND_BY_CONTROLLER) {
        spec.claim_ref = None;
        next.metadata.annotations.iter_mut().for_each(|notes| drop(notes.remove(BOUND_BY_CONTROLLER)));
    } else if let Some(reference) = &mut spec.claim_ref {
        reference.uid = None;
    }
    Some(Step::Volume(Box::new(next)))
}
