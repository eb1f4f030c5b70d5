//! Which pods a NoExecute taint drives away, and when.
//!
//! Follows `tainteviction/taint_eviction.go` of Kubernetes 1.3x: tolerated for the least `tolerationSeconds` of the tolerations in
//! use, counted from when the controller first saw it; cancelled when the taints go. As upstream, a date once set is moved
//! neither by a further taint nor by a shorter toleration, only dropped or turned into "now" by a taint that nothing tolerates.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

use crate::kube::controllers::meta::{name, namespace, uid};
use crate::kube::controllers::pod::node_name;
use crate::kube::matching::tolerates;
use crate::rt::time::Instant;

/// Namespace and name.
pub type Key = (String, String);

/// How long the taints are tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// One of them is not tolerated.
    None,
    /// All are, for this long.
    For(Duration),
    /// All are, without limit.
    Endless,
}

/// The patience of a pod's tolerations with a node's NoExecute taints.
pub fn patience(taints: &[Taint], tolerations: &[Toleration]) -> Patience {
    let mut least: Option<Duration> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        // The first that matches is the one in use, as upstream's GetMatchingTolerations picks it.
        let Some(used) = tolerations.iter().find(|toleration| tolerates(toleration, taint)) else {
            return Patience::None;
        };
        if let Some(limit) = used.toleration_seconds {
            let limit = Duration::from_secs(u64::try_from(limit).unwrap_or_default());
            least = Some(least.map_or(limit, |least| least.min(limit)));
        }
    }
    least.map_or(Patience::Endless, Patience::For)
}

/// A date.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    uid: String,
    since: Instant,
    at: Instant,
}

/// The dates of all pods that have one.
#[derive(Debug, Default)]
pub struct Evictor {
    due: BTreeMap<Key, Due>,
}

impl Evictor {
    /// Looks at a pod and the taints of its node. Tells whether a date was dropped, which is an event of its own.
    pub fn look(&mut self, pod: &Pod, taints: &[Taint], now: Instant) -> bool {
        let key = (namespace(&pod.metadata).to_string(), name(&pod.metadata).to_string());
        let id = uid(&pod.metadata).to_string();
        if self.due.get(&key).is_some_and(|due| due.uid != id) {
            self.due.remove(&key);
        }
        let tainted = node_name(pod).is_some() && taints.iter().any(|taint| taint.effect == "NoExecute");
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        let patience = if tainted { patience(taints, tolerations) } else { Patience::Endless };
        match patience {
            Patience::Endless => self.due.remove(&key).is_some(),
            Patience::None => {
                self.due.insert(key, Due { uid: id, since: now, at: now });
                false
            }
            Patience::For(limit) => {
                let known = self.due.get(&key).map(|due| due.since);
                if known.is_none_or(|since| since + limit >= now + limit) {
                    self.due.insert(key, Due { uid: id, since: now, at: now + limit });
                }
                false
            }
        }
    }

    /// The pod is gone.
    pub fn forget(&mut self, key: &Key) {
        self.due.remove(key);
    }

    /// The pods whose time has come, with their uids.
    pub fn pop(&mut self, now: Instant) -> Vec<(Key, String)> {
        let ripe: Vec<Key> = self.due.iter().filter(|(_, due)| due.at <= now).map(|(key, _)| key.clone()).collect();
        ripe.into_iter().filter_map(|key| self.due.remove(&key).map(|due| (key, due.uid))).collect()
    }

    /// The next date.
    pub fn next(&self) -> Option<Instant> {
        self.due.values().map(|due| due.at).min()
    }

    /// Whether a pod has a date.
    pub fn at(&self, key: &Key) -> Option<Instant> {
        self.due.get(key).map(|due| due.at)
    }
}
