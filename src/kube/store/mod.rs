//! The object store: what etcd and the registry of kube-apiserver are together, without any I/O.
//!
//! Follows `apiserver/pkg/registry`: one counter of revisions for all kinds, optimistic concurrency by resourceVersion,
//! generation, finalizers, graceful deletion, status apart from spec; every write of a new version is an event, and a write
//! that changes nothing is none. Time comes with each call, chance (uids, generated names) from one stream, so the same
//! calls make the same objects.

mod admission;
pub mod delete;
pub mod failure;
mod history;
mod meta;
pub mod object;
pub mod patch;
mod schema;
pub mod selector;
pub mod strategic;
mod subresource;
#[cfg(test)]
mod tests;
mod validate;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

pub use delete::{DeleteOptions, Deleted, Propagation};
pub use failure::Refusal;
pub use object::{Change, Event, Object};
pub use patch::Patch;
pub use selector::Selection;
pub use write::{Part, Validation};

use super::kind::{Body, KindId, Kinds, ObjectKey};
use crate::base::Stream;
use failure::{not_found, too_large, too_old};
use history::History;

/// Kinds that are written all the time: heartbeats and what is told about the rest.
const BACKGROUND: [&str; 2] = ["Lease", "Event"];

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Periods for which events are young: with the API server's of 30 s, 90 s. The watch cache's `eventFreshDuration` is 75 s.
pub const PERIODS: usize = 3;

/// The store's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// Most events of one kind that a watch can resume from; older ones are `410 Gone`. kube-apiserver's watch cache grows
    /// to 102,400.
    pub history_events_max: usize,
    /// Of events that have grown old ([`Store::age`]) so many of a kind are kept: the capacity that the watch cache begins
    /// with and shrinks to.
    pub history_events_kept: usize,
    /// Whether an object in a namespace that is not there makes it. Upstream refuses.
    pub namespaces_made: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { history_events_max: 1000, history_events_kept: 100, namespaces_made: false }
    }
}

#[derive(Default)]
struct Table {
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    history: History,
}

/// All objects of a cluster and their recent history.
pub struct Store {
    kinds: Arc<Kinds>,
    config: StoreConfig,
    tables: Vec<Table>,
    revision: u64,
    /// Of anything but [`BACKGROUND`].
    decisive: u64,
    chance: Stream,
    addresses: u32,
    fresh: Vec<(KindId, Event)>,
    /// The revision at the end of each of the last periods.
    periods: VecDeque<u64>,
}

impl Store {
    /// A cluster's store with nothing in it but the namespaces that every cluster has.
    pub fn new(kinds: Arc<Kinds>, config: StoreConfig, chance: Stream, now: Timestamp) -> Self {
        let tables = kinds.iter().map(|_| Table::default()).collect();
        let mut store = Self {
            kinds,
            config,
            tables,
            revision: 1,
            decisive: 1,
            chance,
            addresses: 0,
            fresh: Vec::new(),
            periods: VecDeque::new(),
        };
        if let Some(kind) = store.kinds.by_kind("v1", "Namespace") {
            for name in NAMESPACES {
                let namespace = json!({"metadata": {"name": name}});
                let made = store.create(kind, "", namespace, Validation::Strict, now);
                debug_assert!(made.is_ok(), "{name} is a good name");
            }
        }
        store
    }

    /// What there can be in it.
    pub fn kinds(&self) -> &Arc<Kinds> {
        &self.kinds
    }

    /// The newest revision.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The newest revision of anything but leases and events, which are written all the time and tell nothing of a cluster's
    /// state.
    pub const fn decisive_revision(&self) -> u64 {
        self.decisive
    }

    /// One object.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, kind: KindId, key: &ObjectKey) -> Result<Arc<Object>, Refusal> {
        let found = self.find(kind, key);
        found.cloned().ok_or_else(|| not_found(self.kinds.get(kind), &key.name))
    }

    /// One object, if it is there.
    pub fn find(&self, kind: KindId, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.tables[kind.0].objects.get(key)
    }

    /// One object, if it is there, by the word for its kind.
    pub fn find_word(&self, word: &str, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        self.find(self.kinds.by_word(word)?, &ObjectKey::new(namespace, name))
    }

    /// The objects that a selection is about, by namespace and name.
    pub fn list<'s>(&'s self, kind: KindId, selection: &'s Selection) -> impl Iterator<Item = &'s Arc<Object>> {
        let first = ObjectKey::new(selection.namespace.clone(), "");
        let inside = |key: &ObjectKey| selection.namespace.is_empty() || key.namespace == selection.namespace;
        let objects = self.tables[kind.0].objects.range(first..).take_while(move |(key, _)| inside(key));
        objects.map(|(_, object)| object).filter(|object| selection.matches(object))
    }

    /// The events of a kind after a version, oldest first.
    ///
    /// # Errors
    /// 410 if some of them are forgotten; 504 for a version that has not been yet.
    pub fn events_after(&self, kind: KindId, version: u64) -> Result<impl Iterator<Item = &Event>, Refusal> {
        if version > self.revision {
            return Err(too_large(version, self.revision));
        }
        let history = &self.tables[kind.0].history;
        history.after(version).ok_or_else(|| too_old(version, history.forgotten()))
    }

    /// Another period is over: forgets events that are older than the last [`PERIODS`], but for the newest of each kind.
    pub fn age(&mut self) {
        self.periods.push_back(self.revision);
        if self.periods.len() <= PERIODS {
            return;
        }
        let (old, kept) = (self.periods.pop_front().unwrap_or_default(), self.config.history_events_kept);
        self.tables.iter_mut().for_each(|table| table.history.shrink(old, kept));
    }

    /// Forgets all events up to now, as etcd's compaction does: every watch that resumes from before is `410 Gone`.
    pub fn compact(&mut self) {
        let revision = self.revision;
        self.tables.iter_mut().for_each(|table| table.history.compact(revision));
    }

    /// Facts that always hold.
    fn check(&self) {
        if cfg!(debug_assertions) {
            for table in &self.tables {
                if let Some(object) = table.objects.values().find(|object| object.version > self.revision) {
                    unreachable!("{object:?} is of a revision that has not been, {}", self.revision);
                }
            }
        }
    }

    /// A new version of an object, or a new object.
    fn put(&mut self, kind: KindId, meta: meta::Meta, body: Body) -> Arc<Object> {
        self.revision += 1;
        let object = Arc::new(Object::new(self.revision, meta, body));
        let objects = &mut self.tables[kind.0].objects;
        let previous = match objects.get_mut(&object.key) {
            Some(old) => Some(std::mem::replace(old, object.clone())),
            None => objects.insert(object.key.clone(), object.clone()),
        };
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        self.note(kind, Event { version: self.revision, change, object: object.clone(), previous });
        object
    }

    /// An object's end.
    fn remove(&mut self, kind: KindId, key: &ObjectKey) -> Option<Arc<Object>> {
        let previous = self.tables[kind.0].objects.remove(key)?;
        self.revision += 1;
        let last = Arc::new(Object::new(self.revision, previous.meta.clone(), previous.body.clone()));
        let event =
            Event { version: self.revision, change: Change::Deleted, object: last.clone(), previous: Some(previous) };
        self.note(kind, event);
        Some(last)
    }

    /// The events since the last call, in the order of their versions: for those who tell the watches.
    pub fn take_events(&mut self) -> Vec<(KindId, Event)> {
        std::mem::take(&mut self.fresh)
    }

    fn note(&mut self, kind: KindId, event: Event) {
        if !BACKGROUND.contains(&self.kinds.get(kind).kind.as_str()) {
            self.decisive = event.version;
        }
        self.fresh.push((kind, event.clone()));
        self.tables[kind.0].history.push(event, self.config.history_events_max);
    }
}
