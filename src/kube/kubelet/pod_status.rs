//! Tells the API server what pods have come to, and deletes those that are done.
//!
//! Upstream's status manager: one update at a time, the newest status of a pod only, patched under the pod's uid so that a
//! namesake is never written. Rule: an object is deleted only after its last status was told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::core::params::{DeleteParams, Preconditions};
use serde_json::{Value, json};

use crate::base::lock;
use crate::kube::client::{ApiError, Client, Patch};
use crate::kube::runtime::PodId;
use crate::rt::chan::Notify;
use crate::rt::time::{Duration, sleep};

#[derive(Debug, Clone)]
struct Entry {
    id: PodId,
    status: PodStatus,
    told: bool,
    delete: bool,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, Entry>,
    /// Uids with something to tell, in order of asking.
    queue: std::collections::VecDeque<String>,
}

/// Pods' statuses. Clones share them.
#[derive(Clone, Default)]
pub struct PodStatuses {
    state: Arc<Mutex<State>>,
    bell: Arc<Notify>,
}

impl PodStatuses {
    /// A pod's status. Nothing happens if it is as it was.
    pub fn set(&self, id: &PodId, status: &PodStatus) {
        let mut state = lock(&self.state);
        let new = || Entry { id: id.clone(), status: PodStatus::default(), told: true, delete: false };
        let entry = state.pods.entry(id.uid.clone()).or_insert_with(new);
        if entry.status != *status {
            entry.status = status.clone();
            entry.told = false;
            self.ask(&mut state, &id.uid);
        }
    }

    /// The status that the API server has already: it need not be told again.
    pub fn known(&self, id: &PodId, status: &PodStatus) {
        let entry = Entry { id: id.clone(), status: status.clone(), told: true, delete: false };
        lock(&self.state).pods.insert(id.uid.clone(), entry);
    }

    /// Nothing of the pod is left on the node: its object can go.
    pub fn delete(&self, uid: &str) {
        let mut state = lock(&self.state);
        if let Some(entry) = state.pods.get_mut(uid) {
            entry.delete = true;
            self.ask(&mut state, uid);
        }
    }

    /// The pod's object is gone.
    pub fn forget(&self, uid: &str) {
        lock(&self.state).pods.remove(uid);
    }

    fn ask(&self, state: &mut State, uid: &str) {
        if !state.queue.iter().any(|queued| queued == uid) {
            state.queue.push_back(uid.to_owned());
        }
        self.bell.notify_one();
    }

    /// Tells, for ever.
    pub async fn run(self, client: Client, retry: Duration) {
        loop {
            let next = {
                let mut state = lock(&self.state);
                let uid = state.queue.pop_front();
                uid.and_then(|uid| state.pods.get(&uid).cloned())
            };
            let Some(entry) = next else {
                if lock(&self.state).queue.is_empty() {
                    self.bell.notified().await;
                }
                continue;
            };
            if let Err(error) = self.tell(&client, &entry).await {
                tracing::debug!(pod = %entry.id, %error, "a pod's status is not told");
                if error.is_transport() {
                    // The server is away: everything waits, nothing is lost.
                    self.ask(&mut lock(&self.state), &entry.id.uid);
                    sleep(retry).await;
                } else if error.is_not_found() || error.is_conflict() {
                    // Gone, or another pod of that name: there is nobody to tell.
                    self.forget(&entry.id.uid);
                } else {
                    tracing::warn!(pod = %entry.id, %error, "a pod's status is refused");
                }
            }
        }
    }

    async fn tell(&self, client: &Client, entry: &Entry) -> Result<(), ApiError> {
        let PodId { namespace, name, uid } = &entry.id;
        if !entry.told {
            client.patch_status::<Pod>(namespace, name, &Patch::Strategic(patch(uid, &entry.status))).await?;
            let mut state = lock(&self.state);
            if let Some(now) = state.pods.get_mut(uid).filter(|now| now.status == entry.status) {
                now.told = true;
            }
        }
        if entry.delete {
            let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            client.delete::<Pod>(namespace, name, &params).await?;
        }
        Ok(())
    }
}

/// The strategic merge patch of a status: what is absent is removed, addresses replace those before.
fn patch(uid: &str, status: &PodStatus) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        for name in ["podIPs", "hostIPs"] {
            if let Some(Value::Array(list)) = fields.get_mut(name) {
                list.insert(0, json!({"$patch": "replace"}));
            }
        }
        for name in ["reason", "message", "podIP", "initContainerStatuses", "containerStatuses"] {
            fields.entry(name).or_insert(Value::Null);
        }
    }
    json!({"metadata": {"uid": uid}, "status": value})
}
