//! The types that openraft is instantiated with.
//!
//! `leader_id_std`: at most one leader a term, as in the Raft paper, so that a term alone names a leader.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::rt::raft::Seam;
use crate::stack::master::state::{Command, Reply};

/// A master's place in the group: its ordinal in the configuration, the same on every master, kept over restarts.
pub type NodeId = u64;

/// Where a master is reached.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// `host:port` for clients and workers.
    pub rpc: String,
    /// `host:port` for the other masters.
    pub journal: String,
}

openraft::declare_raft_types!(
    /// Raft over the master's state.
    pub TypeConfig:
        D = Command,
        R = Reply,
        NodeId = NodeId,
        Node = Peer,
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, NodeId>,
        AsyncRuntime = Seam,
);

/// One master's Raft.
pub type Raft = openraft::Raft<TypeConfig, Machine>;
/// Term and index.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A term, who is voted for in it, and whether a quorum did.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
/// A snapshot: what it covers, and the encoded state.
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, bytes::Bytes>;
/// Who is a member, and since which entry.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
