//! Claims and volumes in use are not deleted: the finalizers `kubernetes.io/pvc-protection` and `kubernetes.io/pv-protection`.
//!
//! Follows `pvcprotection` and `pvprotection` controllers of Kubernetes 1.3x. Rule: the finalizer is on every live object, and
//! comes off a deleted one when no pod that may still run names the claim, or the volume is not bound.

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use serde_json::json;

use super::meta::{has_finalizer, name, namespace, terminating, without_finalizer};
use super::pod::{is_finished, node_name};
use super::shared::{Shared, absent_is_fine, feed, work};
use crate::kube::client::{ApiError, InformerEvent, Patch, QueueConfig, WorkQueue};
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::Duration;

/// Finalizer of claims.
pub const CLAIM: &str = "kubernetes.io/pvc-protection";
/// Finalizer of volumes.
pub const VOLUME: &str = "kubernetes.io/pv-protection";

/// The finalizers that a claim should have, if they are other than it has.
pub fn claim(claim: &PersistentVolumeClaim, pods: &[Arc<Pod>]) -> Option<Vec<String>> {
    let uses = |pod: &Arc<Pod>| {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mut claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        pod.metadata.namespace == claim.metadata.namespace
            && node_name(pod).is_some()
            && !is_finished(pod)
            && claims.any(|source| source.claim_name == name(&claim.metadata))
    };
    protect(&claim.metadata, CLAIM, || pods.iter().any(uses))
}

/// The finalizers that a volume should have, if they are other than it has.
pub fn volume(volume: &PersistentVolume) -> Option<Vec<String>> {
    let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    protect(&volume.metadata, VOLUME, || bound)
}

fn protect(meta: &ObjectMeta, finalizer: &str, in_use: impl FnOnce() -> bool) -> Option<Vec<String>> {
    match (terminating(meta), has_finalizer(meta, finalizer)) {
        (false, false) => {
            let mut all = meta.finalizers.clone().unwrap_or_default();
            all.push(finalizer.into());
            Some(all)
        }
        (true, true) if !in_use() => Some(without_finalizer(meta, finalizer)),
        _ => None,
    }
}

/// Runs the controllers of both finalizers.
pub async fn run(shared: Shared, delays: QueueConfig) -> Infallible {
    let (queue, scope) = (WorkQueue::new(delays), Scope::new());
    feed(&scope, &shared.claims, &queue, |event| vec![event.key()]);
    feed(&scope, &shared.volumes, &queue, |event| vec![event.key()]);
    feed(&scope, &shared.pods, &queue, |event| {
        let pod = event.object();
        let ended = matches!(event, InformerEvent::Deleted(_)) || is_finished(pod);
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter(|_| ended);
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        claims.map(|source| ObjectKey::new(namespace(&pod.metadata), &*source.claim_name)).collect()
    });
    work("protection", &queue, |key| sync(&shared, key)).await
}

/// A key without a namespace is a volume's.
async fn sync(shared: &Shared, key: ObjectKey) -> Result<Option<Duration>, ApiError> {
    let patch = |meta: &ObjectMeta, finalizers: Vec<String>| {
        Patch::Merge(json!({
            "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": finalizers }
        }))
    };
    if let Some(found) = shared.volumes.get_key(&key).filter(|_| key.namespace.is_empty()) {
        if let Some(finalizers) = volume(&found) {
            let patch = patch(&found.metadata, finalizers);
            absent_is_fine(shared.client.patch::<PersistentVolume>("", &key.name, &patch).await)?;
        }
    } else if let Some(found) = shared.claims.get_key(&key) {
        let pods = shared.pods_in(&key.namespace, |_| terminating(&found.metadata));
        if let Some(finalizers) = claim(&found, &pods) {
            let patch = patch(&found.metadata, finalizers);
            absent_is_fine(shared.client.patch::<PersistentVolumeClaim>(&key.namespace, &key.name, &patch).await)?;
        }
    }
    Ok(None)
}
