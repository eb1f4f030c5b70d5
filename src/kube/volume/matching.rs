//! Which volume suits which claim: upstream's `component-helpers/storage/volume`.
//!
//! Pure. The PV binder asks without a node, the scheduler asks for one node. A volume that was bound to the claim before
//! goes first; otherwise the smallest that is large enough, by name among equals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, TopologySelectorTerm,
};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::kube::matching::{labels_match, node_matches, whole};

/// On a claim: both sides of the binding are written.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or a volume: the controller chose the other side, not the user.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: the node that the scheduler chose.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: who shall provision.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The same, as older provisioners read it.
pub const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a volume: who provisioned it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: its class, as it was written before there was a field.
const BETA_STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// A class of this provisioner has static volumes only.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// The label of nodes and volumes that names the zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// The class that the claim asks for; empty is none.
pub fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let beta = claim.metadata.annotations.as_ref().and_then(|notes| notes.get(BETA_STORAGE_CLASS));
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    beta.or(field).map(String::as_str).unwrap_or_default()
}

/// The class of the volume; empty is none.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default()
}

/// An annotation of a claim.
pub fn note<'a>(claim: &'a PersistentVolumeClaim, key: &str) -> Option<&'a str> {
    claim.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The volume that the claim names; none for the empty name.
pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether both sides of the claim's binding are written.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && note(claim, BIND_COMPLETED).is_some()
}

/// Whether the claim waits for its first consumer (`WaitForFirstConsumer`). An unknown class does not wait.
pub fn waits_for_consumer(claim: &PersistentVolumeClaim, classes: &BTreeMap<String, Arc<StorageClass>>) -> bool {
    let class = classes.get(class_of(claim));
    class.is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

/// The claim that a volume is reserved for or bound to.
pub fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether the volume's reference means this claim: a reference without uid means whoever has the name.
pub fn refers_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_ref(volume).is_some_and(|r| {
        r.name == claim.metadata.name
            && r.namespace == claim.metadata.namespace
            && r.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
    })
}

/// Bytes that the claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> i64 {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| whole(requests.get("storage")?)).unwrap_or(0)
}

/// Bytes that the volume has.
pub fn capacity(volume: &PersistentVolume) -> i64 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    capacity.and_then(|capacity| whole(capacity.get("storage")?)).unwrap_or(0)
}

/// Whether a node may use the volume (`spec.nodeAffinity.required`).
pub fn usable_on(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    affinity.is_none_or(|required| node_matches(required, node))
}

/// Whether the volume offers every access mode that the claim asks for.
pub fn offers_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten()).all(|mode| offered.contains(mode))
}

/// `Filesystem` where neither side says.
fn same_volume_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of = |mode: Option<&String>| mode.map_or("Filesystem", String::as_str).to_string();
    of(volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
        == of(claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
}

/// Whether the volume is large enough, of the right kind and not being deleted.
pub fn could_serve(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    capacity(volume) >= requested(claim)
        && same_volume_mode(volume, claim)
        && volume.metadata.deletion_timestamp.is_none()
}

/// The best volume for `claim`, not one of `taken`: upstream's `FindMatchingVolume`. With `node`, one that the node can use;
/// with `wait` and no node, only one that refers to the claim already, since the scheduler shall choose.
pub fn best<'a>(
    volumes: impl IntoIterator<Item = &'a Arc<PersistentVolume>>,
    claim: &PersistentVolumeClaim,
    node: Option<&Node>,
    taken: &BTreeSet<&str>,
    wait: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let mut smallest: Option<&Arc<PersistentVolume>> = None;
    for volume in volumes {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let theirs = claim_ref(volume).is_some() && !refers_to(volume, claim);
        if taken.contains(name) || theirs || !could_serve(volume, claim) {
            continue;
        }
        let reachable = node.is_none_or(|node| usable_on(volume, node));
        if refers_to(volume, claim) {
            return reachable.then_some(volume);
        }
        if (wait && node.is_none()) || !reachable || !is_free(volume, claim) {
            continue;
        }
        if smallest.is_none_or(|other| capacity(volume) < capacity(other)) {
            smallest = Some(volume);
        }
    }
    smallest
}

/// Whether an unreserved volume is available and of the wanted class, labels and modes.
fn is_free(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let available = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available");
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selected = selector.is_none_or(|selector| labels_match(selector, volume.metadata.labels.as_ref()));
    available && selected && class_of_volume(volume) == class_of(claim) && offers_modes(volume, claim)
}

/// Whether the class provisions for this node: no terms are all nodes, terms are alternatives (`allowedTopologies`).
pub fn allowed_topology(terms: Option<&[TopologySelectorTerm]>, node: &Node) -> bool {
    let terms = terms.unwrap_or_default();
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let holds = |term: &TopologySelectorTerm| {
        let mut all = term.match_label_expressions.iter().flatten();
        all.all(|e| label(&e.key).is_some_and(|value| e.values.contains(value)))
    };
    terms.is_empty() || terms.iter().any(holds)
}
