//! VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone: what a pod's claims allow.
//!
//! Claims are sorted once per pod: bound ones follow their volume, immediate ones must be bound already, delayed ones are
//! matched or left to be provisioned for the node in question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::{Plugin, Rejection};
use crate::kube::scheduler::pod::{Key, PodInfo};
use crate::kube::scheduler::snapshot::{AssumedClaim, Catalog, NodeInfo, Snapshot};
use crate::kube::volume::matching::{
    self, NO_PROVISIONER, SELECTED_NODE, class_of, is_bound, note, requested, usable_on, volume_name,
};

/// Labels of a volume that a node must share.
const ZONE_LABELS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// What has to be done about a pod's volumes once it is placed on a node.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NodeVolumes {
    /// Claims that will be bound to an existing volume, with its name.
    pub bind: Vec<(Key, String)>,
    /// Claims for which a volume will be provisioned.
    pub provision: Vec<Key>,
}

impl NodeVolumes {
    /// Nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.bind.is_empty() && self.provision.is_empty()
    }
}

/// A pod's claims, sorted.
#[derive(Debug, Default, Clone)]
pub struct PodClaims {
    bound: Vec<Arc<PersistentVolumeClaim>>,
    delayed: Vec<Arc<PersistentVolumeClaim>>,
    /// Claims of mode `ReadWriteOncePod`.
    once: Vec<Key>,
}

impl PodClaims {
    /// Sorts the claims that the pod names.
    ///
    /// # Errors
    /// A claim that is missing, lost, going, or immediate and not bound: no node will do.
    pub fn of(pod: &PodInfo, catalog: &Catalog) -> Result<Self, Rejection> {
        let refuse = |reason: String| Rejection::unresolvable(Plugin::VolumeBinding, reason);
        let mut sorted = Self::default();
        let mut immediate = false;
        for name in pod.claims() {
            let key = (pod.key.0.clone(), name.clone());
            let Some(claim) = catalog.claims.get(&key) else {
                return Err(refuse(format!("persistentvolumeclaim \"{name}\" not found")));
            };
            if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
                let volume = volume_name(claim).unwrap_or_default();
                let reason =
                    format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\"");
                return Err(refuse(reason));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(refuse(format!("persistentvolumeclaim \"{name}\" is being deleted")));
            }
            let modes = claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
            if modes.into_iter().any(|mode| mode == "ReadWriteOncePod") {
                sorted.once.push(key);
            }
            if is_bound(claim) {
                sorted.bound.push(claim.clone());
            } else if matching::waits_for_consumer(claim, &catalog.classes) && volume_name(claim).is_none() {
                sorted.delayed.push(claim.clone());
            } else {
                immediate = true;
            }
        }
        if immediate {
            return Err(refuse("pod has unbound immediate PersistentVolumeClaims".into()));
        }
        sorted.delayed.sort_by_key(|claim| requested(claim));
        Ok(sorted)
    }

    /// A `ReadWriteOncePod` claim is for one pod in the whole cluster.
    pub fn restrictions(&self, pod: &PodInfo, snapshot: &Snapshot) -> Result<(), Rejection> {
        let uses = |other: &PodInfo, claim: &Key| other.key.0 == claim.0 && other.claims().any(|name| name == claim.1);
        let taken = |claim: &Key| snapshot.pods().any(|(_, other)| other.key != pod.key && uses(other, claim));
        if !self.once.iter().any(taken) {
            return Ok(());
        }
        let reason = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
        Err(Rejection::resolvable(Plugin::VolumeRestrictions, reason))
    }

    /// How many volumes of each driver the node takes (`CSINode.spec.drivers[].allocatable.count`).
    pub fn limits(&self, pod: &PodInfo, node: &NodeInfo, catalog: &Catalog) -> Result<(), Rejection> {
        let drivers = catalog.csi_nodes.get(node.name()).map_or(&[][..], |node| &node.spec.drivers);
        let limit = |driver: &str| drivers.iter().find(|d| d.name == driver)?.allocatable.as_ref()?.count;
        let of_pod = |pod: &PodInfo| {
            let keys = pod.claims().map(|name| (pod.key.0.clone(), name)).collect::<Vec<_>>();
            keys.into_iter().filter_map(|key| driver_and_handle(&key, catalog)).collect::<Vec<_>>()
        };
        let new: BTreeSet<_> = of_pod(pod).into_iter().filter(|(driver, _)| limit(driver).is_some()).collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut all: BTreeSet<_> = node.pods.values().flat_map(|pod| of_pod(pod)).collect();
        let new: Vec<_> = new.into_iter().filter(|volume| all.insert(volume.clone())).collect();
        let mut counts = BTreeMap::<&str, i64>::new();
        all.iter().for_each(|(driver, _)| *counts.entry(driver).or_default() += 1);
        let over = |driver: &str| limit(driver).is_some_and(|most| counts.get(driver).copied() > Some(most.into()));
        if new.iter().any(|(driver, _)| over(driver)) {
            return Err(Rejection::resolvable(Plugin::NodeVolumeLimits, "node(s) exceed max volume count"));
        }
        Ok(())
    }

    /// Bound volumes must be in the node's reach; for the others a volume is found or can be provisioned.
    pub fn binding(&self, node: &NodeInfo, catalog: &Catalog) -> Result<NodeVolumes, Rejection> {
        let refuse = |reason: &str| Rejection::unresolvable(Plugin::VolumeBinding, reason);
        let mut reasons = Vec::new();
        for claim in &self.bound {
            match volume_of(claim, catalog) {
                None => reasons.push("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"),
                Some(volume) if !usable_on(volume, &node.node) => {
                    reasons.push("node(s) had volume node affinity conflict");
                }
                Some(_) => {}
            }
        }
        reasons.sort_unstable();
        reasons.dedup();
        let unbound = self.unbound(node, catalog);
        if unbound.is_none() {
            reasons.push("node(s) didn't find available persistent volumes to bind");
        }
        match unbound {
            Some(volumes) if reasons.is_empty() => Ok(volumes),
            _ => Err(Rejection { reasons: reasons.into_iter().map(Into::into).collect(), ..refuse("") }),
        }
    }

    /// A volume for each delayed claim, or a class that will provision one; none if neither.
    fn unbound(&self, node: &NodeInfo, catalog: &Catalog) -> Option<NodeVolumes> {
        let mut found = NodeVolumes::default();
        let assumed = catalog.assumed_claims.values();
        let mut taken: BTreeSet<&str> = assumed
            .filter_map(|assumed| match assumed {
                AssumedClaim::Volume(name) => Some(name.as_str()),
                AssumedClaim::Provision(_) => None,
            })
            .collect();
        for claim in &self.delayed {
            let key = claim_key(claim);
            let mut chosen = note(claim, SELECTED_NODE);
            match catalog.assumed_claims.get(&key) {
                Some(AssumedClaim::Volume(name)) => {
                    catalog.volumes.get(name).filter(|volume| usable_on(volume, &node.node))?;
                    found.bind.push((key, name.clone()));
                    continue;
                }
                Some(AssumedClaim::Provision(node)) => chosen = chosen.or(Some(node)),
                None => {}
            }
            if let Some(chosen) = chosen {
                if chosen != node.name() {
                    return None;
                }
                found.provision.push(key);
                continue;
            }
            let volumes = catalog.volumes.values();
            match matching::best(volumes, claim, Some(&node.node), &taken, true) {
                Some(volume) => {
                    let name = volume.metadata.name.as_deref().unwrap_or_default();
                    taken.insert(name);
                    found.bind.push((key, name.into()));
                }
                None if provisions(claim, node, catalog) => found.provision.push(key),
                None => return None,
            }
        }
        Some(found)
    }

    /// Zone and region labels of bound volumes, which older provisioners wrote instead of node affinity.
    pub fn zone(&self, node: &NodeInfo, catalog: &Catalog) -> Result<(), Rejection> {
        let conflict = |volume: &Arc<PersistentVolume>| {
            let labels = volume.metadata.labels.iter().flatten();
            let mut zones = labels.filter(|(key, _)| ZONE_LABELS.contains(&key.as_str()));
            zones.any(|(key, values)| !node.label(key).is_some_and(|own| values.split("__").any(|value| value == own)))
        };
        let mut volumes = self.bound.iter().filter_map(|claim| volume_of(claim, catalog));
        if volumes.any(conflict) {
            return Err(Rejection::unresolvable(Plugin::VolumeZone, "node(s) had no available volume zone"));
        }
        Ok(())
    }
}

fn claim_key(claim: &PersistentVolumeClaim) -> Key {
    (claim.metadata.namespace.clone().unwrap_or_default(), claim.metadata.name.clone().unwrap_or_default())
}

fn volume_of<'a>(claim: &PersistentVolumeClaim, catalog: &'a Catalog) -> Option<&'a Arc<PersistentVolume>> {
    catalog.volumes.get(volume_name(claim)?)
}

/// The driver and the name that it gave the volume; a claim without volume counts as one of its class's driver.
fn driver_and_handle(key: &Key, catalog: &Catalog) -> Option<(String, String)> {
    let claim = catalog.claims.get(key)?;
    match volume_of(claim, catalog) {
        Some(volume) => {
            let csi = volume.spec.as_ref()?.csi.as_ref()?;
            Some((csi.driver.clone(), csi.volume_handle.clone()))
        }
        None => {
            let class = catalog.classes.get(class_of(claim))?;
            Some((class.provisioner.clone(), format!("{}/{}", key.0, key.1)))
        }
    }
}

/// Whether the claim's class will make a volume for this node.
fn provisions(claim: &PersistentVolumeClaim, node: &NodeInfo, catalog: &Catalog) -> bool {
    let class = catalog.classes.get(class_of(claim));
    class.is_some_and(|class| {
        let dynamic = !class.provisioner.is_empty() && class.provisioner != NO_PROVISIONER;
        dynamic && matching::allowed_topology(class.allowed_topologies.as_deref(), &node.node)
    })
}
