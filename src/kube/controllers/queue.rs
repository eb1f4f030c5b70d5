//! The queue of keys that one controller works on.
//!
//! Follows client-go's `workqueue`: a key waits once however often it is added, may be added for later, and comes back after an
//! error with a delay of its own that doubles. Differs: one worker takes from it, and order is first come, first served.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use crate::base::lock;
use crate::kube::kind::ObjectKey;
use crate::rt::chan::Notify;
use crate::rt::select2;
use crate::rt::time::{Duration, Instant, sleep_until};

/// The delays of `DefaultTypedControllerRateLimiter`, without its overall bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// After the first error.
    pub base: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self { base: Duration::from_millis(5), max: Duration::from_secs(1000) }
    }
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<ObjectKey>,
    waiting: BTreeSet<ObjectKey>,
    later: BTreeSet<(Instant, ObjectKey)>,
    due: BTreeMap<ObjectKey, Instant>,
    failures: BTreeMap<ObjectKey, u32>,
}

/// Keys that need a look.
#[derive(Debug, Default)]
pub struct Queue {
    delays: Delays,
    state: Mutex<State>,
    added: Notify,
}

impl Queue {
    /// An empty queue.
    pub fn new(delays: Delays) -> Self {
        Self { delays, ..Self::default() }
    }

    /// Needs a look now.
    pub fn add(&self, key: ObjectKey) {
        lock(&self.state).add(key);
        self.added.notify_one();
    }

    /// Needs a look after `delay`; of several such wishes the earliest counts.
    pub fn add_after(&self, key: ObjectKey, delay: Duration) {
        let mut state = lock(&self.state);
        let due = Instant::now() + delay;
        match state.due.get(&key).copied() {
            Some(known) if known <= due => return,
            Some(known) => {
                state.later.remove(&(known, key.clone()));
            }
            None => {}
        }
        state.due.insert(key.clone(), due);
        state.later.insert((due, key));
        drop(state);
        self.added.notify_one();
    }

    /// Needs another look after an error.
    pub fn retry(&self, key: ObjectKey) {
        let mut state = lock(&self.state);
        let failures = state.failures.entry(key.clone()).or_default();
        let factor = 1u32.checked_shl(*failures).unwrap_or(u32::MAX);
        *failures = failures.saturating_add(1);
        drop(state);
        self.add_after(key, self.delays.base.saturating_mul(factor).min(self.delays.max));
    }

    /// It went well: the next error waits the shortest time again.
    pub fn forget(&self, key: &ObjectKey) {
        lock(&self.state).failures.remove(key);
    }

    /// The next key, as soon as there is one.
    pub async fn next(&self) -> ObjectKey {
        loop {
            let next = {
                let mut state = lock(&self.state);
                match state.take(Instant::now()) {
                    Some(key) => return key,
                    None => state.later.first().map(|(due, _)| *due),
                }
            };
            match next {
                Some(due) => drop(select2(self.added.notified(), sleep_until(due)).await),
                None => self.added.notified().await,
            }
        }
    }
}

impl State {
    fn add(&mut self, key: ObjectKey) {
        if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn take(&mut self, now: Instant) -> Option<ObjectKey> {
        while self.later.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, key)) = self.later.pop_first() else { break };
            self.due.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_once_and_the_earliest_wish_counts() {
        let queue = Queue::default();
        let (a, b) = (ObjectKey::new("n", "a"), ObjectKey::new("n", "b"));
        [&a, &b, &a].map(|key| queue.add(key.clone()));
        let mut state = lock(&queue.state);
        let now = Instant::now();
        assert_eq!([state.take(now), state.take(now), state.take(now)], [Some(a.clone()), Some(b.clone()), None]);
        drop(state);
        queue.add_after(a.clone(), Duration::from_secs(50));
        queue.add_after(a.clone(), Duration::from_secs(20));
        queue.add_after(a.clone(), Duration::from_secs(90));
        (0..2).for_each(|_| queue.retry(b.clone()));
        let mut state = lock(&queue.state);
        assert_eq!((state.later.len(), state.failures[&b]), (2, 2));
        assert_eq!(state.take(now + Duration::from_secs(1)), Some(b));
        assert_eq!(state.take(now + Duration::from_secs(19)), None);
        assert_eq!(state.take(now + Duration::from_secs(30)), Some(a));
        assert_eq!((state.later.len(), state.due.len()), (0, 0));
    }
}
