//! The types that openraft is instantiated with.
//!
//! `leader_id_std`: at most one leader a term, as in the Raft paper, so that a term alone names a leader.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// A command as Raft carries it: the log's cache, each replication and the state share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal(Arc<Command>);

impl From<Command> for Proposal {
    fn from(command: Command) -> Self {
        Self(Arc::new(command))
    }
}

impl Deref for Proposal {
    type Target = Command;
    fn deref(&self) -> &Command {
        &self.0
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Command::deserialize(deserializer).map(Self::from)
    }
}

openraft::declare_raft_types!(
    /// Raft over the master's state.
    pub TypeConfig:
        D = Proposal,
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
