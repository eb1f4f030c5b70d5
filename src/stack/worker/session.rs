//! The worker's standing with the leading master: registration, heartbeats, commits.
//!
//! Finds the leader, gets an id, registers with every committed block, then sends changes with each heartbeat. A heartbeat
//! that failed is said again; another leader, another term or the command to register starts from the beginning. A reply of an
//! older term than already seen comes from a deposed leader and is not obeyed.

use std::sync::Arc;

use super::WorkerError;
use super::config::WorkerConfig;
use super::store::Store;
use crate::base::planted::{Bug, planted};
use crate::rt::chan::{Notify, watch};
use crate::rt::time::{Duration, Instant, sleep, timeout};
use crate::stack::client::{Leader, LeaderFinder};
use crate::stack::ufs::{MountSource, UfsError, UfsFuture};
use crate::stack::wire::master::{MasterAnswer, MasterRequest, WorkerCommand};
use crate::stack::wire::{BlockId, FsError, FsResult, MountInfo, WorkerAddress, WorkerId};

/// Pinned blocks are asked about with every so many-th heartbeat.
const PINS_EVERY: u64 = 5;

/// How many at once.
const PINS_MAX: usize = 1000;

/// Wait after a registration or a commit that failed.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// A registration with one leader.
#[derive(Clone)]
struct Standing {
    leader: Leader,
    worker: WorkerId,
}

/// Why a heartbeat was the last of its registration.
enum Over {
    /// Register again, with the same leader.
    Again,
    /// Look for the leader.
    Lost,
}

pub(super) struct Session {
    address: WorkerAddress,
    store: Arc<Store>,
    finder: LeaderFinder,
    heartbeat: Duration,
    call: Duration,
    give_up_after: Duration,
    standing: watch::Sender<Option<Standing>>,
    /// A commit found that the master does not know this worker.
    unknown: Notify,
}

impl Session {
    pub fn new(config: &WorkerConfig, store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self {
            address: config.address.clone(),
            store,
            finder: LeaderFinder::new(config.masters.clone(), config.tuning.leader),
            heartbeat: config.tuning.heartbeat,
            call: config.tuning.master_call,
            give_up_after: config.tuning.give_up_after,
            standing: watch::channel(None).0,
            unknown: Notify::new(),
        })
    }

    /// Keeps the standing up.
    ///
    /// # Errors
    /// [`WorkerError::NoMaster`] when no master answered for too long.
    pub async fn run(&self) -> Result<(), WorkerError> {
        let mut heard = Instant::now();
        let mut before: Option<Standing> = None;
        loop {
            let silent_until = heard + self.give_up_after;
            let leader = self.finder.find(silent_until).await.map_err(|_| WorkerError::NoMaster(heard.elapsed()))?;
            // The same leader in the same term has only been out of reach: it still knows this worker, or will say so.
            let same = |s: &Standing| s.leader.address == leader.address && s.leader.term == leader.term;
            let standing = match before.take().filter(same) {
                Some(standing) => Ok(standing),
                None => self.register(&leader).await,
            };
            match standing {
                Ok(standing) => {
                    self.standing.send_replace(Some(standing.clone()));
                    let over = self.beat(&standing, &mut heard).await;
                    self.standing.send_replace(None);
                    if let Over::Lost = over {
                        self.finder.forget(&leader);
                        before = Some(standing);
                    }
                }
                Err(error) => {
                    tracing::info!(leader = %leader.address, %error, "cannot register");
                    self.finder.forget(&leader);
                    sleep(RETRY_WAIT).await;
                }
            }
            if heard.elapsed() >= self.give_up_after {
                return Err(WorkerError::NoMaster(heard.elapsed()));
            }
        }
    }

    async fn register(&self, leader: &Leader) -> FsResult<Standing> {
        let worker = match self.ask(leader, MasterRequest::WorkerId { address: self.address.clone() }).await? {
            MasterAnswer::WorkerId(worker) => worker,
            other => return Err(unexpected(&other)),
        };
        let register = MasterRequest::Register {
            worker,
            tiers: self.store.usage(),
            blocks: self.store.report_all(),
            seen: self.finder.seen(),
        };
        match self.ask(leader, register).await? {
            MasterAnswer::Command(WorkerCommand::Register, _) => {
                Err(FsError::Unavailable("the master forgot the worker meanwhile".to_owned()))
            }
            MasterAnswer::Command(command, mark) => {
                self.finder.note(mark);
                tracing::info!(leader = %leader.address, term = leader.term, worker = worker.0, "registered");
                self.obey(command);
                Ok(Standing { leader: leader.clone(), worker })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Heartbeats until the registration is over.
    async fn beat(&self, standing: &Standing, heard: &mut Instant) -> Over {
        let mut asked = None;
        for beats in 0u64.. {
            if timeout(self.heartbeat, self.unknown.notified()).await.is_ok() {
                return Over::Again;
            }
            let delta = self.store.take_delta();
            let request = MasterRequest::Heartbeat {
                worker: standing.worker,
                tiers: self.store.usage(),
                added: delta.added.iter().copied().collect(),
                removed: delta.removed.iter().copied().collect(),
            };
            match self.ask(&standing.leader, request).await {
                Ok(MasterAnswer::Command(WorkerCommand::Register, _)) => return Over::Again,
                Ok(MasterAnswer::Command(command, mark)) => {
                    self.finder.note(mark);
                    *heard = Instant::now();
                    self.obey(command);
                    if planted(Bug::LatePin) {
                        self.store.pin_late();
                    }
                    if beats % PINS_EVERY == 0 {
                        asked = self.release(standing, asked).await;
                    }
                }
                other => {
                    self.store.merge_back(delta);
                    tracing::debug!(leader = %standing.leader.address, answer = ?other, "heartbeat failed");
                    return Over::Lost;
                }
            }
        }
        Over::Lost
    }

    /// Asks about some of the pinned blocks, those after `asked`, and lets go of those that an under-store has by now. Gives
    /// the last one asked about, if there are more.
    async fn release(&self, standing: &Standing, asked: Option<BlockId>) -> Option<BlockId> {
        let blocks = self.store.pinned(asked, PINS_MAX);
        let last = blocks.last().copied().filter(|_| blocks.len() == PINS_MAX);
        if blocks.is_empty() {
            return None;
        }
        match self.ask(&standing.leader, MasterRequest::Persisted { blocks }).await {
            Ok(MasterAnswer::Persisted(blocks)) => blocks.into_iter().for_each(|b| self.store.set_pinned(b, false)),
            other => tracing::debug!(answer = ?other, "which blocks are persisted is not known"),
        }
        last
    }

    fn obey(&self, command: WorkerCommand) {
        if let WorkerCommand::Free(blocks) = command {
            blocks.into_iter().for_each(|block| self.store.free(block));
        }
    }

    /// Tells the master of a whole block until it knows or refuses. A refused block is dropped.
    ///
    /// # Errors
    /// The refusal.
    pub async fn commit_at_last(&self, block: BlockId, length: u64) -> FsResult<()> {
        loop {
            let standing = self.standing().await;
            if self.store.length(block) != Some(length) {
                return Err(FsError::Unknown(format!("block {}: it went before it was committed", block.0)));
            }
            let request = MasterRequest::CommitBlock { worker: standing.worker, block, length };
            match self.ask(&standing.leader, request).await {
                Ok(_) => {
                    self.store.committed(block);
                    return Ok(());
                }
                Err(error) if error.retryable() => tracing::debug!(block = block.0, %error, "commit failed"),
                // Worker registrations do not outlive their leader (Alluxio #14308): register and try again.
                Err(FsError::Unknown(what)) if what.starts_with("worker") => self.unknown.notify_one(),
                Err(refusal) => {
                    self.store.drop_block(block);
                    return Err(refusal);
                }
            }
            sleep(RETRY_WAIT).await;
        }
    }

    /// The registration; waits for one.
    async fn standing(&self) -> Standing {
        let mut changes = self.standing.subscribe();
        loop {
            if let Some(standing) = self.standing.borrow().clone() {
                return standing;
            }
            // The sender lives as long as the session.
            let _ = changes.changed().await;
        }
    }

    /// One call to a leader. What is not its answer as the leader of its term is an error that can be retried.
    async fn ask(&self, leader: &Leader, request: MasterRequest) -> FsResult<MasterAnswer> {
        let called = leader.channel.call(request, self.call).await;
        let reply = called.map_err(|error| FsError::Unavailable(error.to_string()))?;
        // A follower may be far ahead with a term that it made up while it was cut off.
        if matches!(reply.result, Err(FsError::NotLeader { .. })) {
            return reply.result;
        }
        if !self.finder.believe(reply.term) || reply.term != leader.term {
            return Err(FsError::NotLeader { hint: None });
        }
        reply.result
    }
}

impl MountSource for Session {
    fn mounts(&self) -> UfsFuture<'_, Vec<MountInfo>> {
        Box::pin(async move {
            let standing = self.standing().await;
            let reason = match self.ask(&standing.leader, MasterRequest::Mounts { secrets: true }).await {
                Ok(MasterAnswer::Mounts(mounts)) => return Ok(mounts),
                Ok(other) => unexpected(&other).to_string(),
                Err(error) => error.to_string(),
            };
            Err(UfsError::Unavailable { url: "the mounts".to_owned(), reason })
        })
    }
}

fn unexpected(answer: &MasterAnswer) -> FsError {
    FsError::Unavailable(format!("the master's answer is of another kind: {answer:?}"))
}
