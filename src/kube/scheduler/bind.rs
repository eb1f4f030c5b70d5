//! The binding cycle: volumes first, then the pod. Upstream's `VolumeBinding` PreBind and `DefaultBinder`.
//!
//! Runs beside the scheduling loop, since provisioning takes time. Whatever fails, the pod is tried again from the start;
//! what was written stays, and the next cycle finds it.

use k8s_openapi::api::core::v1::{Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::filter::NodeVolumes;
use super::pod::{Key, PodInfo};
use crate::kube::client::{ApiError, Client, Informer, Patch};
use crate::kube::volume::binder::reference;
use crate::kube::volume::matching::{BOUND_BY_CONTROLLER, SELECTED_NODE, claim_ref, is_bound, note, refers_to};
use crate::rt::time::{Duration, timeout};

/// Why a pod was not bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Its volumes were not bound in time.
    #[error("running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded")]
    Deadline,
    /// The provisioner gave the scheduler's choice back.
    #[error("running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC {0:?}")]
    Provisioning(String),
    /// Another pod's claim got the volume.
    #[error("running PreBind plugin \"VolumeBinding\": binding volumes: pv {0:?} is bound to another claim")]
    Taken(String),
    /// The API server said no, or nothing.
    #[error("{0}")]
    Api(#[from] ApiError),
}

/// Binds the pod to `node`, after its volumes.
///
/// # Errors
/// See [`BindError`]; the pod may be bound nevertheless if the answer was lost.
pub async fn bind(
    client: &Client,
    claims: &Informer<PersistentVolumeClaim>,
    pod: &PodInfo,
    node: &str,
    volumes: &NodeVolumes,
    patience: Duration,
) -> Result<(), BindError> {
    for (claim, volume) in &volumes.bind {
        reserve(client, claim, volume).await?;
    }
    for (namespace, name) in &volumes.provision {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { SELECTED_NODE: node } } }));
        client.patch::<PersistentVolumeClaim>(namespace, name, &patch).await?;
    }
    if !volumes.is_empty() {
        timeout(patience, bound(claims, volumes)).await.map_err(|_| BindError::Deadline)??;
    }
    let meta = &pod.pod.metadata;
    let binding = Binding {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference { kind: Some("Node".into()), name: Some(node.into()), ..ObjectReference::default() },
    };
    Ok(client.bind(&binding).await?)
}

/// Writes the claim into the volume, unless somebody was faster.
async fn reserve(client: &Client, claim: &Key, volume: &str) -> Result<(), BindError> {
    let claim = client.get::<PersistentVolumeClaim>(&claim.0, &claim.1).await?;
    let mut volume = client.get::<PersistentVolume>("", volume).await?;
    if refers_to(&volume, &claim) {
        return Ok(());
    }
    if claim_ref(&volume).is_some() {
        return Err(BindError::Taken(volume.metadata.name.unwrap_or_default()));
    }
    volume.metadata.annotations.get_or_insert_default().insert(BOUND_BY_CONTROLLER.into(), "yes".into());
    volume.spec.get_or_insert_default().claim_ref = Some(reference(&claim));
    client.replace(&volume).await?;
    Ok(())
}

/// Waits until the claims are bound. A selected node that was written and is gone again was given back.
async fn bound(claims: &Informer<PersistentVolumeClaim>, volumes: &NodeVolumes) -> Result<(), BindError> {
    let mut changes = claims.changes();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let mut all = true;
        let keys = volumes.bind.iter().map(|(claim, _)| claim).chain(&volumes.provision);
        for (namespace, name) in keys {
            let Some(claim) = claims.get(namespace, name) else { return Err(BindError::Provisioning(name.clone())) };
            if is_bound(&claim) {
                continue;
            }
            all = false;
            if note(&claim, SELECTED_NODE).is_some() {
                seen.insert(name.clone());
            } else if seen.contains(name) {
                return Err(BindError::Provisioning(name.clone()));
            }
        }
        if all {
            return Ok(());
        }
        changes.changed().await;
    }
}
