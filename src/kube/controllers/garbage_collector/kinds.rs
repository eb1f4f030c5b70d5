//! The kinds that the garbage collector watches, and calls for objects whose kind is known by name only.
//!
//! Differs: upstream discovers the kinds; here whoever starts the collector names them.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::graph::Identity;
use crate::kube::client::{ApiError, Client, Informer, InformerEvent, JSON, Patch};
use crate::kube::json;
use crate::kube::kind::ApiObject;
use crate::rt::chan::mpsc;
use crate::rt::task::Scope;

/// A change of any object.
#[derive(Debug)]
pub enum Event {
    /// It is there: kind and metadata.
    Seen(&'static str, Box<ObjectMeta>),
    /// It is gone.
    Gone(Box<ObjectMeta>),
}

/// Path of a kind's collection; an empty namespace stands for none.
type Collection = fn(&str) -> String;

/// Objects of many kinds.
pub struct Objects {
    client: Client,
    kinds: BTreeMap<&'static str, (Collection, bool)>,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    scope: Scope,
}

#[derive(Deserialize)]
struct Partial {
    metadata: ObjectMeta,
}

impl Objects {
    /// None yet.
    pub fn new(client: Client) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        Self { client, kinds: BTreeMap::new(), sender, events, scope: Scope::new() }
    }

    /// Adds a kind, called `kind`, whose objects `informer` shows.
    #[must_use]
    pub fn with<K: ApiObject>(mut self, kind: &'static str, namespaced: bool, informer: &Informer<K>) -> Self {
        let path: Collection = |namespace| K::url_path(&(), Some(namespace).filter(|namespace| !namespace.is_empty()));
        self.kinds.insert(kind, (path, namespaced));
        // Only owners and the deletion matter.
        let mut changes = informer.subscribe_to(
            |change| !matches!(change, InformerEvent::Modified(old, new) if same(old.meta(), new.meta())),
        );
        let (sender, kept) = (self.sender.clone(), informer.clone());
        self.scope.spawn("garbage collector events", async move {
            // The cache is filled for as long as somebody holds it.
            let _kept = kept;
            while let Some(change) = changes.recv().await {
                let meta = Box::new(change.object().meta().clone());
                let event = match change {
                    InformerEvent::Deleted(_) => Event::Gone(meta),
                    InformerEvent::Added(_) | InformerEvent::Modified(..) => Event::Seen(kind, meta),
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        self
    }

    /// The next event.
    pub async fn event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => unreachable!("a sender is in this very structure"),
        }
    }

    /// Whether the kind is watched.
    pub fn knows(&self, kind: &str) -> bool {
        self.kinds.contains_key(kind)
    }

    fn path(&self, kind: &str, namespace: &str, name: &str) -> Option<String> {
        let (path, namespaced) = self.kinds.get(kind)?;
        Some(format!("{}/{name}", path(if *namespaced { namespace } else { "" })))
    }

    /// The metadata of an object as the API server has it now.
    ///
    /// # Errors
    /// Any but that it is not there.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<ObjectMeta>, ApiError> {
        let Some(path) = self.path(kind, namespace, name) else { return Ok(None) };
        match self.client.raw(Method::GET, path, JSON, Bytes::new()).await {
            Ok(body) => Ok(json::read::<Partial>(&body).ok().map(|partial| partial.metadata)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes exactly that version of an object, with a propagation policy.
    ///
    /// # Errors
    /// A conflict if it changed, any other but that it is not there.
    pub async fn delete(&self, of: &Identity, meta: &ObjectMeta, policy: &str) -> Result<(), ApiError> {
        let preconditions = json!({ "uid": meta.uid, "resourceVersion": meta.resource_version });
        let options = json!({ "preconditions": preconditions, "propagationPolicy": policy });
        self.send(Method::DELETE, of, JSON, &options).await
    }

    /// Applies a merge patch.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub async fn patch(&self, of: &Identity, patch: &Value) -> Result<(), ApiError> {
        let media_type = Patch::Merge(Value::Null).media_type();
        self.send(Method::PATCH, of, media_type, patch).await
    }

    async fn send(
        &self,
        method: Method,
        of: &Identity,
        media_type: &'static str,
        body: &Value,
    ) -> Result<(), ApiError> {
        let Some(path) = self.path(&of.kind, &of.namespace, &of.name) else { return Ok(()) };
        match self.client.raw(method, path, media_type, Bytes::from(body.to_string())).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn same(old: &ObjectMeta, new: &ObjectMeta) -> bool {
    old.owner_references == new.owner_references
        && old.finalizers == new.finalizers
        && old.deletion_timestamp == new.deletion_timestamp
        && old.uid == new.uid
}
