//! A work queue: which keys a controller has yet to look at.
//!
//! Follows client-go's `workqueue`: a key that is added twice is worked on once; a key that is added while it is worked on
//! comes again afterwards, so that no two workers have the same key; failed keys come back later and later. First in, first
//! out, and of two keys that are due at one moment the one that was added first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use crate::base::lock;
use crate::rt::chan::Notify;
use crate::rt::select2;
use crate::rt::time::{Duration, Instant, sleep_until};

/// How long failed keys wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// After the first failure, doubling: `ItemExponentialFailureRateLimiter`'s 5 ms.
    pub backoff: Duration,
    /// At most: 1000 s.
    pub backoff_max: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { backoff: Duration::from_millis(5), backoff_max: Duration::from_secs(1000) }
    }
}

struct State<T> {
    order: VecDeque<T>,
    /// Asked for and not yet begun.
    dirty: BTreeSet<T>,
    /// Being worked on.
    busy: BTreeSet<T>,
    /// To be added later, and when.
    later: BTreeMap<(Instant, u64), T>,
    due: BTreeMap<T, (Instant, u64)>,
    failures: BTreeMap<T, u32>,
    next: u64,
}

struct Shared<T> {
    config: QueueConfig,
    state: Mutex<State<T>>,
    ready: Notify,
}

/// A queue of keys. Cloning shares it.
pub struct WorkQueue<T>(Arc<Shared<T>>);

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Ord + Clone> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new(QueueConfig::default())
    }
}

impl<T: Ord> State<T>
where
    T: Clone,
{
    /// True if a worker is to be woken.
    fn add(&mut self, key: T) -> bool {
        if !self.dirty.insert(key.clone()) || self.busy.contains(&key) {
            return false;
        }
        self.order.push_back(key);
        true
    }

    fn add_at(&mut self, key: T, at: Instant) {
        if let Some(before) = self.due.get(&key).copied() {
            if before.0 <= at {
                return;
            }
            self.later.remove(&before);
        }
        self.next += 1;
        self.later.insert((at, self.next), key.clone());
        self.due.insert(key, (at, self.next));
    }

    /// Adds what is due. Gives when the next will be.
    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
        None
    }

    fn take(&mut self) -> Option<T> {
        let key = self.order.pop_front()?;
        self.dirty.remove(&key);
        self.busy.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &T) -> bool {
        self.busy.remove(key);
        let again = self.dirty.contains(key);
        if again {
            self.order.push_back(key.clone());
        }
        again
    }
}

impl<T: Ord + Clone> WorkQueue<T> {
    /// An empty queue.
    pub fn new(config: QueueConfig) -> Self {
        let state = State {
            order: VecDeque::new(),
            dirty: BTreeSet::new(),
            busy: BTreeSet::new(),
            later: BTreeMap::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
            next: 0,
        };
        Self(Arc::new(Shared { config, state: Mutex::new(state), ready: Notify::new() }))
    }

    /// Asks for a key.
    pub fn add(&self, key: T) {
        if lock(&self.0.state).add(key) {
            self.0.ready.notify_one();
        }
    }

    /// Asks for a key in a while. Of several such askings the earliest counts.
    pub fn add_after(&self, key: T, wait: Duration) {
        if wait.is_zero() {
            return self.add(key);
        }
        lock(&self.0.state).add_at(key, Instant::now() + wait);
        self.0.ready.notify_one();
    }

    /// Asks for a key that failed: after 5 ms, 10 ms, 20 ms and so on.
    pub fn add_rate_limited(&self, key: T) {
        let mut state = lock(&self.0.state);
        let failures = state.failures.entry(key.clone()).or_insert(0);
        let wait = backoff(&self.0.config, *failures);
        *failures = failures.saturating_add(1);
        drop(state);
        self.add_after(key, wait);
    }

    /// The key succeeded: its next failure is its first.
    pub fn forget(&self, key: &T) {
        lock(&self.0.state).failures.remove(key);
    }

    /// How often the key failed since it was last forgotten.
    pub fn failures(&self, key: &T) -> u32 {
        lock(&self.0.state).failures.get(key).copied().unwrap_or(0)
    }

    /// Waits for a key to work on. Whoever gets it must say [`WorkQueue::done`].
    pub async fn get(&self) -> T {
        loop {
            let next_at = {
                let mut state = lock(&self.0.state);
                let next_at = state.ripen(Instant::now());
                if let Some(key) = state.take() {
                    if !state.order.is_empty() {
                        self.0.ready.notify_one();
                    }
                    return key;
                }
                next_at
            };
            match next_at {
                Some(at) => drop(select2(self.0.ready.notified(), sleep_until(at)).await),
                None => self.0.ready.notified().await,
            }
        }
    }

    /// The work on a key is over, well or badly.
    pub fn done(&self, key: &T) {
        if lock(&self.0.state).done(key) {
            self.0.ready.notify_one();
        }
    }

    /// Keys that wait for a worker now.
    pub fn len(&self) -> usize {
        lock(&self.0.state).order.len()
    }

    /// Whether no key waits for a worker now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// After so many failures.
fn backoff(config: &QueueConfig, failures: u32) -> Duration {
    let factor = 1u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX);
    config.backoff.saturating_mul(factor).min(config.backoff_max)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_key_is_worked_on_once_however_often_it_is_added() {
        let queue = WorkQueue::default();
        for key in ["a", "b", "a"] {
            queue.add(key);
        }
        assert_eq!(queue.len(), 2);
        let next = || queue.get().now_or_never();
        assert_eq!(next(), Some("a"));
        // Added while it is worked on: not now, but again.
        queue.add("a");
        assert_eq!((next(), next()), (Some("b"), None));
        queue.done(&"a");
        assert_eq!(next(), Some("a"));
        queue.done(&"a");
        queue.done(&"b");
        assert_eq!(next(), None);
    }

    #[test]
    fn failures_wait_longer_and_longer() {
        let config = QueueConfig::default();
        let rows = [(0, 5), (1, 10), (2, 20), (10, 5_120), (17, 655_360), (18, 1_000_000), (40, 1_000_000)];
        for (failures, want) in rows {
            assert_eq!(backoff(&config, failures), Duration::from_millis(want), "{failures}");
        }
    }

    #[test]
    fn of_two_times_the_earlier_counts() {
        let mut state = WorkQueue::<&str>::default();
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let state = lock(&Arc::get_mut(&mut state.0).unwrap().state).add_all(&[
            ("a", at(9)),
            ("b", at(5)),
            ("a", at(3)),
            ("b", at(7)),
        ]);
        assert_eq!(state, [("a", at(3)), ("b", at(5))]);
    }

    impl State<&'static str> {
        fn add_all(&mut self, keys: &[(&'static str, Instant)]) -> Vec<(&'static str, Instant)> {
            keys.iter().for_each(|(key, at)| self.add_at(key, *at));
            assert_eq!(self.later.len(), self.due.len());
            self.later.iter().map(|((at, _), key)| (*key, *at)).collect()
        }
    }
}
