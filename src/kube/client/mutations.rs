//! A cache that does not forget what its reader has written: client-go's `MutationCache`.
//!
//! A controller that reads from its informer and writes to the API server would not see its own last write until the watch
//! tells of it. What it wrote is kept beside the cache until the cache is as new. Differs: a write of which nobody knows how it
//! ended, for the answer was lost or it was given up, is remembered as well: the server is asked then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{ApiError, Client, Informer};
use crate::base::lock;
use crate::kube::kind::{ApiObject, ObjectKey};

/// What came of the last write of an object.
enum Own<K> {
    /// The server gave it like this.
    Known(Arc<K>),
    /// The server may have it otherwise than the cache.
    Doubtful,
}

/// One kind's objects: as the informer has them, or as they were written since.
pub struct MutationCache<K> {
    client: Client,
    informer: Informer<K>,
    own: Mutex<BTreeMap<ObjectKey, Own<K>>>,
}

impl<K: ApiObject> MutationCache<K> {
    /// Over `informer`, for those who write by `client`.
    pub fn new(client: &Client, informer: Informer<K>) -> Self {
        Self { client: client.clone(), informer, own: Mutex::default() }
    }

    /// One object. The server is asked for one that the informer has not heard of: it may be new. Another's change may be
    /// missing, so that a write of this version may be a conflict.
    ///
    /// # Errors
    /// As [`Client::find`].
    pub async fn find(&self, key: &ObjectKey) -> Result<Option<Arc<K>>, ApiError> {
        let known = newest(self.informer.get_key(key), lock(&self.own).get(key));
        if known.is_some() { Ok(known) } else { self.ask(key).await }
    }

    /// One object as the server has it now.
    ///
    /// # Errors
    /// As [`Client::find`].
    pub async fn ask(&self, key: &ObjectKey) -> Result<Option<Arc<K>>, ApiError> {
        let found = self.client.find(&key.namespace, &key.name).await?.map(Arc::new);
        match found.clone() {
            Some(object) => lock(&self.own).insert(key.clone(), Own::Known(object)),
            None => lock(&self.own).remove(key),
        };
        Ok(found)
    }

    /// Carries out a write, which gives the object as the server has it then. May be dropped while it waits.
    ///
    /// # Errors
    /// Those of the write.
    pub async fn write<E>(&self, key: &ObjectKey, write: impl Future<Output = Result<Arc<K>, E>>) -> Result<(), E> {
        lock(&self.own).insert(key.clone(), Own::Doubtful);
        let object = write.await?;
        lock(&self.own).insert(key.clone(), Own::Known(object));
        Ok(())
    }
}

/// The newest that is known of an object; nothing if only the server can tell. All versions are of one count.
fn newest<K: ApiObject>(seen: Option<Arc<K>>, own: Option<&Own<K>>) -> Option<Arc<K>> {
    let version =
        |object: &K| object.meta().resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
    match (seen?, own) {
        (_, Some(Own::Doubtful)) => None,
        (seen, Some(Own::Known(own))) if version(own) > version(&seen) => Some(own.clone()),
        (seen, _) => Some(seen),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(uid: &str, version: &str) -> Arc<ConfigMap> {
        let mut map = ConfigMap::default();
        (map.metadata.uid, map.metadata.resource_version) = (Some(uid.into()), Some(version.into()));
        Arc::new(map)
    }

    #[test]
    fn what_was_written_counts_until_the_cache_is_as_new() {
        for (own, seen, want) in [
            (("a", "10"), ("a", "9"), "10"),
            (("a", "9"), ("a", "10"), "10"),
            // Made anew, and the watch has not told of it; or the other way round.
            (("b", "10"), ("a", "9"), "10"),
            (("a", "9"), ("b", "10"), "10"),
            (("a", ""), ("a", "1"), "1"),
        ] {
            let got = newest(Some(map(seen.0, seen.1)), Some(&Own::Known(map(own.0, own.1)))).unwrap();
            assert_eq!(got.metadata.resource_version.as_deref(), Some(want), "{own:?} beside {seen:?}");
        }
    }

    #[test]
    fn only_the_server_knows_what_is_doubtful_or_not_in_the_cache() {
        assert!(newest(Some(map("a", "1")), Some(&Own::Doubtful)).is_none());
        assert!(newest(None, Some(&Own::Known(map("a", "1")))).is_none());
        assert_eq!(newest(Some(map("a", "1")), None), Some(map("a", "1")));
    }
}
