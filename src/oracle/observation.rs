//! What the harness saw of the cluster itself: snapshots of masters and workers, the final tree, effects of faults.
//!
//! An observation is a fact taken from outside at one instant of simulated time. Nobody's opinion of who leads is believed:
//! the oracles compare terms, logs and acknowledged answers.

use serde::{Deserialize, Serialize};

use super::history::{Content, Seen};
use crate::base::{HostId, SimTime};
use crate::stack::wire::{BlockId, InodeId, OpId};

/// One master at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterObservation {
    /// When.
    pub at: SimTime,
    /// Where it runs.
    pub host: HostId,
    /// What people call it, such as `hbase-master-0`.
    pub name: String,
    /// Its Raft node id.
    pub member: u64,
    /// Counts the processes of this member.
    pub incarnation: u32,
    /// Counts the lives of its journal volume: a wiped or replaced volume may lawfully begin again at term 0.
    pub storage: u32,
    /// Current Raft term.
    pub term: u64,
    /// Whom it voted for in that term.
    pub voted_for: Option<u64>,
    /// What it takes itself for.
    pub role: Role,
    /// Whether it would acknowledge a write now, as far as it knows.
    pub acks_writes: bool,
    /// Index of the last entry of its log.
    pub last_log: Option<u64>,
    /// The highest index it knows to be committed; 0 if none.
    pub committed: u64,
    /// The highest index applied to its state; 0 if none.
    pub applied: u64,
    /// Digest of the replicated state at `applied`.
    pub state_hash: Option<u128>,
    /// Digests of entries of its log, ascending by index; may be the tail only.
    pub log: Vec<LogDigest>,
}

/// What a Raft member takes itself for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Leads, or believes so.
    Leader,
    /// Asks for votes.
    Candidate,
    /// Follows.
    Follower,
    /// Replicates without a vote.
    Learner,
    /// Replays, or its Raft core stopped.
    Down,
}

/// Raft's name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogId {
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Place in the log.
    pub index: u64,
}

/// One entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDigest {
    /// Its name.
    pub id: LogId,
    /// Digest of the state after it, which tells its payload from any other.
    pub hash: u128,
    /// The client's operation that it carried out; none for any other entry, and for a retry that was recalled.
    pub carried_out: Option<CarriedOut>,
}

impl LogDigest {
    /// Whether both are the same entry. What it carried out is not compared: who took it over within a snapshot cannot tell.
    pub fn is(&self, other: &Self) -> bool {
        (self.id, self.hash) == (other.id, other.hash)
    }
}

/// An operation that an entry carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedOut {
    /// Which.
    pub op: OpId,
    /// Whether it changed the state: it was not refused.
    pub took_effect: bool,
}

/// One worker at one instant, its disk read from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerObservation {
    /// When.
    pub at: SimTime,
    /// Where it runs.
    pub host: HostId,
    /// What people call it; the same text as `worker` of a wrong read.
    pub name: String,
    /// Counts the lives of its disk.
    pub storage: u32,
    /// Its blocks, by id.
    pub blocks: Vec<BlockObservation>,
}

/// One cached block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockObservation {
    /// Which.
    pub block: BlockId,
    /// Bytes on disk.
    pub length: u64,
    /// What its checksum says of the bytes on disk.
    pub health: Health,
    /// How many wrong answers this worker gave from the block between the look before this one and the next, if its bytes
    /// are bad now.
    pub served_while_bad: u64,
}

/// What a checksum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Bytes and checksum agree.
    Good,
    /// They do not. A worker that finds it out drops the block.
    Bad,
}

/// The whole namespace as one client saw it after everything had settled and no change was under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalTree {
    /// When the scan began.
    pub at: SimTime,
    /// (path, what is there), by path; the root left out.
    pub entries: Vec<(String, Seen)>,
    /// Completed files that could not be read to their end, by path; the others that clients wrote were.
    pub unreadable: Vec<Unreadable>,
}

/// A file whose bytes nobody could give although all faults were over, after as long as a read is patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Where it is.
    pub path: String,
    /// Its inode.
    pub file: InodeId,
    /// What the last try ended with.
    pub error: String,
}

/// A copy of a block that its medium destroyed at rest: bits that rotted, not bytes that were never synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The worker that held it.
    pub worker: String,
    /// Which.
    pub block: BlockId,
    /// When.
    pub at: SimTime,
}

/// A copy of a block that lay whole on a worker's disk and is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The worker that held it.
    pub worker: String,
    /// Which.
    pub block: BlockId,
    /// When that was seen first.
    pub at: SimTime,
}

/// One version of one file of an under-store, from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UfsVersion {
    /// Path in the namespace.
    pub path: String,
    /// Its bytes.
    pub content: Content,
    /// Since when it is what the under-store serves.
    pub from: SimTime,
}

/// What became of one injected fault, told by the world's counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEffect {
    /// The fault in the scenario's words.
    pub fault: String,
    /// When it was injected.
    pub at: SimTime,
    /// What its effect is counted in, such as `packets dropped` or `processes killed`.
    pub counted: String,
    /// How often it acted.
    pub effects: u64,
    /// Why the engine left it out, if it cannot express it. A skipped fault is noted, not counted as inert.
    pub skipped: Option<String>,
}

/// Something that the scenario must reach for its verdict to mean anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// In the scenario's words, such as `a leader other than the first acknowledged a write`.
    pub name: String,
    /// How often it was reached.
    pub reached: u64,
}
