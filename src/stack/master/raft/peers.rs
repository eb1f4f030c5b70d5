//! Answers the other masters on the journal port.
//!
//! Behind it stands openraft; before it stands a gate that keeps a master with a wiped journal from voting, and from
//! following outdated leaders, until it has caught up (see `joining`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest};

use super::joining::{self, Plan};
use super::types::{LogId, NodeId, Peer, Raft, Snapshot, SnapshotMeta, TypeConfig, Vote};
use super::wire::{MemberStatus, RaftProtocol, RaftReply, RaftRequest};
use crate::base::lock;
use crate::rt::chance;
use crate::rt::net::TcpListener;
use crate::rt::time::{Duration, sleep};
use crate::stack::master::config::MasterConfig;
use crate::stack::observe::Observer;
use crate::stack::wire::rpc::{Channel, serve};

/// How often an empty master asks the others.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long it waits for one answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// This member's side of the journal port.
pub struct Peers {
    id: NodeId,
    members: BTreeMap<NodeId, Peer>,
    /// To the other members.
    others: Vec<Channel<RaftProtocol>>,
    journal_dir: String,
    raft: Raft,
    observer: Arc<Observer>,
    gate: Mutex<Gate>,
    incoming: Mutex<Option<Incoming>>,
    /// The longest that a member waits, by chance, before it makes the group.
    patience: Duration,
}

/// What this member may do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gate {
    /// Everything.
    Open,
    /// Nothing, until the others were asked.
    Asking,
    /// Follow a leader no older than `vote`; everything once the log reaches `log`.
    CatchingUp { vote: Vote, log: Option<LogId> },
}

/// A snapshot on its way in.
struct Incoming {
    meta: SnapshotMeta,
    length: u64,
    crc: u32,
    data: Vec<u8>,
}

impl Peers {
    /// For the configured member. `joined` is what the journal directory says.
    pub fn new(config: &MasterConfig, raft: Raft, observer: Arc<Observer>, joined: bool) -> Arc<Self> {
        let gate = if joined { Gate::Open } else { Gate::Asking };
        raft.runtime_config().elect(joined);
        observer.update(|facts| facts.may_vote = joined);
        let (id, members) = (config.id, config.members.clone());
        let others = members.iter().filter(|(other, _)| **other != id);
        let others = others.map(|(_, peer)| Channel::new(peer.journal.to_string())).collect();
        let journal_dir = config.journal_dir.clone();
        // As far apart as election timeouts are.
        let apart = config.raft.election_max.saturating_sub(config.raft.election_min);
        let patience = if members.len() > 1 { apart } else { Duration::ZERO };
        let (gate, incoming) = (Mutex::new(gate), Mutex::new(None));
        Arc::new(Self { id, members, others, journal_dir, raft, observer, gate, incoming, patience })
    }

    /// Answers for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let handler = move |request, _| {
            let peers = Arc::clone(&self);
            async move { peers.answer(request).await }
        };
        serve::<RaftProtocol>(listener, handler).await;
    }

    /// Brings an empty master into the group; ready when it is a full member.
    ///
    /// # Errors
    /// When the mark of a member cannot be written.
    pub async fn join(&self) -> std::io::Result<()> {
        let mut warned = false;
        while *lock(&self.gate) != Gate::Open {
            let (_, own) = self.position().await;
            let others = self.ask_others().await;
            let answers: Vec<MemberStatus> = others.iter().flatten().cloned().collect();
            match joining::plan(self.members.len(), own, &answers) {
                Plan::Form => {
                    self.open().await?;
                    self.form().await;
                    return Ok(());
                }
                Plan::CatchUp { vote, log } => {
                    tracing::info!(%vote, "empty journal: catching up before voting");
                    *lock(&self.gate) = Gate::CatchingUp { vote, log };
                    return self.catch_up().await;
                }
                Plan::Wait if !warned && answers.iter().any(|other| other.last.is_some()) => {
                    warned = true;
                    tracing::error!(
                        "empty journal in a group that has data, and too few members answer that kept theirs"
                    );
                }
                Plan::Wait => {}
            }
            sleep(ASK_INTERVAL).await;
        }
        self.form_if_first().await;
        Ok(())
    }

    /// A member that joined, but stopped before the group was formed, takes that up again.
    async fn form_if_first(&self) {
        while self.position().await.1.is_none() {
            let others = self.ask_others().await;
            if others.iter().all(|answer| answer.as_ref().is_some_and(|other| other.last.is_none())) {
                self.form().await;
                return;
            }
            if others.iter().flatten().any(|other| other.last.is_some()) {
                return;
            }
            sleep(ASK_INTERVAL).await;
        }
    }

    /// Whoever's time ends first makes the group, once all others are ready to vote, and asks for their votes: so the first
    /// leader is as open as that of every later election, which Ratis holds from the start. Two at once do no harm: both
    /// make the same group, and only one wins the term.
    async fn form(&self) {
        let mut times = chance::stream("forming");
        loop {
            sleep(times.duration(Duration::ZERO, self.patience)).await;
            let others = self.ask_others().await;
            if others.iter().flatten().any(|other| other.last.is_some()) {
                return;
            }
            if others.iter().all(|answer| answer.as_ref().is_some_and(|other| other.joined)) {
                break;
            }
        }
        match self.raft.initialize(self.members.clone()).await {
            Ok(()) => tracing::info!("formed the group"),
            Err(error) => tracing::info!(%error, "the group exists already"),
        }
    }

    async fn catch_up(&self) -> std::io::Result<()> {
        let mut progress = self.raft.data_metrics();
        loop {
            let target = lock(&self.gate).clone();
            let Gate::CatchingUp { vote, log } = target else { return Ok(()) };
            let (own_vote, own) = self.position().await;
            if own >= log && own_vote >= vote {
                tracing::info!("caught up: voting again");
                return self.open().await;
            }
            if progress.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn open(&self) -> std::io::Result<()> {
        joining::mark_joined(&self.journal_dir).await?;
        *lock(&self.gate) = Gate::Open;
        self.observer.update(|facts| facts.may_vote = true);
        self.raft.runtime_config().elect(true);
        Ok(())
    }

    /// The answer of every other member, if there was one.
    async fn ask_others(&self) -> Vec<Option<MemberStatus>> {
        let asked = self.others.iter().map(|other| async {
            match other.call(RaftRequest::Status, ASK_TIMEOUT).await {
                Ok(RaftReply::Status(status)) => Some(status),
                _ => None,
            }
        });
        futures_util::future::join_all(asked).await
    }

    /// This member's vote and last entry; those of a new one if Raft has stopped.
    async fn position(&self) -> (Vote, Option<LogId>) {
        let position = self.raft.with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied())).await;
        position.unwrap_or((Vote::new(0, self.id), None))
    }

    async fn answer(&self, request: RaftRequest) -> RaftReply {
        match request {
            RaftRequest::Append(append) => self.append(append).await,
            RaftRequest::Vote(vote) if self.may_vote() => reply(self.raft.vote(vote).await, RaftReply::Vote),
            RaftRequest::PreVote(vote) if self.may_vote() => reply(self.raft.pre_vote(vote).await, RaftReply::Vote),
            RaftRequest::Vote(_) | RaftRequest::PreVote(_) => not_now("has not joined yet"),
            RaftRequest::SnapshotBegin { vote, meta, length, crc } => self.snapshot_begin(vote, meta, length, crc),
            RaftRequest::SnapshotChunk { offset, data } => self.snapshot_chunk(offset, &data),
            RaftRequest::SnapshotEnd { vote } => self.snapshot_end(vote).await,
            RaftRequest::Transfer { from, to, last } => {
                let request = TransferLeaderRequest::new(from, to, last);
                reply(self.raft.handle_transfer_leader(request).await, RaftReply::Transferred)
            }
            RaftRequest::Status => {
                let joined = self.may_vote();
                let (vote, last) = self.position().await;
                RaftReply::Status(MemberStatus { joined, vote, last })
            }
        }
    }

    fn may_vote(&self) -> bool {
        *lock(&self.gate) == Gate::Open
    }

    /// Whether a leader with this vote may be followed; if not, the answer to it.
    fn admit(&self, vote: &Vote) -> Result<(), Refused> {
        match &*lock(&self.gate) {
            Gate::Open => Ok(()),
            Gate::Asking => Err(Refused::NotYet),
            Gate::CatchingUp { vote: newest, .. } if vote >= newest => Ok(()),
            Gate::CatchingUp { vote: newest, .. } => Err(Refused::Outdated(*newest)),
        }
    }

    async fn append(&self, append: AppendEntriesRequest<TypeConfig>) -> RaftReply {
        match self.admit(&append.vote) {
            Ok(()) => reply(self.raft.append_entries(append).await, RaftReply::Append),
            Err(Refused::NotYet) => not_now("has not joined yet"),
            Err(Refused::Outdated(newer)) => RaftReply::Append(AppendEntriesResponse::HigherVote(newer)),
        }
    }

    fn snapshot_begin(&self, vote: Vote, meta: SnapshotMeta, length: u64, crc: u32) -> RaftReply {
        match self.admit(&vote) {
            Ok(()) => {}
            Err(Refused::NotYet) => return not_now("has not joined yet"),
            Err(Refused::Outdated(newer)) => return RaftReply::Installed(SnapshotResponse::new(newer)),
        }
        let mut incoming = lock(&self.incoming);
        match &*incoming {
            Some(known) if known.meta == meta && known.length == length && known.crc == crc => {}
            _ => *incoming = Some(Incoming { meta, length, crc, data: Vec::new() }),
        }
        RaftReply::SnapshotAt(incoming.as_ref().map_or(0, |incoming| incoming.data.len() as u64))
    }

    fn snapshot_chunk(&self, offset: u64, data: &[u8]) -> RaftReply {
        let mut incoming = lock(&self.incoming);
        let Some(snapshot) = &mut *incoming else { return not_now("no snapshot was announced") };
        let have = snapshot.data.len() as u64;
        if offset == have && have.saturating_add(data.len() as u64) <= snapshot.length {
            snapshot.data.extend_from_slice(data);
        }
        RaftReply::SnapshotAt(snapshot.data.len() as u64)
    }

    async fn snapshot_end(&self, vote: Vote) -> RaftReply {
        if self.admit(&vote).is_err() {
            return not_now("has not joined yet");
        }
        let Some(snapshot) = lock(&self.incoming).take_if(|s| s.data.len() as u64 == s.length) else {
            let have = lock(&self.incoming).as_ref().map(|s| s.data.len() as u64);
            return have.map_or_else(|| not_now("no snapshot was announced"), RaftReply::SnapshotAt);
        };
        if crc32c::crc32c(&snapshot.data) != snapshot.crc {
            tracing::warn!("a snapshot arrived damaged");
            return not_now("the snapshot arrived damaged");
        }
        let snapshot = Snapshot { meta: snapshot.meta, snapshot: Bytes::from(snapshot.data) };
        reply(self.raft.install_full_snapshot(vote, snapshot).await, RaftReply::Installed)
    }
}

/// Why a leader is not followed.
enum Refused {
    NotYet,
    Outdated(Vote),
}

fn not_now(why: &str) -> RaftReply {
    RaftReply::NotNow(why.into())
}

fn reply<T, E: std::fmt::Display>(answered: Result<T, E>, wrap: impl FnOnce(T) -> RaftReply) -> RaftReply {
    answered.map_or_else(|error| RaftReply::NotNow(error.to_string()), wrap)
}
