//! A cache that does not forget what its reader has written: client-go's `MutationCache`.
//!
//! A controller that reads from its informer and writes to the API server would not see its own last write until the watch
//! tells of it. What it wrote is kept beside the cache until the cache is as new.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{ApiError, Client, Informer};
use crate::base::lock;
use crate::kube::kind::{ApiObject, ObjectKey};

/// One kind's objects: as the informer has them, or as they were written since.
pub struct MutationCache<K> {
    client: Client,
    informer: Informer<K>,
    written: Mutex<BTreeMap<ObjectKey, Arc<K>>>,
}

impl<K: ApiObject> MutationCache<K> {
    /// Over `informer`, for those who write by `client`.
    pub fn new(client: &Client, informer: Informer<K>) -> Self {
        Self { client: client.clone(), informer, written: Mutex::default() }
    }

    /// One object. The server is asked for one that the informer has not heard of: it may be new. Another's change may be
    /// missing, so that a write of this version may be a conflict.
    ///
    /// # Errors
    /// As [`Client::find`].
    pub async fn find(&self, key: &ObjectKey) -> Result<Option<Arc<K>>, ApiError> {
        let Some(seen) = self.informer.get_key(key) else {
            lock(&self.written).remove(key);
            return Ok(self.client.find(&key.namespace, &key.name).await?.map(Arc::new));
        };
        let mut written = lock(&self.written);
        if let Some(own) = written.get(key).filter(|own| is_newer(&***own, &*seen)) {
            return Ok(Some(own.clone()));
        }
        written.remove(key);
        Ok(Some(seen))
    }

    /// Remembers an object as the server gave it in answer to a write.
    pub fn note(&self, object: Arc<K>) {
        lock(&self.written).insert(ObjectKey::of(&*object), object);
    }
}

/// Whether `a` is a later version of the same object. One that was made anew is another.
fn is_newer<K: ApiObject>(a: &K, b: &K) -> bool {
    let version =
        |object: &K| object.meta().resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
    a.meta().uid == b.meta().uid && version(a) > version(b)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(uid: &str, version: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        (map.metadata.uid, map.metadata.resource_version) = (Some(uid.into()), Some(version.into()));
        map
    }

    #[test]
    fn what_was_written_counts_until_the_cache_is_as_new() {
        for (own, seen, newer) in [
            (("a", "10"), ("a", "9"), true),
            (("a", "10"), ("a", "10"), false),
            (("a", "9"), ("a", "10"), false),
            (("a", "10"), ("b", "9"), false),
            (("a", ""), ("a", "1"), false),
        ] {
            assert_eq!(is_newer(&map(own.0, own.1), &map(seen.0, seen.1)), newer, "{own:?} beside {seen:?}");
        }
    }
}
