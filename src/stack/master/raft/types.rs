//! The types that openraft is instantiated with.
//!
//! `leader_id_std`: at most one leader a term, as in the Raft paper, so that a term alone names a leader.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::rt::raft::Seam;
use crate::stack::master::state::{Command, Reply};

/// A master's place in the group: its ordinal in the configuration, the same on every master, kept over restarts.
pub type NodeId = u64;

/// Where a master is reached. Cheap to clone: openraft does so at every turn of a follower.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// `host:port` for clients and workers.
    #[serde(with = "shared")]
    pub rpc: Arc<str>,
    /// `host:port` for the other masters.
    #[serde(with = "shared")]
    pub journal: Arc<str>,
}

/// A shared text, as a text.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
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
