//! A stored object and the words for its changes.
//!
//! An object is never changed: a change makes a new one. Its JSON is made once, on first demand, and shared by all who
//! ask for it. `Debug` shows which object it is and never what is in it, because it may be a Secret.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::kube::json;
use crate::kube::kind::{Body, ObjectKey};

/// One version of one object.
pub struct Object {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.resourceVersion` as a number.
    pub version: u64,
    /// `metadata`.
    pub meta: ObjectMeta,
    /// The rest: `apiVersion`, `kind`, `spec`, `status`, `data`…
    pub body: Body,
    json: OnceLock<Bytes>,
}

impl Object {
    /// The object that `meta` and `body` make at `version`.
    pub(super) fn new(version: u64, mut meta: ObjectMeta, body: Body) -> Self {
        meta.resource_version = Some(version.to_string());
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = meta.name.clone().unwrap_or_default();
        Self { key: ObjectKey { namespace, name }, version, meta, body, json: OnceLock::new() }
    }

    /// The same object under another version: an object as it was, in an event that came later.
    pub fn at_version(object: &Self, version: u64) -> Self {
        Self::new(version, object.meta.clone(), object.body.clone())
    }

    /// As it goes over the wire.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| match json::write(self) {
            Ok(json) => json,
            Err(error) => unreachable!("a tree of JSON values is JSON: {error}"),
        })
    }

    /// The whole as a value.
    pub fn to_value(&self) -> Value {
        self.with_metadata(self.body.to_map())
    }

    /// What a status update reads: the whole but for what is neither its metadata nor its status.
    pub(super) fn to_status_value(&self) -> Value {
        let parts = ["apiVersion", "kind", "status"].into_iter();
        self.with_metadata(parts.filter_map(|part| Some((part.to_owned(), self.body.get(part)?.clone()))).collect())
    }

    fn with_metadata(&self, mut body: Map<String, Value>) -> Value {
        match serde_json::to_value(&self.meta) {
            Ok(meta) => drop(body.insert("metadata".into(), meta)),
            Err(error) => unreachable!("metadata is JSON: {error}"),
        }
        Value::Object(body)
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.meta.labels.as_ref().unwrap_or(&NONE)
    }

    /// The value at a dotted path below the object's body, such as `spec.nodeName`.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let mut steps = path.split('.');
        let first = self.body.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    }

    /// Whether a condition of its status, such as `Ready`, is true.
    pub fn is_true(&self, condition: &str) -> bool {
        let all = self.at("status.conditions").and_then(Value::as_array);
        all.into_iter().flatten().any(|one| one["type"] == condition && one["status"] == "True")
    }

    /// Its uid; empty only for objects that no store made.
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// Whether it was asked to go.
    pub fn is_deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let in_head = |key: &str| matches!(key, "apiVersion" | "kind");
        for (key, value) in self.body.iter().filter(|(key, _)| in_head(key)) {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("metadata", &self.meta)?;
        for (key, value) in self.body.iter().filter(|(key, _)| !in_head(key)) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.version)
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is another version.
    Modified,
    /// It is gone.
    Deleted,
}

impl Change {
    /// As a watch says it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A change of one object.
#[derive(Debug, Clone)]
pub struct Event {
    /// The revision that it made.
    pub version: u64,
    /// What happened.
    pub change: Change,
    /// The object after it; of a deletion its last state, with the deletion's version.
    pub object: Arc<Object>,
    /// The object before it.
    pub previous: Option<Arc<Object>>,
}
