//! Hand-made histories for the oracles' unit tests. Times are milliseconds.

use super::history::{Answer, Call, Content, Operation, Outcome, Seen};
use super::model::split;
use super::observation::{LogDigest, LogId, MasterObservation, Role};
use super::record::Outage;
use crate::base::{HostId, SimTime};
use crate::stack::wire::{InodeId, OpId};

/// The instant `ms` milliseconds in.
pub fn at(ms: u64) -> SimTime {
    SimTime::from_millis(ms)
}

/// Acknowledged in term 1.
pub fn acked(returned: SimTime, index: u64, answer: Answer) -> Outcome {
    Outcome::Acked { returned, index, term: 1, answer }
}

/// A file or directory as an answer shows it.
pub fn seen(path: &str, id: u64, dir: bool) -> Seen {
    Seen { name: split(path).1.into(), id: InodeId(id), dir, length: 0, completed: dir, version: 0 }
}

/// A completed file.
pub fn file(path: &str, id: u64, length: u64) -> Seen {
    Seen { length, completed: true, ..seen(path, id, false) }
}

/// A history under construction.
#[derive(Default)]
pub struct History {
    pub ops: Vec<Operation>,
}

/// The operation just added.
pub struct Last<'a>(&'a mut Operation);

impl History {
    pub fn add(&mut self, call: Call) -> Last<'_> {
        let seq = self.ops.len() as u64 + 1;
        let op = OpId { client: 1, seq };
        self.ops.push(Operation { client: 1, op, call, invoked: at(0), attempts: 1, outcome: Outcome::Pending });
        Last(self.ops.last_mut().expect("just pushed"))
    }
    pub fn mkdir(&mut self, path: &str) -> Last<'_> {
        self.add(Call::Mkdir { path: path.into(), recursive: false })
    }
    pub fn create(&mut self, path: &str) -> Last<'_> {
        self.add(Call::Create { path: path.into() })
    }
    pub fn complete(&mut self, path: &str, file: u64, length: u64) -> Last<'_> {
        let content = Content { key: path.into(), version: 1 };
        self.add(Call::Complete { file: InodeId(file), path: path.into(), length, content })
    }
    pub fn rename(&mut self, from: &str, to: &str) -> Last<'_> {
        self.add(Call::Rename { from: from.into(), to: to.into() })
    }
    pub fn delete(&mut self, path: &str) -> Last<'_> {
        self.add(Call::Delete { path: path.into(), recursive: true })
    }
    pub fn stat(&mut self, path: &str) -> Last<'_> {
        self.add(Call::Stat { path: path.into() })
    }
    pub fn list(&mut self, path: &str) -> Last<'_> {
        self.add(Call::List { path: path.into() })
    }
    pub fn read(&mut self, path: &str, file: u64) -> Last<'_> {
        self.add(Call::Read { path: path.into(), file: InodeId(file), opened: at(0), offset: 0, length: 10 })
    }
}

impl Last<'_> {
    /// From when to when, in milliseconds. The outcome stays what it is if it is pending.
    pub fn span(self, from: u64, to: u64) -> Self {
        self.0.invoked = at(from);
        if let Call::Read { opened, .. } = &mut self.0.call {
            *opened = at(from);
        }
        self.0.outcome = Outcome::Unknown { returned: at(to), error: "timed out".into(), documented: true };
        self
    }
    /// Acknowledged as done at the end of its span.
    pub fn acked(self, index: u64) -> Self {
        self.acked_with(index, Answer::Done)
    }
    /// Acknowledged with this answer at the end of its span.
    pub fn acked_with(self, index: u64, answer: Answer) -> Self {
        let returned = self.0.returned().unwrap_or(self.0.invoked);
        self.outcome(acked(returned, index, answer))
    }
    pub fn outcome(self, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        self
    }
    pub fn term(self, new: u64) -> Self {
        if let Outcome::Acked { term, .. } = &mut self.0.outcome {
            *term = new;
        }
        self
    }
    pub fn attempts(self, n: u32) -> Self {
        self.0.attempts = n;
        self
    }
}

/// A follower at `ms` milliseconds that knows nothing yet.
pub fn master(ms: u64, member: u64, term: u64) -> MasterObservation {
    MasterObservation {
        at: at(ms),
        host: HostId(member as u32),
        name: format!("master-{member}"),
        member,
        incarnation: 0,
        storage: 0,
        term,
        voted_for: None,
        role: Role::Follower,
        acks_writes: false,
        last_log: None,
        committed: 0,
        applied: 0,
        state_hash: None,
        log: vec![],
    }
}

/// A time without a majority, in milliseconds.
pub fn outage(from: u64, until: Option<u64>) -> Outage {
    Outage { from: at(from), until: until.map(at), why: "two of three off".into(), quorum: false }
}

/// One log entry.
pub fn entry(term: u64, index: u64, hash: u128) -> LogDigest {
    LogDigest { id: LogId { term, index }, hash, carried_out: None }
}
