//! The last events of one kind, for watches that resume.
//!
//! Older ones are forgotten by age and number, as kube-apiserver's watch cache does, or by compaction, as etcd does: who
//! resumes from before gets `410 Gone`. Rule: versions only grow, and everything after `forgotten` is here.

use std::collections::VecDeque;

use super::object::Event;

/// Events of one kind, oldest first.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<Event>,
    /// The version of the newest event that is no longer here.
    forgotten: u64,
}

impl History {
    /// Adds an event, and forgets the oldest beyond `max`.
    pub fn push(&mut self, event: Event, max: usize) {
        debug_assert!(self.events.back().is_none_or(|last| last.version < event.version), "versions only grow");
        self.events.push_back(event);
        while self.events.len() > max {
            self.forget_first();
        }
    }

    /// Forgets events up to a version, as long as more than `kept` are left.
    pub fn shrink(&mut self, version: u64, kept: usize) {
        while self.events.len() > kept && self.events.front().is_some_and(|event| event.version <= version) {
            self.forget_first();
        }
    }

    /// Forgets all events up to a version.
    pub fn compact(&mut self, version: u64) {
        while self.events.front().is_some_and(|event| event.version <= version) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.forgotten = event.version;
        }
    }

    /// The events after a version; nothing if some of them are forgotten.
    pub fn after(&self, version: u64) -> Option<impl Iterator<Item = &Event>> {
        if version < self.forgotten {
            return None;
        }
        let from = self.events.partition_point(|event| event.version <= version);
        Some(self.events.range(from..))
    }

    /// The version of the newest forgotten event.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
