//! Zones and the pace of evictions: how much of a zone is down, and what that does to the rate.
//!
//! Follows `handleDisruption`, `ComputeZoneState` and `RateLimitedTimedQueue` of Kubernetes 1.3x. Rule: the more of a cluster
//! looks dead, the less is evicted; if everything looks dead, the controller itself is taken for the broken part.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rt::time::Instant;

/// Region and zone.
pub type Zone = (String, String);

/// Rates and thresholds, with kube-controller-manager's flags as defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Time between two nodes: `--node-eviction-rate` 0.1 a second.
    pub normal: Duration,
    /// The same in a large, partly disrupted zone: `--secondary-node-eviction-rate` 0.01 a second.
    pub reduced: Duration,
    /// A zone of more nodes than this is large: `--large-cluster-size-threshold`.
    pub large: usize,
    /// Percentage of a zone that must be down for it to count as partly disrupted: `--unhealthy-zone-threshold` 0.55.
    pub unhealthy_percent: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self { normal: Duration::from_secs(10), reduced: Duration::from_secs(100), large: 50, unhealthy_percent: 55 }
    }
}

/// How disrupted a zone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not looked at before.
    Initial,
    /// Enough of it is ready.
    Normal,
    /// At least three nodes and the threshold's share are not ready.
    Partial,
    /// Nothing is ready.
    Full,
}

impl Rates {
    /// The state of a zone of that many ready and not ready nodes.
    pub fn state(&self, ready: usize, not_ready: usize) -> State {
        if ready == 0 && not_ready > 0 {
            State::Full
        } else if not_ready > 2 && not_ready * 100 >= self.unhealthy_percent * (ready + not_ready) {
            State::Partial
        } else {
            State::Normal
        }
    }

    /// Time between two evictions in a zone of `size` nodes; none means never.
    fn pace(&self, state: State, size: usize) -> Option<Duration> {
        match state {
            State::Partial if size > self.large => Some(self.reduced),
            State::Partial => None,
            State::Initial | State::Normal | State::Full => Some(self.normal),
        }
    }
}

/// What a look at all zones means for the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// Nothing beyond changed rates.
    None,
    /// Everything is down now: take the eviction taints back.
    AllDown,
    /// Something answers again after everything was down: forgive the silence.
    BackUp,
}

/// The queue of one zone.
#[derive(Debug, Clone)]
struct Queue {
    state: State,
    /// Time between two nodes; none while evictions stand still.
    pace: Option<Duration>,
    /// When the next node may go: a bucket of one token.
    free_at: Option<Instant>,
    /// Nodes in the order in which they were marked.
    waiting: Vec<String>,
    /// Nodes that went through and have not been reachable since.
    done: Vec<String>,
}

/// The queues of all zones.
#[derive(Debug, Clone)]
pub struct Zones {
    rates: Rates,
    queues: BTreeMap<Zone, Queue>,
}

impl Zones {
    /// No zones yet.
    pub fn new(rates: Rates) -> Self {
        Self { rates, queues: BTreeMap::new() }
    }

    fn queue(&mut self, zone: &Zone) -> &mut Queue {
        let pace = Some(self.rates.normal);
        let fresh = || Queue { state: State::Initial, pace, free_at: None, waiting: Vec::new(), done: Vec::new() };
        self.queues.entry(zone.clone()).or_insert_with(fresh)
    }

    /// The state of a zone; none before it was looked at.
    pub fn state(&self, zone: &Zone) -> Option<State> {
        self.queues.get(zone).map(|queue| queue.state)
    }

    /// Puts a node into its zone's queue. `tainted` says that it carries the taint: then once is enough.
    pub fn mark(&mut self, zone: &Zone, node: &str, tainted: bool) {
        let queue = self.queue(zone);
        if !tainted {
            queue.done.retain(|other| other != node);
        }
        if !queue.waiting.iter().chain(&queue.done).any(|other| other == node) {
            queue.waiting.push(node.into());
        }
    }

    /// Takes a node out: it is reachable, or gone.
    pub fn clear(&mut self, node: &str) {
        for queue in self.queues.values_mut() {
            queue.waiting.retain(|other| other != node);
            queue.done.retain(|other| other != node);
        }
    }

    /// The nodes whose turn it is, in the order of their zones. Each uses up its zone's token.
    pub fn due(&mut self, now: Instant) -> Vec<String> {
        let mut due = Vec::new();
        for queue in self.queues.values_mut() {
            while !queue.waiting.is_empty() && queue.accept(now) {
                let node = queue.waiting.remove(0);
                queue.done.push(node.clone());
                due.push(node);
            }
        }
        due
    }

    /// When [`Self::due`] next has something, if nothing changes.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let waiting = self.queues.values().filter(|queue| queue.pace.is_some() && !queue.waiting.is_empty());
        waiting.map(|queue| queue.free_at.unwrap_or(now)).min()
    }

    /// A taint could not be written: the node waits again, first in its zone.
    pub fn again(&mut self, zone: &Zone, node: &str) {
        let queue = self.queue(zone);
        queue.done.retain(|other| other != node);
        if !queue.waiting.iter().any(|other| other == node) {
            queue.waiting.insert(0, node.into());
        }
    }

    /// Judges all zones; `counts` holds the ready and not ready nodes of each.
    pub fn judge(&mut self, counts: &BTreeMap<Zone, (usize, usize)>, now: Instant) -> Shift {
        for zone in counts.keys() {
            self.queue(zone);
        }
        let rates = self.rates;
        let state = |zone: &Zone| counts.get(zone).map(|(ready, not_ready)| rates.state(*ready, *not_ready));
        // A zone without nodes is forgotten when it gets some again.
        for (zone, queue) in &mut self.queues {
            if !counts.contains_key(zone) {
                queue.state = State::Initial;
            }
        }
        let known = || self.queues.iter().filter(|(zone, _)| counts.contains_key(*zone));
        let all_are = known().all(|(zone, _)| state(zone) == Some(State::Full));
        let all_were = known().all(|(_, queue)| queue.state == State::Full);
        if all_are && all_were {
            return Shift::None;
        }
        for (zone, queue) in &mut self.queues {
            let Some((ready, not_ready)) = counts.get(zone) else { continue };
            let new = rates.state(*ready, *not_ready);
            if all_are {
                queue.swap(None, now);
            } else if all_were || queue.state != new {
                queue.swap(rates.pace(new, ready + not_ready), now);
            }
            queue.state = new;
        }
        match (all_are, all_were) {
            (true, _) => Shift::AllDown,
            (false, true) => Shift::BackUp,
            (false, false) => Shift::None,
        }
    }
}

impl Queue {
    fn accept(&mut self, now: Instant) -> bool {
        let Some(pace) = self.pace else { return false };
        let free = self.free_at.is_none_or(|at| at <= now);
        if free {
            self.free_at = Some(now + pace);
        }
        free
    }

    /// Another pace. A bucket that was empty stays empty for one period of the new pace.
    fn swap(&mut self, pace: Option<Duration>, now: Instant) {
        if self.pace != pace {
            let empty = self.pace.is_none() || self.free_at.is_some_and(|at| at > now);
            self.free_at = pace.filter(|_| empty).map(|pace| now + pace);
            self.pace = pace;
        }
    }
}
