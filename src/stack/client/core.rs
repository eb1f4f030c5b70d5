//! Calls to the masters: each has one operation id through all its retries, and ends within its budget.
//!
//! Rule: a retry carries the operation id of the first attempt, at whichever leader, so that a change is applied once. An
//! error that a retry cannot help ends the call at once; all others are tried again until the budget is spent, and then
//! nobody knows whether a change took effect.
//! Figures are those of Alluxio 2.x's `user.rpc.retry`. It does not cache or interpret answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::leader::{Leader, LeaderFinder, LeaderTimes};
use crate::base::{Stream, lock};
use crate::rt::chance;
use crate::rt::time::{Duration, Instant, sleep_until};
use crate::stack::ufs::{MountSource, UfsError, UfsFuture};
use crate::stack::wire::master::{
    Change, ClusterReport, MasterAnswer, MasterReply, MasterRequest, QuorumInfo, WorkerSummary,
};
use crate::stack::wire::rpc::RpcError;
use crate::stack::wire::{BlockInfo, FileInfo, FsError, FsResult, InodeId, MountInfo, OpId};

/// How long a leader may answer `Unavailable` before another is looked for: its wait for workers after a failover
/// (`alluxio.master.worker.connect.wait.time`).
const UNAVAILABLE_PATIENCE: Duration = Duration::from_secs(5);

/// Where the masters are and how long to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// Rpc addresses, `host:port`, in the order in which they are polled.
    pub masters: Vec<String>,
    /// Polling for the leader. Alluxio gives each address 30 s.
    pub leader: LeaderTimes,
    /// For one attempt at a leader. Alluxio sets none by default; without one a frozen leader holds a call for ever.
    pub attempt: Duration,
    /// For a whole call with all its retries: `alluxio.user.rpc.retry.max.duration`, 2 min.
    pub budget: Duration,
    /// First wait between two attempts: `alluxio.user.rpc.retry.base.sleep`, 50 ms. Doubles.
    pub wait_base: Duration,
    /// Longest wait: `alluxio.user.rpc.retry.max.sleep`, 3 s.
    pub wait_cap: Duration,
}

impl ClientOptions {
    /// Alluxio's figures.
    pub fn new(masters: Vec<String>) -> Self {
        Self {
            masters,
            leader: LeaderTimes { per_master: Duration::from_secs(30), ..LeaderTimes::default() },
            attempt: Duration::from_secs(10),
            budget: Duration::from_secs(120),
            wait_base: Duration::from_millis(50),
            wait_cap: Duration::from_secs(3),
        }
    }
}

/// Told of every call to the masters, as an audit log is. Must not wait and must not call back.
pub trait Audit: Send + Sync {
    /// A call begins; nothing was sent yet.
    fn began(&self, op: OpId, request: &MasterRequest);
    /// It ended after `attempts` requests. A call that is dropped half-way never ends.
    fn ended(&self, op: OpId, request: &MasterRequest, attempts: u32, reply: &FsResult<MasterReply>);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAudit;

impl Audit for NoAudit {
    fn began(&self, _: OpId, _: &MasterRequest) {}
    fn ended(&self, _: OpId, _: &MasterRequest, _: u32, _: &FsResult<MasterReply>) {}
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replied {
    /// Requests sent to leaders, polls for the leader left out.
    pub attempts: u32,
    /// A master's last word, or the error with which the client gave up: a change may then have taken effect, or may yet.
    pub reply: FsResult<MasterReply>,
}

impl Replied {
    /// The answer, or either kind of error.
    ///
    /// # Errors
    /// The master's, or the one that the client gave up with.
    pub fn answer(self) -> FsResult<MasterAnswer> {
        self.reply?.result
    }
}

/// One client of a group of masters. Calls may run side by side.
pub struct FileSystemClient {
    options: ClientOptions,
    finder: LeaderFinder,
    audit: Arc<dyn Audit>,
    client: u64,
    next: AtomicU64,
    chance: Mutex<Stream>,
}

impl FileSystemClient {
    /// A client with a random id. Nothing is connected yet.
    pub fn new(options: ClientOptions) -> Self {
        Self::audited(options, Arc::new(NoAudit))
    }

    /// As [`Self::new`]; `audit` is told of every call.
    pub fn audited(options: ClientOptions, audit: Arc<dyn Audit>) -> Self {
        let mut chance = chance::stream("client");
        Self {
            finder: LeaderFinder::new(options.masters.clone(), options.leader),
            options,
            audit,
            client: chance.bits(),
            next: AtomicU64::new(1),
            chance: Mutex::new(chance),
        }
    }

    /// What it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// When a call that begins now must have ended.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.options.budget
    }

    /// An operation id that no other call has.
    pub fn next_op(&self) -> OpId {
        OpId { client: self.client, seq: self.next.fetch_add(1, Ordering::Relaxed) }
    }

    /// The leader, from memory or by polling.
    ///
    /// # Errors
    /// `Unavailable` if nobody led until `deadline`.
    pub async fn leader(&self, deadline: Instant) -> FsResult<Leader> {
        self.finder.find(deadline).await
    }

    /// A call with a new operation id.
    pub async fn call(&self, request: MasterRequest, deadline: Instant) -> Replied {
        self.call_as(self.next_op(), request, deadline).await
    }

    /// A change of the namespace, with a new operation id.
    pub async fn change(&self, change: Change, deadline: Instant) -> Replied {
        let op = self.next_op();
        self.call_as(op, MasterRequest::Change { op, change }, deadline).await
    }

    /// A call under an id of [`Self::next_op`]; a `Change` must carry the same one.
    pub async fn call_as(&self, op: OpId, request: MasterRequest, deadline: Instant) -> Replied {
        self.audit.began(op, &request);
        let mut attempts = 0;
        let reply = self.until(&request, deadline, &mut attempts).await;
        self.audit.ended(op, &request, attempts, &reply);
        Replied { attempts, reply }
    }

    async fn until(&self, request: &MasterRequest, deadline: Instant, attempts: &mut u32) -> FsResult<MasterReply> {
        let mut wait = self.options.wait_base;
        let mut unavailable_since = None;
        let mut last = FsError::Unavailable("no time to ask".into());
        loop {
            let leader = match self.finder.find(deadline).await {
                Ok(leader) => leader,
                Err(error) if *attempts == 0 => return Err(error),
                Err(_) => return Err(last),
            };
            let within = self.options.attempt.min(deadline - Instant::now());
            if within.is_zero() {
                return Err(last);
            }
            *attempts += 1;
            match leader.channel.call(request, within).await {
                Ok(reply) => {
                    if !matches!(reply.result, Err(FsError::NotLeader { .. })) {
                        self.finder.believe(reply.term);
                    }
                    match reply.result {
                        Err(FsError::Unavailable(why)) => {
                            let since = *unavailable_since.get_or_insert_with(Instant::now);
                            if since.elapsed() >= UNAVAILABLE_PATIENCE {
                                self.finder.forget(&leader);
                                unavailable_since = None;
                            }
                            last = FsError::Unavailable(why);
                        }
                        Err(error) if error.retryable() => {
                            self.finder.forget(&leader);
                            if let FsError::NotLeader { hint: Some(hint) } = &error {
                                self.finder.suggest(hint.clone());
                            }
                            last = error;
                        }
                        _ => return Ok(reply),
                    }
                }
                Err(error) => {
                    self.finder.forget(&leader);
                    if !error.retryable() {
                        return Err(definite(&leader, &error));
                    }
                    last = FsError::Unavailable(format!("{}: {error}", leader.address));
                }
            }
            if Instant::now() >= deadline {
                return Err(last);
            }
            let pause = lock(&self.chance).duration(wait, wait + wait / 10);
            sleep_until((Instant::now() + pause).min(deadline)).await;
            wait = self.options.wait_cap.min(wait * 2);
        }
    }

    /// `stat`.
    ///
    /// # Errors
    /// The master's, or `Unavailable` at `deadline`; so for all calls below.
    pub async fn stat(&self, path: &str, deadline: Instant) -> FsResult<FileInfo> {
        match self.call(MasterRequest::Stat { path: path.into() }, deadline).await.answer()? {
            MasterAnswer::Info(info) => Ok(info),
            other => Err(nonsense(&other)),
        }
    }

    /// The entries of a directory, by name.
    pub async fn list(&self, path: &str, deadline: Instant) -> FsResult<Vec<FileInfo>> {
        match self.call(MasterRequest::List { path: path.into() }, deadline).await.answer()? {
            MasterAnswer::Entries(entries) => Ok(entries),
            other => Err(nonsense(&other)),
        }
    }

    /// A file and its blocks with their locations.
    pub async fn blocks(&self, path: &str, deadline: Instant) -> FsResult<(FileInfo, Vec<BlockInfo>)> {
        match self.call(MasterRequest::Blocks { path: path.into() }, deadline).await.answer()? {
            MasterAnswer::Blocks { info, blocks } => Ok((info, blocks)),
            other => Err(nonsense(&other)),
        }
    }

    /// Live workers, by address.
    pub async fn workers(&self, deadline: Instant) -> FsResult<Vec<WorkerSummary>> {
        match self.call(MasterRequest::Workers, deadline).await.answer()? {
            MasterAnswer::Workers(workers) => Ok(workers),
            other => Err(nonsense(&other)),
        }
    }

    /// Makes an empty, incomplete file.
    pub async fn create(&self, path: &str, block_size: u64, deadline: Instant) -> FsResult<FileInfo> {
        let change = Change::Create { path: path.into(), block_size };
        match self.change(change, deadline).await.answer()? {
            MasterAnswer::Info(info) => Ok(info),
            other => Err(nonsense(&other)),
        }
    }

    /// Fixes the length of a file whose blocks are committed.
    pub async fn complete(&self, file: InodeId, length: u64, deadline: Instant) -> FsResult<FileInfo> {
        match self.change(Change::Complete { file, length }, deadline).await.answer()? {
            MasterAnswer::Info(info) => Ok(info),
            other => Err(nonsense(&other)),
        }
    }

    /// The members of the Raft group.
    pub async fn quorum_info(&self, deadline: Instant) -> FsResult<QuorumInfo> {
        match self.call(MasterRequest::QuorumInfo, deadline).await.answer()? {
            MasterAnswer::Quorum(info) => Ok(info),
            other => Err(nonsense(&other)),
        }
    }

    /// All mounts by path; with `secrets` for who reaches under-stores with them.
    pub async fn mounts(&self, secrets: bool, deadline: Instant) -> FsResult<Vec<MountInfo>> {
        match self.call(MasterRequest::Mounts { secrets }, deadline).await.answer()? {
            MasterAnswer::Mounts(mounts) => Ok(mounts),
            other => Err(nonsense(&other)),
        }
    }

    /// A backup of all metadata, as the content of a file; keep it as safe as a journal.
    pub async fn backup(&self, deadline: Instant) -> FsResult<Vec<u8>> {
        match self.call(MasterRequest::Backup, deadline).await.answer()? {
            MasterAnswer::Backup(file) => Ok(file.0),
            other => Err(nonsense(&other)),
        }
    }

    /// The state of the cluster.
    pub async fn report(&self, deadline: Instant) -> FsResult<ClusterReport> {
        match self.call(MasterRequest::Report, deadline).await.answer()? {
            MasterAnswer::Report(report) => Ok(report),
            other => Err(nonsense(&other)),
        }
    }
}

impl MountSource for FileSystemClient {
    fn mounts(&self) -> UfsFuture<'_, Vec<MountInfo>> {
        Box::pin(async move {
            let asked = self.mounts(true, self.deadline()).await;
            asked.map_err(|error| UfsError::Unavailable { url: "the mounts".into(), reason: error.to_string() })
        })
    }
}

fn definite(leader: &Leader, error: &RpcError) -> FsError {
    FsError::Io(format!("{}: {error}", leader.address))
}

fn nonsense(answer: &MasterAnswer) -> FsError {
    FsError::Io(format!("the master answered another question: {answer:?}"))
}
