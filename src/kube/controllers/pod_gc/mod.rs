//! The pod garbage collector: pods that nobody runs any more.
//!
//! The loop around [`plan`]: it looks each period, asks the API server itself whether a missing node is really missing, and deletes
//! without grace.

pub mod plan;

use std::collections::BTreeMap;
use std::convert::Infallible;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::params::DeleteParams;
use serde_json::json;

use self::plan::{Limits, Quarantine, Reason};
use super::meta::{name, namespace, uid};
use super::pod::{is_finished, node_name};
use super::shared::{Shared, absent_is_fine, only};
use crate::kube::client::{ApiError, Patch};
use crate::kube::clock;
use crate::rt::time::{Duration, Instant, interval};

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodGcConfig {
    /// Between two looks: upstream's `gcCheckPeriod`.
    pub period: Duration,
    /// Thresholds.
    pub limits: Limits,
}

impl Default for PodGcConfig {
    fn default() -> Self {
        Self { period: Duration::from_secs(20), limits: Limits::default() }
    }
}

/// Runs the controller.
pub async fn run(shared: Shared, config: PodGcConfig) -> Infallible {
    let (mut ticks, mut quarantine) = (interval(config.period), Quarantine::new());
    loop {
        ticks.tick().await;
        let nodes: BTreeMap<_, _> =
            shared.nodes.with(|all| all.iter().map(|(key, node)| (key.name.clone(), node.clone())).collect());
        for (pod, reason) in plan::plan(&shared.pods.list(), &nodes, &mut quarantine, config.limits, Instant::now()) {
            if let Err(error) = collect(&shared, &pod, reason).await {
                tracing::debug!(pod = name(&pod.metadata), %error, "not collected");
            }
        }
    }
}

async fn collect(shared: &Shared, pod: &Pod, reason: Reason) -> Result<(), ApiError> {
    if reason == Reason::Orphaned {
        let node = node_name(pod).unwrap_or_default();
        if shared.client.find::<Node>("", node).await?.is_some() {
            return Ok(());
        }
    }
    tracing::info!(pod = name(&pod.metadata), ?reason, "collect");
    let (namespace, name, id) = (namespace(&pod.metadata), name(&pod.metadata), uid(&pod.metadata));
    let message = match reason {
        Reason::Orphaned => Some("PodGC: node no longer exists"),
        Reason::OutOfService => Some("PodGC: node is out-of-service"),
        Reason::Terminated | Reason::Unscheduled => None,
    };
    if !is_finished(pod) {
        let condition = message.map(|message| {
            json!([{
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
                "lastTransitionTime": Time(clock::now())
            }])
        });
        let conditions = condition.unwrap_or_else(|| json!([]));
        let patch = json!({ "metadata": { "uid": id }, "status": { "phase": "Failed", "conditions": conditions } });
        absent_is_fine(shared.client.patch_status::<Pod>(namespace, name, &Patch::Strategic(patch)).await)?;
    }
    let params = DeleteParams { grace_period_seconds: Some(0), preconditions: only(id), ..DeleteParams::default() };
    absent_is_fine(shared.client.delete::<Pod>(namespace, name, &params).await)
}
