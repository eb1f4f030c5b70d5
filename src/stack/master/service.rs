//! Answers clients, workers and operators on the rpc port.
//!
//! Only a leader in office answers; everybody else says where the leader may be. A change is proposed by this master's own
//! Raft and never forwarded, so a deposed leader cannot slip one in. A read sees everything that was acknowledged before
//! it was asked.

use std::sync::{Arc, Mutex};

use openraft::RaftMetrics;

use super::backup::{self, BackupError};
use super::config::MasterConfig;
use super::raft::{Raft, Replica, TypeConfig};
use super::state::{Command, Reply, Standing, State};
use super::term::Term;
use super::writes::propose;
use crate::base::lock;
use crate::base::planted::{Bug, planted};
use crate::rt::chan::watch;
use crate::rt::time::{self, Duration, Instant};
use crate::stack::observe::Observer;
use crate::stack::ufs::UnderStore;
use crate::stack::wire::master::{Change, MasterAnswer, MasterReply, MasterRequest};
use crate::stack::wire::{BlockId, BlockInfo, FsError, FsResult, Mark, OpId, TierUsage, WorkerId};

/// What the rpc port's handlers share.
pub(super) struct Service {
    pub(super) config: MasterConfig,
    pub(super) raft: Raft,
    /// Raft's, at hand for every request.
    pub(super) metrics: watch::Receiver<RaftMetrics<TypeConfig>>,
    pub(super) replica: Replica,
    pub(super) observer: Arc<Observer>,
    pub(super) ufs: Arc<dyn UnderStore>,
    /// The term of office; none while this master does not lead.
    pub(super) office: Mutex<Option<Arc<Term>>>,
    pub(super) started: (Duration, Instant),
    /// Why the master ends, if it could not begin from its backup.
    pub(super) unusable: Mutex<Option<BackupError>>,
}

/// An answer and the journal index that it reflects.
type Answered = FsResult<(u64, MasterAnswer)>;

impl Service {
    /// Answers one request.
    pub(super) async fn answer(&self, request: MasterRequest) -> MasterReply {
        let term = match self.leading() {
            Ok(term) => term,
            Err(_) if planted(Bug::StandbyReads) && reads(&request) => return self.answer_as_standby(request),
            Err(refused) => return MasterReply { index: 0, term: self.raft_term(), result: Err(refused) },
        };
        match self.dispatch(&term, request).await {
            Ok((index, answer)) => MasterReply { index, term: term.number, result: Ok(answer) },
            Err(Refusal { index, error }) => MasterReply { index, term: term.number, result: Err(error) },
        }
    }

    /// The planted bug: answers from this member's own state, however old that is.
    fn answer_as_standby(&self, request: MasterRequest) -> MasterReply {
        let answered = match request {
            MasterRequest::Stat { path } => self.read(|state| state.stat(&path).map(MasterAnswer::Info)),
            MasterRequest::List { path } => self.read(|state| state.list(&path).map(MasterAnswer::Entries)),
            _ => Ok((0, self.who_leads())),
        };
        let (index, result) = match answered {
            Ok((index, answer)) => (index, Ok(answer)),
            Err(Refusal { index, error }) => (index, Err(error)),
        };
        MasterReply { index, term: self.raft_term(), result }
    }

    async fn dispatch(&self, term: &Term, request: MasterRequest) -> Result<(u64, MasterAnswer), Refusal> {
        term.may_answer(&request)?;
        match request {
            MasterRequest::WhoLeads { seen } => {
                self.heard(term, seen).await?;
                Ok((0, self.who_leads()))
            }
            MasterRequest::Change { op, change } => self.change(term, op, change).await,
            MasterRequest::Stat { path } => {
                self.loaded(term, &path, false).await?;
                self.read(|state| state.stat(&path).map(MasterAnswer::Info))
            }
            MasterRequest::List { path } => {
                self.loaded(term, &path, true).await?;
                self.read(|state| state.list(&path).map(MasterAnswer::Entries))
            }
            MasterRequest::Blocks { path } => self.blocks(term, &path).await,
            MasterRequest::Workers => {
                term.past_safe_mode()?;
                Ok((0, MasterAnswer::Workers(term.workers.summaries().0)))
            }
            MasterRequest::WorkerId { address } => Ok((0, MasterAnswer::WorkerId(term.workers.worker_id(&address)))),
            MasterRequest::Register { worker, tiers, blocks, seen } => {
                term.reads.confirm().await?;
                self.heard(term, seen).await?;
                let command = term.workers.register(worker, tiers, &blocks);
                if seen.is_some() {
                    term.vouch();
                }
                Ok((0, MasterAnswer::Command(command, self.mark())))
            }
            MasterRequest::Heartbeat { worker, tiers, added, removed } => {
                Ok(self.heartbeat(term, worker, tiers, (&added, &removed)).await?)
            }
            MasterRequest::CommitBlock { worker, block, length } => {
                self.commit_block(term, worker, block, length).await
            }
            MasterRequest::Persisted { mut blocks } => {
                blocks.retain(|block| self.replica.read(|state, _| state.persisted(*block)));
                Ok((0, MasterAnswer::Persisted(blocks)))
            }
            MasterRequest::Mounts { secrets } => {
                self.confirm(term).await?;
                self.read(|state| {
                    Ok(MasterAnswer::Mounts(state.mounts().map(|(path, mount)| mount.info(path, secrets)).collect()))
                })
            }
            MasterRequest::Backup => {
                self.confirm(term).await?;
                self.read(|state| backup::of(state).map(MasterAnswer::Backup))
            }
            MasterRequest::QuorumInfo => Ok((0, MasterAnswer::Quorum(self.quorum_info()))),
            MasterRequest::Report => Ok((0, MasterAnswer::Report(self.report(term)))),
        }
    }

    /// The term of office, if this master may answer now: it was confirmed as the leader, has heard of no other, and a
    /// majority answered it within the longest election timeout. That alone does not make a read or a change safe.
    pub(super) fn leading(&self) -> FsResult<Arc<Term>> {
        let office = lock(&self.office).clone();
        let metrics = self.metrics.borrow();
        match office {
            Some(term) if self.quorum_is_fresh(&metrics) => Ok(term),
            Some(_) => Err(FsError::Unavailable("no answer from a majority of the masters".into())),
            None if metrics.current_leader == Some(self.config.id) => {
                Err(FsError::Unavailable("the new leader is catching up".into()))
            }
            None => {
                let leader = metrics.current_leader.and_then(|id| self.config.members.get(&id));
                Err(FsError::NotLeader { hint: leader.map(|peer| peer.rpc.to_string()) })
            }
        }
    }

    fn quorum_is_fresh(&self, metrics: &RaftMetrics<TypeConfig>) -> bool {
        let alone = self.config.members.len() == 1;
        let acked = metrics.last_quorum_acked.map(|at| openraft::Instant::elapsed(&*at));
        alone || acked.is_some_and(|age| age <= self.config.raft.election_max)
    }

    fn raft_term(&self) -> u64 {
        self.metrics.borrow().current_term
    }

    fn who_leads(&self) -> MasterAnswer {
        MasterAnswer::Leader { address: self.rpc_address(), masters: self.rpc_addresses(), mark: self.mark() }
    }

    /// How far the journal is, for others to remember.
    fn mark(&self) -> Option<Mark> {
        self.replica.read(State::mark)
    }

    /// Somebody was told `seen` once. If that is of this cluster and not in this journal, the journal is an old one: from
    /// now on nothing is answered, for whatever was would contradict what was acknowledged.
    async fn heard(&self, term: &Term, seen: Option<Mark>) -> FsResult<()> {
        let Some(seen) = seen else { return Ok(()) };
        if planted(Bug::JournalRollbackUnnoticed) || self.judge(seen) != Standing::Lost {
            return Ok(());
        }
        // All that is committed is applied after this: what is missing still was lost.
        self.confirm(term).await?;
        if self.judge(seen) != Standing::Lost {
            return Ok(());
        }
        let applied = self.replica.read(|_, index| index);
        let why = format!(
            "the journal in {} is an old one: it reaches {applied}, and a client was told {} of this cluster; put the \
             latest journal back, or start the masters with empty journals to form a new cluster",
            self.config.journal_dir, seen.index
        );
        tracing::error!(%why, "refuses to serve");
        Err(term.refuse(why))
    }

    fn judge(&self, seen: Mark) -> Standing {
        self.replica.read(|state, index| state.judge(seen, index))
    }

    pub(super) fn rpc_address(&self) -> String {
        self.config.members.get(&self.config.id).map(|peer| peer.rpc.to_string()).unwrap_or_default()
    }

    pub(super) fn rpc_addresses(&self) -> Vec<String> {
        self.config.members.values().map(|peer| peer.rpc.to_string()).collect()
    }

    /// Looks at the state; the index is that of the state it saw. Call [`Self::confirm`] first.
    fn read(&self, look: impl FnOnce(&State) -> FsResult<MasterAnswer>) -> Result<(u64, MasterAnswer), Refusal> {
        self.replica.read(|state, index| match look(state) {
            Ok(answer) => Ok((index, answer)),
            Err(error) => Err(Refusal { index, error }),
        })
    }

    /// A read may be answered after this: leadership was confirmed after the read arrived.
    pub(super) async fn confirm(&self, term: &Term) -> FsResult<()> {
        term.reads.confirm().await
    }

    /// What an operation answered when it was applied, if it was.
    fn recall(&self, op: OpId) -> Option<Reply> {
        self.replica.read(|state, _| state.recall(op))
    }

    async fn change(&self, term: &Term, op: OpId, change: Change) -> Result<(u64, MasterAnswer), Refusal> {
        if let Some(reply) = self.recall(op) {
            return answered(reply);
        }
        let below = self.replica.read(|state, _| paths(&change).any(|path| state.goes_through(path)));
        if !below {
            let closes = matches!(change, Change::Complete { .. });
            let done = answered(self.journal(term, Command::Change { op, wall_ms: wall_ms(), change }).await?);
            if closes {
                term.wanted.notify_one();
            }
            return done;
        }
        for path in paths(&change) {
            self.loaded(term, path, true).await?;
        }
        let _turn = term.through.lock().await;
        let through = self.through(&change).await?;
        let wall_ms = wall_ms();
        if !through {
            return answered(self.journal(term, Command::Change { op, wall_ms, change }).await?);
        }
        // Not in the queue, where it would be given up with its request: it is done in the under-store.
        answered(propose(&self.raft, Command::Through { op, wall_ms, change }).await?)
    }

    /// Journals a command of a term: ready when it is committed and applied here.
    pub(super) async fn journal(&self, term: &Term, command: Command) -> FsResult<Reply> {
        term.writes.propose(&self.raft, command).await
    }

    async fn blocks(&self, term: &Term, path: &str) -> Result<(u64, MasterAnswer), Refusal> {
        term.past_safe_mode()?;
        self.loaded(term, path, false).await?;
        let (index, found) = self.replica.read(|state, index| (index, state.blocks(path)));
        let (info, blocks) = found.map_err(|error| Refusal { index, error })?;
        let places = term.workers.locations(blocks.iter().map(|(id, _)| *id));
        let blocks = blocks.into_iter().zip(places);
        let blocks = blocks.map(|((id, length), locations)| BlockInfo { id, length, locations }).collect();
        Ok((index, MasterAnswer::Blocks { info, blocks }))
    }

    async fn heartbeat(
        &self,
        term: &Term,
        worker: WorkerId,
        tiers: Vec<TierUsage>,
        changes: (&[BlockId], &[BlockId]),
    ) -> Answered {
        // A leader that was deposed unawares must not make a worker drop what the new leader knows.
        if !term.workers.knows_all(changes.0) {
            self.confirm(term).await?;
        }
        Ok((0, MasterAnswer::Command(term.workers.heartbeat(worker, tiers, changes), self.mark())))
    }

    async fn commit_block(
        &self,
        term: &Term,
        worker: WorkerId,
        block: BlockId,
        length: u64,
    ) -> Result<(u64, MasterAnswer), Refusal> {
        if !term.workers.is_live(worker) {
            return Err(FsError::Unknown(format!("worker {}", worker.0)).into());
        }
        let done = answered(self.journal(term, Command::CommitBlock { block, length }).await?)?;
        term.workers.commit(worker, block)?;
        Ok(done)
    }
}

/// The paths that a change is about; of a completion, none.
fn paths(change: &Change) -> impl Iterator<Item = &str> + Send {
    let [first, second] = match change {
        Change::Mkdir { path, .. } | Change::Create { path, .. } | Change::Delete { path, .. } => [Some(path), None],
        Change::Rename { from, to } => [Some(from), Some(to)],
        Change::Complete { .. } | Change::Mount { .. } | Change::Unmount { .. } => [None, None],
    };
    first.into_iter().chain(second).map(String::as_str)
}

/// What a standby answers with the planted bug.
fn reads(request: &MasterRequest) -> bool {
    matches!(request, MasterRequest::WhoLeads { .. } | MasterRequest::Stat { .. } | MasterRequest::List { .. })
}

/// An error and the journal index that it reflects; 0 where the journal plays no part.
pub(super) struct Refusal {
    index: u64,
    error: FsError,
}

impl From<FsError> for Refusal {
    fn from(error: FsError) -> Self {
        Self { index: 0, error }
    }
}

fn answered(reply: Reply) -> Result<(u64, MasterAnswer), Refusal> {
    let index = reply.index;
    reply.result.map(|outcome| (index, outcome.into())).map_err(|error| Refusal { index, error })
}

/// The host's wall clock, milliseconds since the epoch.
pub(super) fn wall_ms() -> u64 {
    u64::try_from(time::wall().as_millis()).unwrap_or(u64::MAX)
}
