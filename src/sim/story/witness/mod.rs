//! What the harness sees of a Kubernetes while the story goes on, past the API server where it can: the facts that the
//! oracles judge.
//!
//! | facts | oracle | module |
//! |---|---|---|
//! | processes of containers | S11 | `processes` |
//! | disks mounted and written | S11 | `disks` |
//! | bindings | S11 | `bindings` |
//! | rows beside the truth | S12 | `rows`, `sets` |
//! | secrets in places that should not hold them | S13 | `secrets` |
//! | homes of metadata | S6 | `journals` |
//! | what all comes to after the heal | L3 | `aims` |
//! | what was given back | L6 | `resources` |
//!
//! Looking changes nothing.

mod aims;
mod bindings;
mod caches;
mod disks;
mod journals;
mod processes;
mod resources;
mod rows;
mod secrets;
mod sets;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::Story;
use crate::base::SimTime;
use crate::kube::store::Store;
use crate::oracle::ClusterRecord;
use crate::oracle::cluster::SecretSearch;
use crate::sim::scenario::Scenario;
use crate::world::lab::Lab;

use self::aims::Aims;
use self::bindings::Bindings;
use self::caches::Caches;
use self::disks::DiskUses;
use self::journals::Journals;
use self::processes::Gone;
use self::resources::Resources;
use self::rows::Rows;

/// Between two looks at what is read from objects.
const EVERY: Duration = Duration::from_secs(1);

/// All that was seen.
#[derive(Default)]
pub(super) struct Witness {
    gone: Gone,
    disks: DiskUses,
    bindings: Bindings,
    rows: Rows,
    journals: Journals,
    aims: Aims,
    pub resources: Resources,
    /// What was found in the trace so far, if there is anything to look for.
    trace: Option<Rc<RefCell<SecretSearch>>>,
    looked: Option<SimTime>,
    /// The store's decisive revision and the members' changes at the last look.
    seen: (u64, u64),
    caches: Caches,
}

impl Witness {
    /// Has seen nothing yet, and listens to the trace.
    pub fn new(lab: &Lab, scenario: &Scenario) -> Self {
        Self { trace: secrets::search_trace(lab, scenario), ..Self::default() }
    }

    /// Whether all that a healthy cluster comes to is there, or late.
    pub fn arrived(&self, healed: SimTime, now: SimTime) -> bool {
        self.aims.decided(healed, now)
    }
}

impl Story<'_> {
    /// Looks at everything, as often as each needs it.
    pub(super) fn bear_witness(&mut self) {
        let Some(kubernetes) = &self.cluster.kubernetes else { return };
        let now = self.lab.now();
        let witness = &mut self.witness;
        witness.disks.look(&self.lab, kubernetes, now);
        let seen = (kubernetes.server.look(Store::decisive_revision), self.cluster.changes());
        let changed = std::mem::replace(&mut witness.seen, seen) != seen;
        let due = witness.looked.is_none_or(|at| now.since(at) >= EVERY);
        if changed {
            witness.gone.look(kubernetes, now);
            witness.bindings.look(kubernetes, now);
            witness.caches.look(kubernetes, self.scenario, now);
        }
        if changed || due {
            witness.rows.look(&self.lab, &self.cluster, self.scenario, now);
        }
        if !due {
            return;
        }
        witness.looked = Some(now);
        witness.resources.look(kubernetes);
        witness.journals.look(&self.cluster, self.scenario, now);
        if self.healed.is_some() {
            witness.aims.look(&self.cluster, kubernetes, self.scenario, now);
        }
    }

    /// When a cache was made anew.
    pub(super) fn lives(&self) -> Vec<SimTime> {
        self.witness.caches.again().to_vec()
    }

    /// The record of the run; none without Kubernetes.
    pub(super) fn testimony(&mut self) -> Option<ClusterRecord> {
        self.cluster.kubernetes.as_ref()?;
        let searches = self.search_for_secrets();
        let kubernetes = self.cluster.kubernetes.as_ref()?;
        let resources = self.witness.resources.told(kubernetes, self.torn_down());
        let witness = std::mem::take(&mut self.witness);
        Some(ClusterRecord {
            processes: witness.gone.processes(kubernetes),
            disks: witness.disks.told(),
            placements: witness.bindings.told(),
            rows: witness.rows.told(),
            searches,
            resources,
            journals: witness.journals.told(),
            aims: witness.aims.told(),
        })
    }
}
