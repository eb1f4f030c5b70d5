//! A master's process: recovers its journal, takes part in Raft, serves while it leads.
//!
//! The ports are open from the start; a standby refuses clients with a hint. On gaining leadership it proves it (an entry
//! of its own term is committed and applied, a majority answered) before it takes office; on losing it, office and all that
//! belongs to it are dropped. When Raft stops, for a broken disk above all, the process ends: what a failed write left on
//! the disk is known only after recovery.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use openraft::ServerState;

use super::backup::{self, BackupError};
use super::config::MasterConfig;
use super::persist;
use super::raft::{LogStore, Machine, Network, Peers, Raft, Replica, TypeConfig, joining, machine::entry_id};
use super::reads::confirm_once;
use super::service::{Service, wall_ms};
use super::state::Command;
use super::term::{Term, leads};
use super::writes::propose;
use crate::base::lock;
use crate::rt::chance;
use crate::rt::net::TcpListener;
use crate::rt::task::Scope;
use crate::rt::time::{Duration, Instant, sleep, timeout};
use crate::rt::{Either, select2};
use crate::stack::journal::{Recovered, SnapshotStore};
use crate::stack::observe::{Observer, Role};
use crate::stack::ufs::{MountSource, Mounted, UfsFuture, UnderStore};
use crate::stack::wire::rpc::{MasterProtocol, serve};
use crate::stack::wire::{FsResult, MountInfo};

/// Between attempts of a new leader to prove its leadership.
const CONFIRM_RETRY: Duration = Duration::from_millis(200);
/// How often facts that change with every entry are noted. Leadership is noted at once.
const NOTE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a master that is told to stop waits for each of handing over and Raft's end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Snapshots kept, the newest included, as Alluxio keeps.
const SNAPSHOTS_KEPT: usize = 2;

/// Why a master ended.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The configuration cannot be used.
    #[error("master configuration: {0}")]
    Config(String),
    /// A port could not be opened.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The journal, or a snapshot in it, cannot be used.
    #[error("journal: {0}")]
    Journal(#[from] io::Error),
    /// There is no metadata yet, and the backup to begin from cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Raft stopped.
    #[error("raft stopped: {0}")]
    Raft(String),
}

/// A master about to run.
pub struct Master {
    config: MasterConfig,
    ufs: Arc<dyn UnderStore>,
    observer: Arc<Observer>,
}

impl Master {
    /// `ufs` lists under-stores; `observer` is kept up to date.
    pub fn new(config: MasterConfig, ufs: Arc<dyn UnderStore>, observer: Arc<Observer>) -> Self {
        Self { config, ufs, observer }
    }

    /// Runs until `stop` is ready ([`crate::rt::signal::terminated`], usually) and then hands over, or until it cannot go
    /// on. Dropping the future is a crash without notice to the peers.
    ///
    /// # Errors
    /// See [`MasterError`]; a process that gets one should end and may be started again.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), MasterError> {
        let journal = listen(self.config.journal_bind).await?;
        let rpc = listen(self.config.rpc_bind).await?;
        let dir = self.config.journal_dir.clone();
        let (log, recovered) = LogStore::open(&format!("{dir}/log"), self.config.journal).await?;
        if recovered != Recovered::default() {
            tracing::warn!(?recovered, "the journal was not closed in good order");
        }
        let snapshots =
            SnapshotStore::open(&format!("{dir}/snapshots"), SNAPSHOTS_KEPT).await.map_err(io::Error::from)?;
        let joined = joining::is_joined(&dir).await?;
        let config = self.config.raft_config(joined).map_err(|e| MasterError::Config(e.to_string()))?;
        let id = self.config.id;
        let (machine, replica) = Machine::recover(snapshots, self.observer.clone(), self.config.retry_cache).await?;
        let raft = Raft::new(id, Arc::new(config), Network::new(id), log, machine).await.map_err(stopped)?;
        let peers = Peers::new(&self.config, raft.clone(), self.observer.clone(), joined);
        let own_mounts = Arc::new(OwnMounts(replica.clone()));
        let service = Arc::new(Service {
            config: self.config,
            raft: raft.clone(),
            metrics: raft.metrics(),
            replica,
            observer: self.observer.clone(),
            ufs: Arc::new(Mounted::new(self.ufs, own_mounts)),
            office: Mutex::new(None),
            started: (Duration::from_millis(wall_ms()), Instant::now()),
            unusable: Mutex::default(),
        });
        let scope = Scope::new();
        scope.spawn("journal-port", peers.clone().serve(journal));
        scope.spawn("rpc-port", {
            let service = service.clone();
            serve::<MasterProtocol>(rpc, move |request, _| {
                let service = service.clone();
                async move { service.answer(request).await }
            })
        });
        let joining = scope.spawn("join", async move { peers.join().await });
        scope.spawn("join-end", watch_joining(joining, raft.clone()));
        let ended = select2(stop, follow(&service)).await;
        drop(scope);
        *lock(&service.office) = None;
        match ended {
            Either::Left(()) => {
                hand_over(&raft).await;
                self.observer.update(|facts| (facts.role, facts.serving) = (Role::Down, None));
                Ok(())
            }
            Either::Right(why) => {
                self.observer.update(|facts| (facts.role, facts.serving) = (Role::Down, None));
                Err(lock(&service.unusable).take().map_or(MasterError::Raft(why), MasterError::Backup))
            }
        }
    }
}

/// The mounts of this master's own state.
struct OwnMounts(Replica);

impl MountSource for OwnMounts {
    fn mounts(&self) -> UfsFuture<'_, Vec<MountInfo>> {
        let mounts = self.0.read(|state, _| state.mounts().map(|(path, mount)| mount.info(path, true)).collect());
        Box::pin(async move { Ok(mounts) })
    }
}

/// A member that cannot note that it joined cannot go on.
async fn watch_joining(joining: crate::rt::task::JoinHandle<io::Result<()>>, raft: Raft) {
    if let Ok(Err(error)) = joining.await {
        tracing::error!(%error, "cannot write to the journal directory");
        let _stopped = raft.shutdown().await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, MasterError> {
    TcpListener::bind(address).await.map_err(|error| MasterError::Bind { address, error })
}

fn stopped(fatal: openraft::errors::Fatal<TypeConfig>) -> MasterError {
    MasterError::Raft(fatal.to_string())
}

/// In good order: somebody else leads before this one goes, if that takes no time.
async fn hand_over(raft: &Raft) {
    let target = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        let others = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
        others.filter_map(|(id, matched)| matched.map(|matched| (matched, *id))).max().map(|(_, id)| id)
    };
    if let Some(target) = target {
        tracing::info!(target, "handing over");
        let mut metrics = raft.metrics();
        let handed = async {
            let _sent = raft.trigger().transfer_leader(target).await;
            let _gone = metrics.wait_for(|m| m.current_leader == Some(target)).await;
        };
        let _late = timeout(STOP_TIMEOUT, handed).await;
    }
    let _late = timeout(STOP_TIMEOUT, raft.shutdown()).await;
}

/// Keeps office and facts in step with Raft until it stops; gives the reason.
async fn follow(service: &Arc<Service>) -> String {
    let metrics = &service.metrics;
    let mut standing = service.raft.server_metrics();
    // The attempt to take office, and the term it is for.
    let mut candidacy: Option<(u64, Scope)> = None;
    loop {
        let leads = {
            // Marked as seen first: what changes from here on is looked at again.
            drop(standing.borrow_and_update());
            let now = metrics.borrow();
            observe(&service.observer, &now, &service.replica);
            if let Err(fatal) = &now.running_state {
                return fatal.to_string();
            }
            (now.state == ServerState::Leader).then_some(now.current_term)
        };
        if candidacy.as_ref().map(|(term, _)| *term) != leads {
            leave_office(service);
            candidacy = leads.map(|term| {
                let scope = Scope::new();
                scope.spawn("take-office", take_office(service.clone(), term));
                (term, scope)
            });
        }
        if let Either::Left(Err(_)) = select2(standing.changed(), sleep(NOTE_INTERVAL)).await {
            return "its task ended".into();
        }
    }
}

fn leave_office(service: &Service) {
    if let Some(term) = lock(&service.office).take() {
        tracing::info!(term = term.number, "no longer the primary master");
        service.replica.keep_freed(false);
    }
    service.observer.update(|facts| (facts.serving, facts.safe_mode, facts.live_workers) = (None, false, 0));
}

/// Proves leadership of `term`, takes a backup over if there is one to begin from, takes office, and then writes to
/// under-stores what is wanted there. Aborted when Raft says that the term is over.
async fn take_office(service: Arc<Service>, term: u64) {
    // 0 would do as well; it only looks like a name that was forgotten.
    let name = chance::stream("office").bits().max(1);
    while let Err(error) = prove(&service, name).await {
        tracing::info!(term, %error, "not in office yet");
        sleep(CONFIRM_RETRY).await;
    }
    while let Err(error) = backup::take_over(&service).await {
        tracing::error!(term, %error, "cannot begin");
        if !matches!(error, BackupError::Refused(_)) {
            *lock(&service.unusable) = Some(error);
            let _stopped = service.raft.shutdown().await;
            return;
        }
        sleep(CONFIRM_RETRY).await;
    }
    if let Some(term) = enter_office(&service, term) {
        persist::run(&service, &term).await;
    }
}

fn enter_office(service: &Service, term: u64) -> Option<Arc<Term>> {
    // Decided and entered under one lock, so that a newer term cannot come between.
    let mut office = lock(&service.office);
    let still = leads(&service.raft, term);
    if still {
        let own = (service.raft.clone(), service.replica.clone());
        *office = Some(Term::begin(term, &service.config, own, &service.observer));
        tracing::info!(term, "primary master");
    }
    office.clone().filter(|_| still)
}

/// Leads: a majority says so, and the name of this office is in the journal.
async fn prove(service: &Service, name: u64) -> FsResult<()> {
    confirm_once(&service.raft).await?;
    propose(&service.raft, Command::Office { name }).await.map(drop)
}

fn observe(observer: &Observer, metrics: &openraft::RaftMetrics<TypeConfig>, replica: &Replica) {
    replica.read(|state, _| {
        observer.update(|facts| {
            facts.cluster = state.cluster();
            if !facts.mounts.iter().eq(state.mounts().map(|(path, _)| path)) {
                facts.mounts = state.mounts().map(|(path, _)| path.to_owned()).collect();
            }
        });
    });
    observer.update(|facts| {
        // The vote is the durable one, and only what is durable is promised; a leader's term is, by its election.
        let voted = metrics.vote.leader_id();
        let leads = metrics.state == ServerState::Leader;
        facts.term = if leads { metrics.current_term } else { voted.term };
        // A committed vote names the leader that was heard of, for whom this member need not have voted.
        let own = !metrics.vote.is_committed() && voted.term == facts.term && voted.term > 0;
        facts.voted_for = own.then_some(voted.voted_for);
        facts.role = match metrics.state {
            _ if metrics.running_state.is_err() => Role::Down,
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Down,
        };
        facts.leader = metrics.current_leader;
        facts.last_log = metrics.last_log_index;
        facts.committed = metrics.local_committed.as_ref().map(entry_id);
        facts.snapshot = metrics.snapshot.as_ref().map(entry_id);
        facts.purged = metrics.purged.as_ref().map(entry_id);
    });
}
