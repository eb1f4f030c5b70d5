//! The scheduling queue: pods that want a node, those that wait a while and those that wait for something to change.
//!
//! A pure state machine over a time that is handed in. Higher priority first, then first in, first out. A pod that failed
//! waits for an event that concerns what refused it, no less than its back-off and no more than `unschedulable_max`.
//! Differs: upstream looks at back-offs every second and at the unschedulable every 30 s; here both are due to the moment.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::config::SchedulerConfig;
use super::filter::Plugin;
use super::pod::{Key, PodInfo};
use crate::base::SimTime;

/// Where a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Waits for its turn.
    Active,
    /// Becomes active at this time.
    Backoff(SimTime),
    /// Waits for an event, since this time.
    Unschedulable(SimTime),
    /// Was taken out, and its outcome is not known yet.
    InFlight,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<PodInfo>,
    room: Room,
    attempts: u32,
    /// Its place among pods of equal priority: when it was queued last, and a counter.
    order: (SimTime, u64),
    refused_by: BTreeSet<Plugin>,
}

/// The order of the active pods.
type Turn = (Reverse<i32>, (SimTime, u64), Key);

/// All pods that have no node.
#[derive(Debug)]
pub struct Queue {
    initial: Duration,
    most: Duration,
    leftover: Duration,
    entries: BTreeMap<Key, Entry>,
    active: BTreeSet<Turn>,
    counter: u64,
}

impl Queue {
    /// An empty queue.
    pub fn new(config: &SchedulerConfig) -> Self {
        let (initial, most, leftover) = (config.backoff_initial, config.backoff_max, config.unschedulable_max);
        Self { initial, most, leftover, entries: BTreeMap::new(), active: BTreeSet::new(), counter: 0 }
    }

    /// A pod without a node appeared or changed. A new one is active at once; one that waits for an event is tried again if
    /// what it asks for changed.
    pub fn upsert(&mut self, pod: Arc<PodInfo>, now: SimTime) {
        let key = pod.key.clone();
        let Some(entry) = self.entries.get_mut(&key) else {
            self.counter += 1;
            let order = (now, self.counter);
            let entry = Entry { pod, room: Room::InFlight, attempts: 0, order, refused_by: BTreeSet::new() };
            self.entries.insert(key.clone(), entry);
            self.enter(&key, Room::Active);
            return;
        };
        let changed = entry.pod.spec() != pod.spec() || entry.pod.labels() != pod.labels();
        let room = entry.room;
        self.active.remove(&turn(entry));
        entry.pod = pod;
        match room {
            Room::Active => self.enter(&key, Room::Active),
            Room::Unschedulable(since) if changed => self.leave_waiting(&key, since, now),
            _ => {}
        }
    }

    /// The pod is gone or has a node.
    pub fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.active.remove(&turn(&entry));
        }
    }

    /// Takes the next pod out; it stays known as in flight until its outcome is told.
    pub fn pop(&mut self, now: SimTime) -> Option<Arc<PodInfo>> {
        self.flush(now);
        let (_, _, key) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.room = Room::InFlight;
        entry.attempts = entry.attempts.saturating_add(1);
        Some(entry.pod.clone())
    }

    /// No node could run it: it waits for an event that concerns `refused_by`. If nothing in particular refused it, it is
    /// tried again after its back-off.
    pub fn failed(&mut self, key: &Key, refused_by: BTreeSet<Plugin>, now: SimTime) {
        self.counter += 1;
        let order = (now, self.counter);
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.room != Room::InFlight {
            return;
        }
        entry.order = order;
        let room = match refused_by.is_empty() {
            true => Room::Backoff(now + backoff(self.initial, self.most, entry.attempts)),
            false => Room::Unschedulable(now),
        };
        entry.refused_by = refused_by;
        self.enter(key, room);
    }

    /// Something changed: pods for which `concerns` holds are tried again, after their back-off.
    pub fn wake(&mut self, now: SimTime, concerns: impl Fn(&PodInfo, Plugin) -> bool) {
        let woken = |entry: &Entry| entry.refused_by.iter().any(|plugin| concerns(&entry.pod, *plugin));
        let waiting = self.entries.iter().filter_map(|(key, entry)| match entry.room {
            Room::Unschedulable(since) if woken(entry) => Some((key.clone(), since)),
            _ => None,
        });
        for (key, since) in waiting.collect::<Vec<_>>() {
            self.leave_waiting(&key, since, now);
        }
    }

    /// When time alone changes something next; `NEVER` if it will not.
    pub fn due(&self) -> SimTime {
        let due = self.entries.values().map(|entry| match entry.room {
            Room::Active => SimTime::ZERO,
            Room::Backoff(until) => until,
            Room::Unschedulable(since) => since + self.leftover,
            Room::InFlight => SimTime::NEVER,
        });
        due.min().unwrap_or(SimTime::NEVER)
    }

    /// The pod of that name as it is known.
    pub fn get(&self, key: &Key) -> Option<&Arc<PodInfo>> {
        self.entries.get(key).map(|entry| &entry.pod)
    }

    /// Where a pod is, and how often it was tried.
    pub fn room(&self, key: &Key) -> Option<(Room, u32)> {
        self.entries.get(key).map(|entry| (entry.room, entry.attempts))
    }

    /// How many pods are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No pod is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whom time alone makes active.
    fn flush(&mut self, now: SimTime) {
        let leftover = self.leftover;
        let due = self.entries.iter().filter_map(|(key, entry)| match entry.room {
            Room::Backoff(until) if until <= now => Some((key.clone(), None)),
            Room::Unschedulable(since) if since + leftover <= now => Some((key.clone(), Some(since))),
            _ => None,
        });
        for (key, since) in due.collect::<Vec<_>>() {
            match since {
                None => self.enter(&key, Room::Active),
                Some(since) => self.leave_waiting(&key, since, now),
            }
        }
    }

    fn leave_waiting(&mut self, key: &Key, since: SimTime, now: SimTime) {
        let Some(entry) = self.entries.get(key) else { return };
        let until = since + backoff(self.initial, self.most, entry.attempts);
        self.enter(key, if until > now { Room::Backoff(until) } else { Room::Active });
    }

    fn enter(&mut self, key: &Key, room: Room) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.room = room;
        if room == Room::Active {
            self.active.insert(turn(entry));
        }
    }
}

fn turn(entry: &Entry) -> Turn {
    (Reverse(entry.pod.priority()), entry.order, entry.pod.key.clone())
}

/// The wait after `attempts` tries: `initial`, doubled each time, at most `most`.
pub fn backoff(initial: Duration, most: Duration, attempts: u32) -> Duration {
    let factor = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    initial.saturating_mul(factor).min(most)
}
