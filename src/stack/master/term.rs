//! One term of office: what a leader has beside the replicated state, from when it was confirmed until it goes.
//!
//! Nothing in it survives the term. Workers have to register anew, and until they had time to, what depends on them is
//! refused (Alluxio's safe mode).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use openraft::ServerState;

use super::config::MasterConfig;
use super::raft::{Raft, Replica};
use super::reads::Reads;
use super::workers::Workers;
use super::writes::Writes;
use crate::base::lock;
use crate::rt::chan::{self, Notify};
use crate::rt::task::Scope;
use crate::rt::time::{Instant, sleep_until};
use crate::stack::observe::{Observer, Role};
use crate::stack::wire::master::MasterRequest;
use crate::stack::wire::{FsError, FsResult};

/// A leader's own.
pub(super) struct Term {
    /// Raft's term.
    pub(super) number: u64,
    /// Reads that wait for a confirmation.
    pub(super) reads: Arc<Reads>,
    /// Changes that wait for those before them.
    pub(super) writes: Arc<Writes>,
    /// The workers.
    pub(super) workers: Arc<Workers>,
    /// Listings of under-stores under way, by directory, so that each is made once.
    loads: Mutex<BTreeMap<String, Arc<chan::Mutex<()>>>>,
    /// Changes that go through to an under-store, and files that come into place there, take turns.
    pub(super) through: chan::Mutex<()>,
    /// Another file may be wanted in an under-store.
    pub(super) wanted: Notify,
    safe_until: Instant,
    /// Until then nothing is answered that a journal put back to an older state would answer wrongly, unless a worker
    /// came that has seen no more than is here. None for a group of masters: a majority vouches for each.
    alone_until: Mutex<Option<Instant>>,
    /// Why nothing is answered at all.
    refusal: Mutex<Option<String>>,
    observer: Arc<Observer>,
    /// Its tasks end with it.
    _scope: Scope,
}

impl Term {
    /// Takes office, in safe mode. Leadership must have been confirmed, with the term's first entry applied.
    pub(super) fn begin(
        number: u64,
        config: &MasterConfig,
        (raft, replica): (Raft, Replica),
        observer: &Arc<Observer>,
    ) -> Arc<Self> {
        replica.keep_freed(true);
        // More than its own office: its journal was there before it.
        let recovered_alone = config.members.len() == 1 && replica.read(|state, _| state.offices() > 1);
        let (reads, writes) = (Arc::new(Reads::default()), Arc::new(Writes::default()));
        let workers = Arc::new(Workers::new(config.registry, replica, observer.clone()));
        let safe_until = Instant::now() + config.safe_mode;
        let serving = (!recovered_alone).then_some(number);
        // Whether its journal is an old one is found out anew.
        observer.update(|facts| (facts.serving, facts.safe_mode, facts.outdated) = (serving, true, false));
        let scope = Scope::new();
        scope.spawn("read-rounds", {
            let (reads, raft) = (reads.clone(), raft.clone());
            async move { reads.rounds(&raft).await }
        });
        scope.spawn("write-groups", {
            let writes = writes.clone();
            async move { writes.groups(&raft, number).await }
        });
        scope.spawn("lost-workers", {
            let (workers, interval) = (workers.clone(), config.registry.detection_interval);
            async move { workers.detect_lost(interval).await }
        });
        scope.spawn("safe-mode", {
            let observer = observer.clone();
            async move {
                sleep_until(safe_until).await;
                observer.update(|facts| facts.safe_mode = false);
                if recovered_alone {
                    serve(&observer, number);
                }
            }
        });
        let alone_until = Mutex::new(recovered_alone.then_some(safe_until));
        Arc::new(Self {
            number,
            reads,
            writes,
            workers,
            loads: Mutex::default(),
            through: chan::Mutex::new(()),
            wanted: Notify::new(),
            safe_until,
            alone_until,
            refusal: Mutex::default(),
            observer: observer.clone(),
            _scope: scope,
        })
    }

    /// Nothing is answered from now on. Gives the refusal.
    pub(super) fn refuse(&self, why: String) -> FsError {
        *lock(&self.refusal) = Some(why.clone());
        self.observer.update(|facts| (facts.serving, facts.outdated) = (None, true));
        FsError::Unavailable(why)
    }

    /// A worker has seen nothing that is not here.
    pub(super) fn vouch(&self) {
        if lock(&self.alone_until).take().is_some() {
            serve(&self.observer, self.number);
        }
    }

    /// Refuses all if the journal is known to be an old one, and most while it may yet turn out to be.
    pub(super) fn may_answer(&self, request: &MasterRequest) -> FsResult<()> {
        if let Some(why) = &*lock(&self.refusal) {
            return Err(FsError::Unavailable(why.clone()));
        }
        let of_workers = matches!(
            request,
            MasterRequest::WhoLeads { .. } | MasterRequest::WorkerId { .. } | MasterRequest::Register { .. }
        );
        if !of_workers && lock(&self.alone_until).is_some_and(|until| Instant::now() < until) {
            return Err(FsError::Unavailable("the master waits for a worker to tell what it has seen".into()));
        }
        Ok(())
    }

    /// Whether what depends on workers is refused still.
    pub(super) fn safe_mode(&self) -> bool {
        Instant::now() < self.safe_until
    }

    /// The refusal, if so.
    pub(super) fn past_safe_mode(&self) -> FsResult<()> {
        if self.safe_mode() { Err(FsError::Unavailable("master in safe mode".into())) } else { Ok(()) }
    }

    /// The lock under which `dir` is loaded from its under-store.
    pub(super) fn load_lock(&self, dir: &str) -> Arc<chan::Mutex<()>> {
        let mut loads = lock(&self.loads);
        // Locks that nobody holds any more go whenever another is made.
        if !loads.contains_key(dir) {
            loads.retain(|_, load| Arc::strong_count(load) > 1);
        }
        loads.entry(dir.to_owned()).or_default().clone()
    }
}

/// Whether this master leads in `term`, as far as it knows.
pub(super) fn leads(raft: &Raft, term: u64) -> bool {
    let metrics = raft.metrics();
    let metrics = metrics.borrow();
    metrics.state == ServerState::Leader && metrics.current_term == term
}

/// Notes that the term's master answers, unless it refuses to, or the term is over: whoever is still being answered keeps it.
fn serve(observer: &Observer, number: u64) {
    observer.update(|facts| {
        if facts.role == Role::Leader && facts.term == number && !facts.outdated {
            facts.serving = Some(number);
        }
    });
}
