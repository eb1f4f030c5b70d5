//! What a controller did and does not see yet: pods that it made or deleted and whose events are still under way.
//!
//! Takes the place of client-go's `ControllerExpectations` for controllers whose pods get generated names, where the API server
//! cannot refuse a second one. Differs: counts by resource version instead of by number, so that a pod that came and went unseen
//! does not block.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use super::meta::{resource_version, terminating, uid};
use crate::kube::kind::ObjectKey;
use crate::rt::time::{Duration, Instant};

/// After this the caches are believed anyway: upstream's `ExpectationsTimeout`.
pub const TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Expected {
    version: u64,
    deleted: BTreeSet<String>,
    since: Instant,
}

/// By the key of the owning object.
#[derive(Debug, Default)]
pub struct Expectations(BTreeMap<ObjectKey, Expected>);

impl Expectations {
    fn entry(&mut self, key: &ObjectKey, now: Instant) -> &mut Expected {
        let expected =
            self.0.entry(key.clone()).or_insert_with(|| Expected { version: 0, deleted: BTreeSet::new(), since: now });
        expected.since = now;
        expected
    }

    /// A pod was made; as the API server gave it.
    pub fn created(&mut self, key: &ObjectKey, pod: &Pod, now: Instant) {
        let version = resource_version(&pod.metadata);
        let expected = self.entry(key, now);
        expected.version = expected.version.max(version);
    }

    /// A pod was deleted.
    pub fn deleted(&mut self, key: &ObjectKey, pod: &Pod, now: Instant) {
        let id = uid(&pod.metadata).to_string();
        self.entry(key, now).deleted.insert(id);
    }

    /// How long to wait for events still, at most; none if the cache shows all that was done. `seen` is the newest version of a
    /// pod's event, `pod` finds a pod of the owner by uid.
    pub fn pending<'a>(
        &mut self,
        key: &ObjectKey,
        seen: u64,
        pods: impl IntoIterator<Item = &'a Pod>,
        now: Instant,
    ) -> Option<Duration> {
        let expected = self.0.get_mut(key)?;
        let still: BTreeSet<&str> =
            pods.into_iter().filter(|pod| !terminating(&pod.metadata)).map(|pod| uid(&pod.metadata)).collect();
        expected.deleted.retain(|id| still.contains(id.as_str()));
        let over = now >= expected.since + TIMEOUT;
        if over || expected.version <= seen && expected.deleted.is_empty() {
            self.0.remove(key);
            return None;
        }
        Some((expected.since + TIMEOUT).duration_since(now))
    }

    /// The owner is gone.
    pub fn forget(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn pod(uid: &str, version: u64) -> Pod {
        let metadata =
            ObjectMeta { uid: Some(uid.into()), resource_version: Some(version.to_string()), ..ObjectMeta::default() };
        Pod { metadata, ..Pod::default() }
    }

    #[test]
    fn own_deeds_are_waited_for_but_not_for_ever() {
        let (key, now, none) = (ObjectKey::new("n", "set"), Instant::now(), [].iter());
        let mut expectations = Expectations::default();
        assert_eq!(expectations.pending(&key, 0, none.clone(), now), None);
        expectations.created(&key, &pod("a", 7), now);
        assert_eq!(expectations.pending(&key, 6, none.clone(), now), Some(TIMEOUT));
        assert_eq!(expectations.pending(&key, 7, none.clone(), now), None, "its event came, whatever became of it");
        expectations.deleted(&key, &pod("a", 7), now);
        assert_eq!(expectations.pending(&key, 9, [&pod("a", 7)], now), Some(TIMEOUT));
        assert_eq!(expectations.pending(&key, 9, none.clone(), now), None);
        expectations.created(&key, &pod("b", 20), now);
        assert_eq!(expectations.pending(&key, 9, none, now + TIMEOUT), None, "the event was lost");
    }
}
