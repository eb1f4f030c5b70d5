//! Metadata as controllers read it: who owns an object, whether it is on its way out, what it is called.
//!
//! Rule: identity is the uid, never the name; an owner counts only if its uid fits.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use crate::kube::kind::ObjectKey;

/// `at` plus `by`, the end of time at most.
pub fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// From `earlier` to `later`; zero if it is the other way round.
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or_default()
}

/// Seconds that a manifest wrote, negative ones as zero.
pub fn seconds(written: impl TryInto<u64>) -> Duration {
    Duration::from_secs(written.try_into().unwrap_or_default())
}

/// The moment that a field holds.
pub fn moment(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The name; empty before the object has one.
pub fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// The namespace; empty for what has none.
pub fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// The uid; empty before the API server gave one.
pub fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// The resource version as a number; zero before there is one.
pub fn resource_version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// A label's value.
pub fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// Whether the object was deleted and only waits for its grace or its finalizers.
pub fn terminating(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// Whether it carries a finalizer.
pub fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|other| other == finalizer)
}

/// The finalizers without one of them.
pub fn without_finalizer(meta: &ObjectMeta, finalizer: &str) -> Vec<String> {
    meta.finalizers.iter().flatten().filter(|other| *other != finalizer).cloned().collect()
}

/// The owner that manages the object (`controller: true`): at most one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether `owner` manages the object.
pub fn controlled_by(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    controller_of(meta).is_some_and(|reference| Some(&reference.uid) == owner.uid.as_ref())
}

/// The reference that makes `owner` the managing owner, as `metav1.NewControllerRef` does.
pub fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: name(meta).into(),
        uid: uid(meta).into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The key of the controlling owner, if that is a `kind`.
pub fn owner_key(meta: &ObjectMeta, kind: &str) -> Option<ObjectKey> {
    let owner = controller_of(meta).filter(|owner| owner.kind == kind)?;
    Some(ObjectKey::new(namespace(meta), &*owner.name))
}
