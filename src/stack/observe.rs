//! What a running master tells of itself: plain facts that it keeps up to date, read from outside at any moment.
//!
//! An operator's metrics and a test harness read the same facts. They are one member's own view: who really leads is for
//! the reader to judge, from terms and logs of several members. Updating never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::base::lock;
use crate::stack::wire::OpId;

/// How many of the latest applied entries are kept.
pub const APPLIED_TAIL: usize = 64;

/// What a Raft member takes itself for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Recovers its journal, or Raft has stopped.
    #[default]
    Down,
    /// Replicates without a vote.
    Learner,
    /// Follows.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads, or believes so.
    Leader,
}

/// Raft's name of an entry.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Place in the journal.
    pub index: u64,
}

/// An applied entry and the state's fingerprint right after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Which entry.
    pub id: EntryId,
    /// Fingerprint of the whole state after it.
    pub state_hash: u128,
    /// The client's operation that it carried out; none if the operation was told what it had answered before.
    pub carried_out: Option<CarriedOut>,
}

/// An operation that an entry carried out, rather than recalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarriedOut {
    /// Which.
    pub op: OpId,
    /// Whether it changed the state: it was not refused.
    pub took_effect: bool,
}

/// One master's facts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MasterFacts {
    /// Current term, as far as it is durable.
    pub term: u64,
    /// Whom it voted for in that term, itself included; none once it has heard of the term's leader.
    pub voted_for: Option<u64>,
    /// What it takes itself for.
    pub role: Role,
    /// The member it takes for the leader.
    pub leader: Option<u64>,
    /// The term in which it serves clients now: it led, confirmed it, and has not heard otherwise.
    pub serving: Option<u64>,
    /// Whether it refuses what depends on workers, while serving.
    pub safe_mode: bool,
    /// Whether it found its journal to be behind what the cluster acknowledged, and refuses to serve.
    pub outdated: bool,
    /// Whether it may vote: not while a wiped member catches up.
    pub may_vote: bool,
    /// Index of the last entry of its journal.
    pub last_log: Option<u64>,
    /// The last entry it knows to be committed.
    pub committed: Option<EntryId>,
    /// The last entry applied.
    pub applied: Option<EntryId>,
    /// Entries up to here are in its snapshot.
    pub snapshot: Option<EntryId>,
    /// Snapshots that it took over from a leader in this process's life.
    pub installed: u64,
    /// Entries up to here are purged from its journal.
    pub purged: Option<EntryId>,
    /// The latest applied entries, oldest first, at most [`APPLIED_TAIL`] of this process's life.
    pub tail: VecDeque<Applied>,
    /// Workers that heartbeat, as far as a leader knows.
    pub live_workers: usize,
    /// The name that its cluster got when it was formed; none before its first leader took office.
    pub cluster: Option<u64>,
    /// Paths of the mounts that it knows, in order.
    pub mounts: Arc<[String]>,
}

/// The facts, shared between the master that updates them and whoever reads them.
#[derive(Debug, Default)]
pub struct Observer {
    facts: Mutex<MasterFacts>,
}

impl Observer {
    /// The facts now.
    pub fn facts(&self) -> MasterFacts {
        lock(&self.facts).clone()
    }

    /// Looks at the facts without a copy. `look` must not call back.
    pub fn look<R>(&self, look: impl FnOnce(&MasterFacts) -> R) -> R {
        look(&lock(&self.facts))
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut MasterFacts)) {
        update(&mut lock(&self.facts));
    }

    pub(crate) fn applied(&self, applied: Applied) {
        let mut facts = lock(&self.facts);
        facts.applied = Some(applied.id);
        if facts.tail.len() == APPLIED_TAIL {
            facts.tail.pop_front();
        }
        facts.tail.push_back(applied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_latest_entries_in_order() {
        let observer = Observer::default();
        for index in 0..200 {
            observer.applied(Applied { id: EntryId { term: 1, index }, state_hash: index.into(), carried_out: None });
        }
        let facts = observer.facts();
        assert_eq!(facts.applied, Some(EntryId { term: 1, index: 199 }));
        assert_eq!(facts.tail.len(), APPLIED_TAIL);
        assert!(facts.tail.iter().map(|a| a.id.index).eq(200 - APPLIED_TAIL as u64..200));
    }
}
