//! What masters say to each other on their journal ports.

use serde::{Deserialize, Serialize};

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, VoteRequest, VoteResponse,
};

use super::types::{LogId, NodeId, SnapshotMeta, TypeConfig, Vote};
use crate::stack::wire::rpc::Protocol;

/// Masters to masters.
#[derive(Debug, Clone, Copy)]
pub struct RaftProtocol;

impl Protocol for RaftProtocol {
    const NAME: &'static str = "raft";
    const VERSION: u16 = 1;
    type Request = RaftRequest;
    type Response = RaftReply;
}

/// A request to another master.
#[derive(Debug, Serialize, Deserialize)]
pub enum RaftRequest {
    /// Entries, or none as a heartbeat.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Asks for a vote.
    Vote(VoteRequest<TypeConfig>),
    /// Asks whether a vote would be given.
    PreVote(VoteRequest<TypeConfig>),
    /// A snapshot follows, or goes on where an equal one stopped.
    SnapshotBegin {
        /// The sending leader's.
        vote: Vote,
        /// What it covers.
        meta: SnapshotMeta,
        /// Bytes.
        length: u64,
        /// CRC-32C of all bytes.
        crc: u32,
    },
    /// The next bytes of the snapshot.
    SnapshotChunk {
        /// How many were sent before.
        offset: u64,
        /// The bytes.
        #[serde(with = "crate::stack::wire::raw")]
        data: Vec<u8>,
    },
    /// All bytes are sent: install it.
    SnapshotEnd {
        /// The sending leader's.
        vote: Vote,
    },
    /// The leader hands over.
    Transfer {
        /// The leader's vote.
        from: Vote,
        /// Who shall lead.
        to: NodeId,
        /// The leader's last entry.
        last: Option<LogId>,
    },
    /// How far the other is; asked by a master that joins.
    Status,
}

/// The answer of another master.
#[derive(Debug, Serialize, Deserialize)]
pub enum RaftReply {
    /// To `Append`.
    Append(AppendEntriesResponse<TypeConfig>),
    /// To `Vote` and `PreVote`.
    Vote(VoteResponse<TypeConfig>),
    /// To `SnapshotBegin`, `SnapshotChunk`, and to a `SnapshotEnd` that came too early: bytes it has.
    SnapshotAt(u64),
    /// To `SnapshotEnd`.
    Installed(SnapshotResponse<TypeConfig>),
    /// To `Transfer`.
    Transferred(Result<(), TransferLeaderError<TypeConfig>>),
    /// To `Status`.
    Status(MemberStatus),
    /// Not now, with the reason; nothing was done.
    NotNow(String),
}

/// How far a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Whether it is a member that keeps what it promised: it has joined and was not wiped since.
    pub joined: bool,
    /// Its vote.
    pub vote: Vote,
    /// Its last entry.
    pub last: Option<LogId>,
}
