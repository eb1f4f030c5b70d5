//! What the masters said of paths a moment ago.
//!
//! Rule: an answer is used no longer than the bound after the request for it began, and never once this client has begun to
//! change the path, something above it or its directory. Answers to requests that were under way during such a change are
//! not kept. Other clients' changes are seen only when the bound has passed. Bounded in size too.

use std::collections::{BTreeMap, VecDeque};

use crate::rt::time::{Duration, Instant};
use crate::stack::wire::FileInfo;

/// The state of the cache when a request began; see [`AttrCache::begin`].
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    at: Instant,
    generation: u64,
}

#[derive(Debug)]
struct Entry {
    info: FileInfo,
    asked: Instant,
}

/// Attributes by path.
#[derive(Debug)]
pub struct AttrCache {
    bound: Duration,
    capacity: usize,
    entries: BTreeMap<String, Entry>,
    /// Paths in order of insertion; may name some that are gone.
    order: VecDeque<String>,
    /// Counts this client's changes.
    generation: u64,
}

impl AttrCache {
    /// Keeps at most `capacity` answers, each for `bound`; a zero bound keeps none.
    pub fn new(bound: Duration, capacity: usize) -> Self {
        Self { bound, capacity, entries: BTreeMap::new(), order: VecDeque::new(), generation: 0 }
    }

    /// To be taken before a request is sent.
    pub fn begin(&self) -> Ticket {
        Ticket { at: Instant::now(), generation: self.generation }
    }

    /// Keeps the answer to a request that began with `ticket`.
    pub fn insert(&mut self, ticket: Ticket, path: &str, info: FileInfo) {
        if ticket.generation != self.generation || self.bound.is_zero() || self.capacity == 0 {
            return;
        }
        if self.entries.insert(path.into(), Entry { info, asked: ticket.at }).is_none() {
            self.order.push_back(path.into());
        }
        while self.entries.len() > self.capacity || self.order.len() > 2 * self.capacity {
            let Some(oldest) = self.order.pop_front() else { return };
            self.entries.remove(&oldest);
        }
    }

    /// What was said of `path`, if that is recent enough at `now`.
    pub fn get(&self, path: &str, now: Instant) -> Option<&FileInfo> {
        let entry = self.entries.get(path)?;
        (now.duration_since(entry.asked) < self.bound).then_some(&entry.info)
    }

    /// This client begins, or has ended, a change of `path`: forgets it, all below and its directory. To be called both
    /// times.
    pub fn changed(&mut self, path: &str) {
        self.generation += 1;
        if self.entries.is_empty() {
            return self.order.clear();
        }
        let above = path.trim_end_matches('/');
        let below = |other: &str| other.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
        self.entries.remove(path);
        self.entries.retain(|other, _| !below(other));
        if let Some(cut) = path.rfind('/') {
            self.entries.remove(&path[..cut.max(1)]);
        }
        let entries = &self.entries;
        self.order.retain(|path| entries.contains_key(path));
    }

    /// How many answers are kept, old ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stack::wire::InodeId;

    const BOUND: Duration = Duration::from_secs(1);
    const PATHS: [&str; 5] = ["/", "/a", "/a/b", "/a/b/c", "/ab"];

    fn info(version: u64) -> FileInfo {
        FileInfo {
            id: InodeId(1),
            name: String::new(),
            dir: false,
            length: 0,
            block_size: 1,
            completed: true,
            version,
            mtime_ms: 0,
            ufs: None,
        }
    }

    fn touches(changed: &str, path: &str) -> bool {
        let parent = &changed[..changed.rfind('/').map_or(0, |cut| cut.max(1))];
        path == changed || path == parent || changed == "/" || path.starts_with(&format!("{changed}/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Whatever the order of requests, answers and own changes: an answer that is used was asked for less than the bound
        /// ago, and no own change that touches it began after that.
        #[test]
        fn nothing_old_or_overtaken_is_used(
            steps in prop::collection::vec((0usize..3, 0usize..5, 0u64..700), 0..60),
        ) {
            let mut cache = AttrCache::new(BOUND, 3);
            let start = Instant::now();
            let mut now = start;
            let mut under_way: Vec<(usize, Ticket, u64)> = Vec::new();
            // By version: when the request for it began, and where in the order of events.
            let mut asked: Vec<(Instant, usize)> = Vec::new();
            let mut changes: Vec<(usize, usize)> = Vec::new();
            for (event, (kind, path, wait)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(wait);
                match kind {
                    0 => {
                        let ticket = Ticket { at: now, ..cache.begin() };
                        under_way.push((path, ticket, asked.len() as u64));
                        asked.push((now, event));
                    }
                    1 => {
                        if let Some((path, ticket, version)) = under_way.pop() {
                            cache.insert(ticket, PATHS[path], info(version));
                        }
                    }
                    _ => {
                        cache.changed(PATHS[path]);
                        changes.push((event, path));
                    }
                }
                prop_assert!(cache.len() <= 3);
                for path in PATHS {
                    let Some(found) = cache.get(path, now) else { continue };
                    let (at, began) = asked[found.version as usize];
                    prop_assert!(now - at < BOUND, "{path} is {:?} old", now - at);
                    let overtaken = changes.iter().any(|(event, by)| *event > began && touches(PATHS[*by], path));
                    prop_assert!(!overtaken, "{path} was changed since");
                }
            }
        }
    }

    #[test]
    fn a_fresh_answer_is_used_and_a_zero_bound_keeps_nothing() {
        let mut cache = AttrCache::new(BOUND, 3);
        let ticket = cache.begin();
        cache.insert(ticket, "/a", info(7));
        assert_eq!(cache.get("/a", Instant::now()).map(|i| i.version), Some(7));
        let mut none = AttrCache::new(Duration::ZERO, 3);
        let ticket = none.begin();
        none.insert(ticket, "/a", info(7));
        assert!(none.is_empty());
    }
}
