//! The taint eviction controller: NoExecute taints drive pods away.
//!
//! The loop around [`evictor`]. It deletes with the pod's own grace, so on a node that nobody hears from the pod stays Terminating.

pub mod evictor;

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use self::evictor::{Evictor, Key};
use super::meta::{name, namespace, terminating, uid};
use super::node::taints;
use super::pod::node_name;
use super::shared::{Shared, absent_is_fine};
use crate::kube::client::{ApiError, EventRecorder, EventType, InformerEvent, Patch};
use crate::kube::clock;
use crate::rt::time::{Duration, Instant, sleep, sleep_until};
use crate::rt::{Either, select2};

/// Numbers of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaintEvictionConfig {
    /// Attempts to delete a pod: upstream's `retries`.
    pub attempts: u32,
    /// Between them.
    pub pause: Duration,
}

impl Default for TaintEvictionConfig {
    fn default() -> Self {
        Self { attempts: 5, pause: Duration::from_millis(10) }
    }
}

/// Runs the controller.
pub async fn run(shared: Shared, config: TaintEvictionConfig) -> Infallible {
    let (mut nodes, mut pods) = (shared.nodes.subscribe(), shared.pods.subscribe());
    let events = EventRecorder::new(&shared.client, "taint-eviction-controller", "");
    let mut evictor = Evictor::default();
    loop {
        let due = async {
            match evictor.next() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        match select2(select2(nodes.recv(), pods.recv()), due).await {
            Either::Left(Either::Left(Some(event))) => node_changed(&shared, &events, &mut evictor, &event),
            Either::Left(Either::Right(Some(event))) => pod_changed(&shared, &events, &mut evictor, &event),
            // The informers are held by `shared`.
            Either::Left(_) => unreachable!("the informers outlive their controller"),
            Either::Right(()) => {
                for (key, uid) in evictor.pop(Instant::now()) {
                    evict(&shared, &events, config, &key, &uid).await;
                }
            }
        }
    }
}

fn look(events: &EventRecorder, evictor: &mut Evictor, pod: &Pod, taints: &[Taint]) {
    if terminating(&pod.metadata) {
        evictor.forget(&(namespace(&pod.metadata).into(), name(&pod.metadata).into()));
    } else if evictor.look(pod, taints, Instant::now()) {
        let said = format!("Cancelling deletion of Pod {}/{}", namespace(&pod.metadata), name(&pod.metadata));
        events.event(pod, EventType::Normal, "TaintManagerEviction", said);
    }
}

fn node_changed(shared: &Shared, events: &EventRecorder, evictor: &mut Evictor, event: &InformerEvent<Node>) {
    let node = event.object();
    if matches!(event, InformerEvent::Modified(old, new) if taints(old) == taints(new)) {
        return;
    }
    let here = name(&node.metadata);
    let pods: Vec<Arc<Pod>> =
        shared.pods.with(|all| all.values().filter(|pod| node_name(pod) == Some(here)).cloned().collect());
    // A node that is gone drives nobody away: its pods are the pod garbage collector's.
    let taints = if matches!(event, InformerEvent::Deleted(_)) { &[] } else { taints(node) };
    pods.iter().for_each(|pod| look(events, evictor, pod, taints));
}

fn pod_changed(shared: &Shared, events: &EventRecorder, evictor: &mut Evictor, event: &InformerEvent<Pod>) {
    let pod = event.object();
    match event {
        InformerEvent::Deleted(_) => evictor.forget(&(namespace(&pod.metadata).into(), name(&pod.metadata).into())),
        // Only the node, the tolerations and being deleted matter.
        InformerEvent::Modified(old, new)
            if old.spec == new.spec && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp => {}
        _ => {
            let node = node_name(pod).and_then(|node| shared.nodes.get("", node));
            look(events, evictor, pod, node.as_deref().map(taints).unwrap_or_default());
        }
    }
}

/// Says why, then deletes.
async fn evict(shared: &Shared, events: &EventRecorder, config: TaintEvictionConfig, key: &Key, id: &str) {
    if let Some(pod) = shared.pods.get(&key.0, &key.1) {
        let said = format!("Marking for deletion Pod {}/{}", key.0, key.1);
        events.event(&*pod, EventType::Normal, "TaintManagerEviction", said);
    }
    for _ in 0..config.attempts {
        match delete(shared, key, id).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(pod = key.1, %error, "not deleted"),
        }
        sleep(config.pause).await;
    }
}

async fn delete(shared: &Shared, (namespace, name): &Key, id: &str) -> Result<(), ApiError> {
    let Some(pod) = shared.pods.get(namespace, name).filter(|pod| uid(&pod.metadata) == id) else { return Ok(()) };
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": Time(clock::now())
    });
    let patch = json!({ "metadata": { "uid": id }, "status": { "conditions": [condition] } });
    absent_is_fine(shared.client.patch_status::<Pod>(namespace, name, &Patch::Strategic(patch)).await)?;
    shared.delete_pod(&pod).await
}
