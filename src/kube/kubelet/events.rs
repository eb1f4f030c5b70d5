//! The kubelet's Events: told to the API server in order, repeated ones counted.
//!
//! client-go's recorder and correlator, as far as `kubectl describe` shows: the same reason and message about the same
//! object is one Event with a growing count. An Event that cannot be told is dropped.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::pod::status::time;
use crate::kube::client::{Client, Patch};
use crate::rt::chan::mpsc;
use crate::rt::time::wall;

/// Something that users are told.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What it is about.
    pub object: ObjectReference,
    /// `Warning` instead of `Normal`.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// Takes notices; never waits.
#[derive(Clone)]
pub struct Events(mpsc::UnboundedSender<Notice>);

impl Events {
    /// A recorder and what [`run`] serves.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Notice>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells. Nobody hears it if the recorder has ended.
    pub fn tell(&self, notice: Notice) {
        let _ = self.0.send(notice);
    }
}

/// Uid and name of what it is about, reason, message.
type Key = (Option<String>, Option<String>, String, String);

/// Tells the API server of notices until all recorders are gone. `component` and `node` say who tells.
pub async fn run(client: Client, mut notices: mpsc::UnboundedReceiver<Notice>, component: String, node: String) {
    let mut known: BTreeMap<Key, (String, i32)> = BTreeMap::new();
    let mut serial = 0u64;
    while let Some(notice) = notices.recv().await {
        let object = notice.object.clone();
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".into());
        let key = (object.uid.clone(), object.name.clone(), notice.reason.clone(), notice.message.clone());
        let now = time(wall());
        if let Some((name, count)) = known.get_mut(&key) {
            *count = count.saturating_add(1);
            let patch = Patch::Merge(json!({"count": *count, "lastTimestamp": now}));
            if client.patch::<Event>(&namespace, name, &patch).await.is_ok() {
                continue;
            }
        }
        serial += 1;
        // Unique as upstream's time in nanoseconds is, and readable.
        let name = format!("{}.{:x}.{serial:x}", object.name.clone().unwrap_or_default(), wall().as_nanos());
        let event = Event {
            metadata: ObjectMeta { name: Some(name.clone()), namespace: Some(namespace), ..ObjectMeta::default() },
            involved_object: object,
            type_: Some(if notice.warning { "Warning" } else { "Normal" }.into()),
            reason: Some(notice.reason),
            message: Some(notice.message),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource { component: Some(component.clone()), host: Some(node.clone()) }),
            reporting_component: Some(component.clone()),
            reporting_instance: Some(node.clone()),
            ..Event::default()
        };
        match client.create(&event).await {
            Ok(_) => {
                known.insert(key, (name, 1));
            }
            Err(error) => tracing::debug!(%error, "an event is lost"),
        }
    }
}
