//! One term of office: what a leader has beside the replicated state, from when it was confirmed until it goes.
//!
//! Nothing in it survives the term. Workers have to register anew, and until they had time to, what depends on them is
//! refused (Alluxio's safe mode).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::config::MasterConfig;
use super::raft::{Raft, Replica};
use super::reads::Reads;
use super::workers::Workers;
use crate::base::lock;
use crate::rt::chan;
use crate::rt::task::Scope;
use crate::rt::time::{Instant, sleep_until};
use crate::stack::observe::Observer;
use crate::stack::wire::{FsError, FsResult};

/// A leader's own.
pub(super) struct Term {
    /// Raft's term.
    pub(super) number: u64,
    /// Reads that wait for a confirmation.
    pub(super) reads: Arc<Reads>,
    /// The workers.
    pub(super) workers: Arc<Workers>,
    /// Listings of under-stores under way, by directory, so that each is made once.
    loads: Mutex<BTreeMap<String, Arc<chan::Mutex<()>>>>,
    safe_until: Instant,
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
        let reads = Arc::new(Reads::default());
        let workers = Arc::new(Workers::new(config.registry, replica, observer.clone()));
        let safe_until = Instant::now() + config.safe_mode;
        observer.update(|facts| (facts.serving, facts.safe_mode) = (Some(number), true));
        let scope = Scope::new();
        scope.spawn("read-rounds", {
            let reads = reads.clone();
            async move { reads.rounds(&raft).await }
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
            }
        });
        Arc::new(Self { number, reads, workers, loads: Mutex::default(), safe_until, _scope: scope })
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
