//! What the volume controllers' loops share: waking when any cache changes, and views of the caches.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::SimTime;
use crate::kube::client::{Informer, InformerEvent};
use crate::kube::kind::ApiObject;
use crate::rt::chan::Notify;
use crate::rt::select2;
use crate::rt::task::Scope;
use crate::rt::time::sleep;

/// Wakes a loop when one of several caches has changed.
pub struct Wake {
    notify: Arc<Notify>,
    scope: Scope,
}

impl Wake {
    /// No cache yet.
    pub fn new() -> Self {
        Self { notify: Arc::default(), scope: Scope::new() }
    }

    /// This cache too, once it has its first list.
    pub async fn on<K: ApiObject>(&self, informer: &Informer<K>) {
        self.on_change(informer, |_, _| true).await;
    }

    /// The same, for those changes of objects only that matter: before, after. Coming and going always does.
    pub async fn on_change<K: ApiObject>(&self, informer: &Informer<K>, matters: fn(&K, &K) -> bool) {
        informer.synced().await;
        let mut events = informer
            .subscribe_to(move |event| !matches!(event, InformerEvent::Modified(old, new) if !matters(old, new)));
        let notify = self.notify.clone();
        self.scope.spawn("volume informer", async move {
            while events.recv().await.is_some() {
                notify.notify_one();
            }
        });
    }

    /// Something to wake the loop with by hand.
    pub fn handle(&self) -> Arc<Notify> {
        self.notify.clone()
    }

    /// Waits for a change, or for `due`.
    pub async fn wait(&self, now: SimTime, due: SimTime) {
        let late = async {
            if due == SimTime::NEVER {
                std::future::pending::<()>().await;
            }
            sleep(due.since(now)).await;
        };
        select2(self.notify.notified(), late).await;
    }
}

/// A cache by namespace and name.
pub fn by_key<K: ApiObject>(informer: &Informer<K>) -> BTreeMap<(String, String), Arc<K>> {
    informer.with(|objects| {
        objects.iter().map(|(key, object)| ((key.namespace.clone(), key.name.clone()), object.clone())).collect()
    })
}

/// A cache by name, of a kind without namespaces.
pub fn by_name<K: ApiObject>(informer: &Informer<K>) -> BTreeMap<String, Arc<K>> {
    informer.with(|objects| objects.iter().map(|(key, object)| (key.name.clone(), object.clone())).collect())
}
