//! Events for `kubectl describe`, written aside: telling never makes a decision wait.
//!
//! The same reason and words about the same object are one event whose count grows, as client-go's recorder has it. Lost
//! events are lost: nothing rests on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use crate::kube::client::{Client, Patch};
use crate::kube::clock::time_now;
use crate::kube::kind::ApiObject;
use crate::rt::chan::mpsc;
use crate::rt::task::Scope;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct News {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    warning: bool,
    reason: &'static str,
    message: String,
}

/// Tells the owners of objects what became of them.
#[derive(Clone)]
pub struct Teller {
    sender: mpsc::UnboundedSender<News>,
    _task: Arc<Scope>,
}

impl Teller {
    /// Tells in the name of `component`.
    pub fn new(client: &Client, component: &'static str) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let scope = Scope::new();
        scope.spawn("events", write(client.clone(), component, receiver));
        Self { sender, _task: Arc::new(scope) }
    }

    /// Tells `message` about `object`.
    pub fn tell<K: ApiObject>(&self, object: &K, warning: bool, reason: &'static str, message: impl Into<String>) {
        let meta = object.meta();
        let news = News {
            kind: K::kind(&()).into_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            warning,
            reason,
            message: message.into(),
        };
        // The task ends with the last teller, not before.
        let _ = self.sender.send(news);
    }
}

async fn write(client: Client, component: &'static str, mut receiver: mpsc::UnboundedReceiver<News>) {
    let mut known = BTreeMap::<News, (String, i32)>::new();
    let mut counter = 0u64;
    while let Some(news) = receiver.recv().await {
        let namespace = if news.namespace.is_empty() { "default" } else { &news.namespace }.to_string();
        if let Some((name, count)) = known.get_mut(&news) {
            *count = count.saturating_add(1);
            let patch = Patch::Merge(json!({ "count": count, "lastTimestamp": time_now() }));
            match client.patch::<Event>(&namespace, name, &patch).await {
                Ok(_) => continue,
                Err(error) if error.is_not_found() => drop(known.remove(&news)),
                Err(error) => {
                    tracing::debug!(%error, "an event is lost");
                    continue;
                }
            }
        }
        counter += 1;
        let now = time_now();
        let name = format!("{}.{:x}{counter:06x}", news.name, now.0.as_second());
        let event = event(&news, component, &namespace, &name, now);
        match client.create(&event).await {
            Ok(_) => drop(known.insert(news, (name, 1))),
            Err(error) => tracing::debug!(%error, "an event is lost"),
        }
    }
}

fn event(news: &News, component: &str, namespace: &str, name: &str, now: Time) -> Event {
    Event {
        metadata: ObjectMeta { name: Some(name.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() },
        involved_object: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some(news.kind.clone()),
            name: Some(news.name.clone()),
            namespace: Some(news.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            uid: Some(news.uid.clone()),
            ..ObjectReference::default()
        },
        type_: Some(if news.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(news.reason.into()),
        message: Some(news.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource { component: Some(component.into()), host: None }),
        reporting_component: Some(component.into()),
        ..Event::default()
    }
}
