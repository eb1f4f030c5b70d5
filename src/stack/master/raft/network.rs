//! openraft's way to the other masters: the rpc layer, with its deadlines.
//!
//! Each target has three connections, so that heartbeats never queue behind entries, nor entries behind a snapshot. A
//! snapshot goes in chunks; one that was broken off goes on where it stopped. Nothing is retried here: openraft does.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use super::appends::commits_along;
use super::types::{LogId, NodeId, Peer, Snapshot, TypeConfig, Vote};
use super::wire::{RaftProtocol, RaftReply, RaftRequest};
use crate::base::lock;
use crate::rt::time::Duration;
use crate::rt::{Either, select2};
use crate::stack::wire::rpc::{Channel, FRAME_MAX, RpcError};

/// A snapshot's chunk is never longer, in bytes.
const CHUNK_MAX: usize = FRAME_MAX / 2;
/// Chunks that may be answered without progress before a transfer is given up.
const STALLS_MAX: u32 = 8;

/// Makes connections to the other masters, and keeps them.
pub struct Network {
    id: NodeId,
    channels: Mutex<BTreeMap<(String, Purpose), Channel<RaftProtocol>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Entries,
    Heartbeats,
    Snapshots,
}

/// One use of one target.
pub struct Connection {
    id: NodeId,
    target: NodeId,
    channel: Channel<RaftProtocol>,
}

impl Network {
    /// For the member `id`. Nothing is connected yet.
    pub fn new(id: NodeId) -> Self {
        Self { id, channels: Mutex::default() }
    }

    fn connection(&self, target: NodeId, peer: &Peer, purpose: Purpose) -> Connection {
        let mut channels = lock(&self.channels);
        let channel = channels
            .entry((peer.journal.to_string(), purpose))
            .or_insert_with(|| Channel::new(peer.journal.to_string()))
            .clone();
        Connection { id: self.id, target, channel }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: NodeId, node: &Peer) -> Connection {
        self.connection(target, node, Purpose::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Peer) -> Connection {
        self.connection(target, node, Purpose::Heartbeats)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Peer) -> Connection {
        self.connection(target, node, Purpose::Snapshots)
    }
}

type Failure = RPCError<TypeConfig>;

impl Connection {
    async fn ask(&self, request: RaftRequest, kind: RPCTypes, within: Duration) -> Result<RaftReply, Failure> {
        self.answered(self.channel.call(request, within).await, kind, within)
    }

    fn answered(
        &self,
        answered: Result<RaftReply, RpcError>,
        kind: RPCTypes,
        within: Duration,
    ) -> Result<RaftReply, Failure> {
        match answered {
            Ok(RaftReply::NotNow(why)) => Err(Unreachable::from_string(why).into()),
            Ok(reply) => Ok(reply),
            Err(RpcError::Timeout) => {
                let (id, target) = (self.id, self.target);
                Err(Timeout { action: kind, id, target, timeout: within }.into())
            }
            // openraft repeats a network error at once, but waits a little after this one.
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }

    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot, option: &RPCOption) -> Result<Reply, Failure> {
        let Snapshot { meta, snapshot: data } = snapshot;
        let (length, crc) = (data.len() as u64, crc32c::crc32c(&data));
        let within = option.soft_ttl();
        let ask = |request| self.ask(request, RPCTypes::InstallSnapshot, within);
        let mut reply = ask(RaftRequest::SnapshotBegin { vote, meta, length, crc }).await?;
        let mut furthest = 0;
        let mut stalls = 0;
        loop {
            let at = match reply {
                RaftReply::SnapshotAt(at) if at <= length => at,
                RaftReply::Installed(response) => return Ok(response),
                other => return Err(strange(&other)),
            };
            stalls = if at > furthest { 0 } else { stalls + 1 };
            if stalls > STALLS_MAX {
                return Err(NetworkError::from_string("the snapshot makes no progress").into());
            }
            furthest = furthest.max(at);
            reply = if at < length {
                ask(RaftRequest::SnapshotChunk { offset: at, data: chunk(&data, at, option).to_vec() }).await?
            } else {
                ask(RaftRequest::SnapshotEnd { vote }).await?
            };
        }
    }
}

type Reply = SnapshotResponse<TypeConfig>;
type Appended = Result<StreamAppendResult<TypeConfig>, Failure>;

fn chunk<'a>(data: &'a Bytes, at: u64, option: &RPCOption) -> &'a [u8] {
    let size = option.snapshot_chunk_size().unwrap_or(CHUNK_MAX).clamp(1, CHUNK_MAX);
    let rest = &data[at as usize..];
    &rest[..rest.len().min(size)]
}

/// Drops the second half of the entries; `last` is then the last one that stays. False if there is nothing to halve.
fn halve(request: &mut RaftRequest, last: &mut Option<LogId>) -> bool {
    let RaftRequest::Append(append) = request else { return false };
    if append.entries.len() < 2 {
        return false;
    }
    append.entries.truncate(append.entries.len() / 2);
    *last = append.entries.last().map(openraft::entry::RaftEntry::log_id);
    true
}

fn strange(reply: &RaftReply) -> Failure {
    NetworkError::from_string(format!("an answer to something else: {reply:?}")).into()
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let (mut request, mut cut) = (RaftRequest::Append(rpc), None);
        let reply = loop {
            match self.channel.call(&request, option.soft_ttl()).await {
                // Too long for a frame: the first half, and openraft sends the rest.
                Err(RpcError::TooLarge) if halve(&mut request, &mut cut) => {}
                answered => break self.answered(answered, RPCTypes::AppendEntries, option.soft_ttl())?,
            }
        };
        match (reply, cut) {
            (RaftReply::Append(AppendEntriesResponse::Success), Some(last)) => {
                Ok(AppendEntriesResponse::PartialSuccess(Some(last)))
            }
            (RaftReply::Append(response), _) => Ok(response),
            (other, _) => Err(strange(&other)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, Failure>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        // openraft allows one request a heartbeat's time.
        let heartbeat = option.hard_ttl();
        stream_append_sequential(self, commits_along(input, heartbeat), option)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        match self.ask(RaftRequest::Vote(rpc), RPCTypes::Vote, option.soft_ttl()).await? {
            RaftReply::Vote(response) => Ok(response),
            other => Err(strange(&other)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        match self.ask(RaftRequest::PreVote(rpc), RPCTypes::Vote, option.soft_ttl()).await? {
            RaftReply::Vote(response) => Ok(response),
            other => Err(strange(&other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        match select2(pin!(cancel), pin!(self.send_snapshot(vote, snapshot, &option))).await {
            Either::Left(closed) => Err(closed.into()),
            Either::Right(sent) => sent.map_err(StreamingError::from),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        let (from, to, last) = (*request.from_leader(), *request.to_node_id(), request.last_log_id().copied());
        let transfer = RaftRequest::Transfer { from, to, last };
        match self.ask(transfer, RPCTypes::TransferLeader, option.soft_ttl()).await? {
            RaftReply::Transferred(response) => Ok(response),
            other => Err(strange(&other)),
        }
    }
}
