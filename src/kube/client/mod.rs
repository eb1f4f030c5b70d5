//! A typed client of the API server, and what controllers are made of: informers, work queues, events, leader election.
//!
//! Follows client-go. [`Client`] is cheap to clone. Every request has a deadline, and an error tells whether the server may
//! have done it nevertheless ([`ApiError::is_transport`]). Reads through the client are of the newest version; reads of an
//! [`Informer`]'s cache are as old as its watch, which is where real controllers go wrong.

mod error;
mod http;
mod informer;
mod informers;
mod lease;
mod memo;
mod mutations;
mod path;
mod queue;
mod recorder;
mod watch;

use std::sync::Arc;

use ::http::{Method, StatusCode};
use bytes::Bytes;
use k8s_openapi::api::core::v1::{Binding, Pod};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::core::Status;
use kube::core::params::{DeleteParams, ListParams, WatchParams};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::http::{Call, Http};
use self::path::{collection, object_path};
use super::kind::{ApiObject, ObjectKey, own};
use super::{json, query};
use crate::rt::time::Duration;
pub use error::ApiError;
pub use informer::{Changes, Informer, InformerEvent};
pub use informers::Informers;
pub use lease::{Election, ElectionConfig, LostLease};
pub use memo::decode as decoded;
pub use mutations::MutationCache;
pub use queue::{QueueConfig, WorkQueue};
pub use recorder::{EventRecorder, EventType, RecorderConfig};
pub use watch::{Watch, WatchError};

pub use super::store::Patch;

/// The client's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientConfig {
    /// A request without an answer is given up after this: client-go's 32 s for discovery; it has none for others, which
    /// end when HTTP/2's ping fails, after 45 s.
    pub request_timeout: Duration,
    /// A watch without a sign of life is given up after this: HTTP/2's `ReadIdleTimeout` 30 s and `PingTimeout` 15 s.
    pub watch_silence_max: Duration,
    /// An idle connection is dropped after this: net/http's `IdleConnTimeout` of 90 s.
    pub idle_max: Duration,
    /// An informer's first wait after an error, doubling: `reflector`'s 800 ms.
    pub relist_backoff: Duration,
    /// Its longest wait: 30 s.
    pub relist_backoff_max: Duration,
    /// After so much time without an error the wait is short again: 2 minutes.
    pub relist_backoff_reset: Duration,
    /// A watch of an informer lasts at least this, at most twice: `minWatchTimeout` of 5 minutes.
    pub watch_timeout_min: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(32),
            watch_silence_max: Duration::from_secs(45),
            idle_max: Duration::from_secs(90),
            relist_backoff: Duration::from_millis(800),
            relist_backoff_max: Duration::from_secs(30),
            relist_backoff_reset: Duration::from_secs(120),
            watch_timeout_min: Duration::from_secs(300),
        }
    }
}

/// The objects of a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound = "K: DeserializeOwned")]
pub struct List<K> {
    /// Its version, to watch from.
    pub metadata: ListMeta,
    /// By namespace and name.
    pub items: Vec<K>,
}

/// A client of one API server.
#[derive(Clone)]
pub struct Client {
    http: Arc<Http>,
    config: Arc<ClientConfig>,
}

impl Client {
    /// Of the server at `host:port`. Nothing is sent yet.
    pub fn new(host_port: impl Into<String>) -> Self {
        Self::with_config(host_port, ClientConfig::default())
    }

    /// With other numbers than client-go's.
    pub fn with_config(host_port: impl Into<String>, config: ClientConfig) -> Self {
        Self { http: Arc::new(Http::new(host_port.into(), config.idle_max)), config: Arc::new(config) }
    }

    /// Its numbers.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// One object. `namespace` is empty for kinds without namespaces, here and below.
    ///
    /// # Errors
    /// [`ApiError::is_not_found`], or an error of the way, as for all calls below.
    pub async fn get<K: ApiObject>(&self, namespace: &str, name: &str) -> Result<K, ApiError> {
        let object = self.object(Method::GET, object_path::<K>(namespace, name, ""), JSON, Bytes::new()).await?;
        Ok(Arc::unwrap_or_clone(object))
    }

    /// One object, or nothing if there is none.
    ///
    /// # Errors
    /// As [`Client::get`], without 404.
    pub async fn find<K: ApiObject>(&self, namespace: &str, name: &str) -> Result<Option<K>, ApiError> {
        match self.get(namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a namespace, or of all namespaces if it is empty.
    ///
    /// # Errors
    /// 400 for a selector that cannot be read.
    pub async fn list<K: ApiObject>(&self, namespace: &str, params: &ListParams) -> Result<List<K>, ApiError> {
        let mut query = String::new();
        selectors(&mut query, params.label_selector.as_deref(), params.field_selector.as_deref());
        let target = with_query(collection::<K>(namespace), &query);
        let body = self.raw(Method::GET, target, JSON, Bytes::new()).await?;
        json::read(&body).map_err(|error| malformed(&error))
    }

    /// Watches from `version`, an object's or a list's; from the present if it is empty, beginning with all objects.
    ///
    /// # Errors
    /// As [`Client::list`]. That the version is forgotten comes as the watch's first event.
    pub async fn watch<K: ApiObject>(
        &self,
        namespace: &str,
        params: &WatchParams,
        version: &str,
    ) -> Result<Watch<K>, ApiError> {
        let mut query = "watch=true".to_owned();
        selectors(&mut query, params.label_selector.as_deref(), params.field_selector.as_deref());
        let seconds = params.timeout.map_or_else(|| "290".into(), |seconds| seconds.to_string());
        query::push(&mut query, "timeoutSeconds", &seconds);
        if params.bookmarks {
            query.push_str("&allowWatchBookmarks=true");
        }
        if params.send_initial_events {
            query.push_str("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
        }
        if !version.is_empty() {
            query::push(&mut query, "resourceVersion", version);
        }
        let target = with_query(collection::<K>(namespace), &query);
        let call = Call { method: Method::GET, target, media_type: JSON, body: Bytes::new() };
        let (response, mut connection) = self.http.open(&call, self.config.request_timeout).await?;
        let (status, body, silence_max) = (response.status(), response.into_body(), self.config.watch_silence_max);
        if status != StatusCode::OK {
            return Err(watch::refused(status, body, &mut connection, silence_max).await);
        }
        Ok(Watch::new(self.http.clone(), body, connection, silence_max))
    }

    /// Makes an object, in the namespace that its metadata names. Gives it as the server has it.
    ///
    /// # Errors
    /// [`ApiError::is_already_exists`], [`ApiError::is_invalid`].
    pub async fn create<K: ApiObject>(&self, object: &K) -> Result<Arc<K>, ApiError> {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        self.object(Method::POST, collection::<K>(&namespace), JSON, write(object)?).await
    }

    /// The same, for those who do not ask how the server has it.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn post<K: ApiObject>(&self, object: &K) -> Result<(), ApiError> {
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        self.raw(Method::POST, collection::<K>(namespace), JSON, write(object)?).await.map(drop)
    }

    /// Replaces an object. If it names a version, it must be the newest.
    ///
    /// # Errors
    /// [`ApiError::is_conflict`], [`ApiError::is_not_found`], [`ApiError::is_invalid`].
    pub async fn replace<K: ApiObject>(&self, object: &K) -> Result<Arc<K>, ApiError> {
        self.put(object, "").await
    }

    /// Replaces an object's status and nothing else (of built-in kinds also labels and annotations).
    ///
    /// # Errors
    /// As [`Client::replace`].
    pub async fn replace_status<K: ApiObject>(&self, object: &K) -> Result<Arc<K>, ApiError> {
        self.put(object, "status").await
    }

    async fn put<K: ApiObject>(&self, object: &K, subresource: &str) -> Result<Arc<K>, ApiError> {
        let key = ObjectKey::of(object);
        let target = object_path::<K>(&key.namespace, &key.name, subresource);
        self.object(Method::PUT, target, JSON, write(object)?).await
    }

    /// Changes an object by a patch. A version in the patch must be the newest.
    ///
    /// # Errors
    /// As [`Client::replace`].
    pub async fn patch<K: ApiObject>(&self, namespace: &str, name: &str, patch: &Patch) -> Result<Arc<K>, ApiError> {
        let target = object_path::<K>(namespace, name, "");
        self.object(Method::PATCH, target, patch.media_type(), encode(patch.body())?).await
    }

    /// Changes an object's status by a patch.
    ///
    /// # Errors
    /// As [`Client::replace`].
    pub async fn patch_status<K: ApiObject>(
        &self,
        namespace: &str,
        name: &str,
        patch: &Patch,
    ) -> Result<Arc<K>, ApiError> {
        let target = object_path::<K>(namespace, name, "status");
        self.object(Method::PATCH, target, patch.media_type(), encode(patch.body())?).await
    }

    /// Sets an object's replicas, by its scale.
    ///
    /// # Errors
    /// As [`Client::replace`].
    pub async fn scale<K: ApiObject>(&self, namespace: &str, name: &str, replicas: u32) -> Result<(), ApiError> {
        let patch = Patch::Merge(serde_json::json!({"spec": {"replicas": replicas}}));
        let target = object_path::<K>(namespace, name, "scale");
        self.raw(Method::PATCH, target, patch.media_type(), encode(patch.body())?).await.map(drop)
    }

    /// Deletes an object, or begins to.
    ///
    /// # Errors
    /// [`ApiError::is_not_found`]; [`ApiError::is_conflict`] if the preconditions do not hold.
    pub async fn delete<K: ApiObject>(
        &self,
        namespace: &str,
        name: &str,
        params: &DeleteParams,
    ) -> Result<(), ApiError> {
        let target = object_path::<K>(namespace, name, "");
        self.raw(Method::DELETE, target, JSON, encode(params)?).await.map(drop)
    }

    /// Deletes all objects that a list would give.
    ///
    /// # Errors
    /// As [`Client::list`].
    pub async fn delete_all<K: ApiObject>(
        &self,
        namespace: &str,
        params: &ListParams,
        how: &DeleteParams,
    ) -> Result<(), ApiError> {
        let mut query = String::new();
        selectors(&mut query, params.label_selector.as_deref(), params.field_selector.as_deref());
        let target = with_query(collection::<K>(namespace), &query);
        self.raw(Method::DELETE, target, JSON, encode(how)?).await.map(drop)
    }

    /// Assigns a pod to a node. `pod` may name a uid: then only that pod.
    ///
    /// # Errors
    /// [`ApiError::is_conflict`] if it has a node, or is being deleted.
    pub async fn bind(&self, binding: &Binding) -> Result<(), ApiError> {
        let (namespace, name) = (&binding.metadata.namespace, &binding.metadata.name);
        let (namespace, name) = (namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
        let target = object_path::<Pod>(namespace, name, "binding");
        self.raw(Method::POST, target, JSON, encode(binding)?).await.map(drop)
    }

    /// Evicts a pod.
    ///
    /// # Errors
    /// As [`Client::delete`].
    pub async fn evict(&self, eviction: &Eviction) -> Result<(), ApiError> {
        let (namespace, name) = (&eviction.metadata.namespace, &eviction.metadata.name);
        let (namespace, name) = (namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
        let target = object_path::<Pod>(namespace, name, "eviction");
        self.raw(Method::POST, target, JSON, encode(eviction)?).await.map(drop)
    }

    /// Any request, for those who know a kind only at run time: path and query, media type of the body, body.
    ///
    /// # Errors
    /// The server's refusal, or an error of the way.
    pub async fn raw(
        &self,
        method: Method,
        target: String,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Bytes, ApiError> {
        let call = Call { method, target, media_type, body };
        let (status, body) = self.http.call(&call, self.config.request_timeout).await?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    async fn object<K: ApiObject>(
        &self,
        method: Method,
        target: String,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Arc<K>, ApiError> {
        let body = self.raw(method, target, media_type, body).await?;
        memo::decode(&body).map_err(|error| malformed(&error))
    }
}

/// The media type of plain bodies.
pub const JSON: &str = "application/json";

/// Where it broke, and not on what: that may be a Secret's value.
fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::Malformed(format!("at line {}, column {}", error.line(), error.column()))
}

fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    match json::read::<Status>(body) {
        Ok(refusal) => ApiError::Status(refusal.boxed()),
        Err(_) => ApiError::Malformed(format!("{status} without a Status")),
    }
}

fn write<K: ApiObject>(object: &K) -> Result<Bytes, ApiError> {
    own::write(object).map_err(|error| malformed(&error))
}

fn encode(value: &impl Serialize) -> Result<Bytes, ApiError> {
    json::write(value).map_err(|error| malformed(&error))
}

fn selectors(query: &mut String, labels: Option<&str>, fields: Option<&str>) {
    for (name, value) in [("labelSelector", labels), ("fieldSelector", fields)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            query::push(query, name, value);
        }
    }
}

fn with_query(path: String, query: &str) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}
