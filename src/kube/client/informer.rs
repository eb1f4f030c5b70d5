//! A cache of one kind's objects, kept by a watch: client-go's reflector and shared informer in one.
//!
//! A watch begins with all objects there are (`WatchList`, client-go's way since 1.35), and goes on from the last event's
//! version when it ends; when that version is forgotten, it begins anew. The cache lags behind the server, and for as long
//! as the server cannot be reached it shows the past without saying so: that is the point. After an API server's restart
//! from an older state the cache goes back in time. Differs: client-go begins anew not from before the version that it saw
//! last, and lists if it cannot watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kube::core::WatchEvent;
use kube::core::params::{ListParams, WatchParams};

use super::{ApiError, Client, Watch};
use crate::base::{Stream, lock};
use crate::kube::kind::{ApiObject, ObjectKey};
use crate::rt::chan::{mpsc, watch};
use crate::rt::chance;
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant, sleep};

/// The annotation of the bookmark after a watch's first objects.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A change in an informer's cache.
#[derive(Debug, Clone)]
pub enum InformerEvent<K> {
    /// It is new to the cache.
    Added(Arc<K>),
    /// It changed: before, after.
    Modified(Arc<K>, Arc<K>),
    /// It is gone. Its last state that was seen, which may not be the last there was.
    Deleted(Arc<K>),
}

impl<K: ApiObject> InformerEvent<K> {
    /// The object after the change, or the last state of one that is gone.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Modified(_, object) | Self::Deleted(object) => object,
        }
    }

    /// Which object it is about.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::of(&**self.object())
    }
}

/// Which changes somebody wants to know.
type Filter<K> = dyn Fn(&InformerEvent<K>) -> bool + Send;

/// Somebody who is told of changes.
struct Listener<K> {
    wants: Box<Filter<K>>,
    sender: mpsc::UnboundedSender<InformerEvent<K>>,
}

impl<K: ApiObject> Listener<K> {
    /// Tells it what it wants to know. Gives whether it is still there.
    fn tell(&self, event: &InformerEvent<K>) -> bool {
        if (self.wants)(event) { self.sender.send(event.clone()).is_ok() } else { !self.sender.is_closed() }
    }
}

struct Cache<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    listeners: Vec<Listener<K>>,
}

struct Shared<K> {
    cache: Mutex<Cache<K>>,
    /// How many changes there were, and whether the first objects are in.
    state: watch::Sender<(u64, bool)>,
}

/// A cache and the task that keeps it. Cloning shares both; the task ends with the last clone.
#[derive(Clone)]
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
    _task: Arc<Scope>,
}

impl<K: ApiObject> Informer<K> {
    /// Begins to fill a cache with what a list with `params` in `namespace` (empty: all) gives.
    pub fn start(client: &Client, namespace: &str, params: ListParams) -> Self {
        let cache = Mutex::new(Cache { objects: BTreeMap::new(), listeners: Vec::new() });
        let (state, _) = watch::channel((0, false));
        let shared = Arc::new(Shared { cache, state });
        let scope = Scope::new();
        let reflector = Reflector {
            client: client.clone(),
            namespace: namespace.into(),
            params,
            shared: shared.clone(),
            chance: chance::stream("informer"),
        };
        scope.spawn("informer", reflector.run());
        Self { shared, _task: Arc::new(scope) }
    }

    /// Of all objects of the kind.
    pub fn all(client: &Client) -> Self {
        Self::start(client, "", ListParams::default())
    }

    /// Waits for the first objects.
    pub async fn synced(&self) {
        let mut state = self.shared.state.subscribe();
        if !self.is_synced() {
            // The sender is in this very structure.
            let _ = state.wait_for(|(_, synced)| *synced).await;
        }
    }

    /// Whether the first objects are in.
    pub fn is_synced(&self) -> bool {
        self.shared.state.borrow().1
    }

    /// Something to await changes with: its value counts them.
    pub fn changes(&self) -> Changes {
        Changes(self.shared.state.subscribe())
    }

    /// All events from now on, beginning with one `Added` for each object that the cache has.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<InformerEvent<K>> {
        self.subscribe_to(|_| true)
    }

    /// The same of those events only that `wants` is true of: the others wake nobody. As controller-runtime's `predicate`:
    /// it is asked about changes, so that an object which it wants no more is not told as deleted. It is called under the
    /// cache's lock and must look at nothing but the event.
    pub fn subscribe_to(
        &self,
        wants: impl Fn(&InformerEvent<K>) -> bool + Send + 'static,
    ) -> mpsc::UnboundedReceiver<InformerEvent<K>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let listener = Listener { wants: Box::new(wants), sender };
        let mut cache = lock(&self.shared.cache);
        for object in cache.objects.values() {
            // Nobody can have dropped the receiver yet.
            listener.tell(&InformerEvent::Added(object.clone()));
        }
        cache.listeners.push(listener);
        receiver
    }

    /// One object as the cache has it.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&ObjectKey::new(namespace, name))
    }

    /// One object as the cache has it.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<K>> {
        lock(&self.shared.cache).objects.get(key).cloned()
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        lock(&self.shared.cache).objects.values().cloned().collect()
    }

    /// Those of a namespace, by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let cache = lock(&self.shared.cache);
        let from = cache.objects.range(ObjectKey::new(namespace, "")..);
        from.take_while(|(key, _)| key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    /// Looks at the whole cache without copying it. The closure must not wait.
    pub fn with<R>(&self, f: impl FnOnce(&BTreeMap<ObjectKey, Arc<K>>) -> R) -> R {
        f(&lock(&self.shared.cache).objects)
    }
}

/// Waits for changes of an informer's cache.
pub struct Changes(watch::Receiver<(u64, bool)>);

impl Changes {
    /// Waits for a change that this waiter has not seen. For ever, if the informer is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl<K: ApiObject> Shared<K> {
    fn tell(&self, cache: &mut Cache<K>, events: Vec<InformerEvent<K>>, synced: bool) {
        for event in &events {
            cache.listeners.retain(|listener| listener.tell(event));
        }
        let count = events.len() as u64;
        self.state.send_if_modified(|state| {
            let before = *state;
            *state = (state.0.saturating_add(count), state.1 || synced);
            before != *state
        });
    }

    /// Takes over all that there is: what is not in it is gone.
    fn replace(&self, next: BTreeMap<ObjectKey, Arc<K>>) {
        let mut cache = lock(&self.cache);
        let mut events = Vec::new();
        for (key, object) in &next {
            match cache.objects.remove(key) {
                Some(old) if old.meta().resource_version == object.meta().resource_version => {}
                Some(old) => events.push(InformerEvent::Modified(old, object.clone())),
                None => events.push(InformerEvent::Added(object.clone())),
            }
        }
        let gone = std::mem::replace(&mut cache.objects, next);
        events.extend(gone.into_values().map(InformerEvent::Deleted));
        self.tell(&mut cache, events, true);
    }

    fn put(&self, object: Arc<K>) {
        let key = ObjectKey::of(&*object);
        let mut cache = lock(&self.cache);
        let event = match cache.objects.insert(key, object.clone()) {
            Some(old) => InformerEvent::Modified(old, object),
            None => InformerEvent::Added(object),
        };
        self.tell(&mut cache, vec![event], false);
    }

    fn remove(&self, object: Arc<K>) {
        let mut cache = lock(&self.cache);
        if cache.objects.remove(&ObjectKey::of(&*object)).is_some() {
            self.tell(&mut cache, vec![InformerEvent::Deleted(object)], false);
        }
    }
}

/// Keeps a cache.
struct Reflector<K> {
    client: Client,
    namespace: String,
    params: ListParams,
    shared: Arc<Shared<K>>,
    chance: Stream,
}

impl<K: ApiObject> Reflector<K> {
    async fn run(mut self) {
        let config = *self.client.config();
        let mut wait = config.relist_backoff;
        loop {
            let began = Instant::now();
            // Ends only with an error.
            if let Err(error) = self.begin_and_follow().await {
                tracing::debug!(kind = %K::kind(&()), %error, "informer begins anew");
            }
            if began.elapsed() >= config.relist_backoff_reset {
                wait = config.relist_backoff;
            }
            sleep(self.jitter(wait)).await;
            wait = wait.saturating_mul(2).min(config.relist_backoff_max);
        }
    }

    /// As reflector's back-off manager: up to twice the wait.
    fn jitter(&mut self, wait: Duration) -> Duration {
        self.chance.duration(wait, wait.saturating_mul(2))
    }

    async fn begin_and_follow(&mut self) -> Result<(), ApiError> {
        let mut watch = self.open("").await?;
        let (items, mut version) = all(&mut watch).await?;
        self.shared.replace(items);
        let config = *self.client.config();
        let mut wait = config.relist_backoff;
        let mut ended = self.follow(watch, &mut version).await;
        loop {
            match ended {
                Ok(()) => wait = config.relist_backoff,
                // The server cannot be reached: watch from the same version again.
                Err(error) if error.is_transport() => {
                    tracing::debug!(kind = %K::kind(&()), %error, "informer watches again");
                    sleep(self.jitter(wait)).await;
                    wait = wait.saturating_mul(2).min(config.relist_backoff_max);
                }
                Err(error) => return Err(error),
            }
            ended = match self.open(&version).await {
                Ok(watch) => self.follow(watch, &mut version).await,
                Err(error) => Err(error),
            };
        }
    }

    /// Begins a watch: with all objects, or from a version.
    async fn open(&mut self, version: &str) -> Result<Watch<K>, ApiError> {
        let least = self.client.config().watch_timeout_min;
        let timeout = self.chance.duration(least, least.saturating_mul(2)).as_secs();
        let params = WatchParams {
            label_selector: self.params.label_selector.clone(),
            field_selector: self.params.field_selector.clone(),
            timeout: u32::try_from(timeout).ok(),
            bookmarks: true,
            send_initial_events: version.is_empty(),
        };
        self.client.watch(&self.namespace, &params, version).await
    }

    /// One watch, to its end. `version` becomes that of the last event.
    async fn follow(&self, mut watch: Watch<K>, version: &mut String) -> Result<(), ApiError> {
        while let Some(event) = watch.next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    note(version, &*object);
                    self.shared.put(object);
                }
                WatchEvent::Deleted(object) => {
                    note(version, &*object);
                    self.shared.remove(object);
                }
                WatchEvent::Bookmark(bookmark) => version.clone_from(&bookmark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(ApiError::Status(status)),
            }
        }
        Ok(())
    }
}

/// The objects that a watch begins with, and the version that they are all of.
async fn all<K: ApiObject>(watch: &mut Watch<K>) -> Result<(BTreeMap<ObjectKey, Arc<K>>, String), ApiError> {
    let mut items = BTreeMap::new();
    while let Some(event) = watch.next().await? {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                items.insert(ObjectKey::of(&*object), object);
            }
            WatchEvent::Deleted(object) => {
                items.remove(&ObjectKey::of(&*object));
            }
            WatchEvent::Bookmark(bookmark) if bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END) => {
                return Ok((items, bookmark.metadata.resource_version));
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(ApiError::Status(status)),
        }
    }
    Err(ApiError::Exchange("the watch ended within its first objects".into()))
}

fn note<K: ApiObject>(version: &mut String, object: &K) {
    if let Some(newer) = &object.meta().resource_version {
        version.clone_from(newer);
    }
}
