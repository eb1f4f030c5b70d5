//! The dataset controller: `dataset-controller`.
//!
//! Follows `pkg/controllers/v1alpha1/dataset` of fluid-cloudnative/fluid. It only watches over beginning and end: a new
//! dataset is `NotBound`; one that is in use, by a pod that mounts its claim or by another dataset, is not deleted. What is
//! between is the runtime controllers'. Differs: the runtime controllers always run, none is scaled up from zero.

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::core::params::ListParams;
use serde_json::json;

use super::api::{Dataset, DatasetPhase};
use crate::kube::client::{ApiError, Client, EventRecorder, EventType, Informer, Patch, WorkQueue};
use crate::kube::kind::ObjectKey;
use crate::rt::task::Scope;
use crate::rt::time::Duration;

/// Keeps a dataset while it is in use.
pub const FINALIZER: &str = "fluid-dataset-controller-finalizer";

/// The controller's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetConfig {
    /// Between two looks at a dataset that is to go and is in use: 10 s.
    pub in_use_retry: Duration,
}

impl Default for DatasetConfig {
    fn default() -> Self {
        Self { in_use_retry: Duration::from_secs(10) }
    }
}

/// Why a dataset cannot go.
fn in_use(dataset: &Dataset, pods: &[Pod]) -> Option<String> {
    let name = dataset.metadata.name.as_deref().unwrap_or_default();
    let mounts = |pod: &&Pod| {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let ended = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let claims = |claim: &str| claim == name;
        !matches!(ended, Some("Succeeded" | "Failed"))
            && volumes
                .iter()
                .any(|volume| volume.persistent_volume_claim.as_ref().is_some_and(|c| claims(&c.claim_name)))
    };
    if let Some(pod) = pods.iter().find(mounts) {
        return Some(format!("pod {} mounts it", pod.metadata.name.as_deref().unwrap_or_default()));
    }
    let references = dataset.status.as_ref().map_or(&[][..], |status| &status.dataset_ref);
    references.first().map(|other| format!("dataset {other} refers to it"))
}

/// Runs the controller.
pub async fn run(client: Client, config: DatasetConfig) -> Infallible {
    let datasets = Informer::<Dataset>::all(&client);
    let events = EventRecorder::new(&client, "dataset-controller", "");
    let queue = WorkQueue::<ObjectKey>::default();
    let feeder = Scope::new();
    let (mut changes, keys) = (datasets.subscribe(), queue.clone());
    feeder.spawn("dataset-events", async move {
        while let Some(event) = changes.recv().await {
            keys.add(event.key());
        }
    });
    loop {
        let key = queue.get().await;
        match reconcile(&client, &datasets, &events, &config, &key).await {
            Ok(Some(wait)) => queue.add_after(key.clone(), wait),
            Ok(None) => queue.forget(&key),
            Err(error) => {
                tracing::warn!(dataset = %key, %error, "round ended early");
                queue.add_rate_limited(key.clone());
            }
        }
        queue.done(&key);
    }
}

async fn reconcile(
    client: &Client,
    datasets: &Informer<Dataset>,
    events: &EventRecorder,
    config: &DatasetConfig,
    key: &ObjectKey,
) -> Result<Option<Duration>, ApiError> {
    let Some(mut dataset) = datasets.get_key(key).map(Arc::unwrap_or_clone) else { return Ok(None) };
    let mut finalizers = dataset.metadata.finalizers.clone().unwrap_or_default();
    let kept = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    if dataset.metadata.deletion_timestamp.is_some() {
        let pods = client.list::<Pod>(&key.namespace, &ListParams::default()).await?.items;
        if let Some(why) = in_use(&dataset, &pods) {
            events.event(&dataset, EventType::Warning, "ErrorDeleteDataset", format!("the dataset is in use: {why}"));
            return Ok(Some(config.in_use_retry));
        }
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    } else if !kept {
        finalizers.push(FINALIZER.into());
    }
    if dataset.metadata.finalizers.clone().unwrap_or_default() != finalizers {
        let patch =
            json!({ "metadata": { "resourceVersion": dataset.metadata.resource_version, "finalizers": finalizers } });
        client.patch::<Dataset>(&key.namespace, &key.name, &Patch::Merge(patch)).await?;
        return Ok(None);
    }
    if dataset.status.as_ref().is_none_or(|status| status.phase == DatasetPhase::None) {
        dataset.status.get_or_insert_default().phase = DatasetPhase::NotBound;
        client.replace_status(&dataset).await?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(claim: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "nginx" },
            "spec": { "containers": [], "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": claim } }] },
            "status": { "phase": phase },
        }))
        .expect("a pod")
    }

    #[test]
    fn a_dataset_is_in_use_while_a_living_pod_mounts_it_or_another_refers_to_it() {
        let mut dataset = Dataset::new("demo", Default::default());
        for (claim, phase, used) in [
            ("demo", "Running", true),
            ("demo", "Pending", true),
            ("demo", "Succeeded", false),
            ("other", "Running", false),
        ] {
            assert_eq!(in_use(&dataset, &[pod(claim, phase)]).is_some(), used, "{claim} {phase}");
        }
        dataset.status.get_or_insert_default().dataset_ref = vec!["default/copy".into()];
        assert_eq!(in_use(&dataset, &[]).as_deref(), Some("dataset default/copy refers to it"));
    }
}
