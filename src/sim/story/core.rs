//! Whether a majority of masters could work and talk: the fault budget, watched.
//!
//! Within it a correct cluster must serve; beyond it the right behaviour is to refuse and to lose nothing.

use std::time::Duration;

use crate::base::SimTime;
use crate::oracle::Core;
use crate::sim::cluster::{Cluster, Life};
use crate::sim::scenario::target::Role;

/// A majority may be missing for this long before the budget counts as exceeded: a restart, not an outage.
const SHORT: Duration = Duration::from_secs(1);

/// When there was no majority.
#[derive(Debug, Default)]
pub struct CoreWatch {
    since: Option<SimTime>,
    beyond: Option<(SimTime, Option<SimTime>, String)>,
    formed: bool,
}

impl CoreWatch {
    /// Looks at the masters. Before all of them have once worked, the cluster is still forming.
    pub fn look(&mut self, cluster: &Cluster, cut_off: impl Fn(usize) -> bool, now: SimTime) {
        let masters: Vec<usize> = cluster.of(Role::Master).collect();
        let well = |i: &&usize| cluster.members[**i].life == Life::Up && !cut_off(**i);
        let able = masters.iter().filter(well).count();
        self.formed |= able == masters.len();
        if !self.formed {
            return;
        }
        if able * 2 > masters.len() {
            if let Some((_, until @ None, _)) = &mut self.beyond {
                *until = Some(now);
            }
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) > SHORT && self.beyond.is_none() {
            let why = format!("{able} of {} masters could work and talk", masters.len());
            self.beyond = Some((since, None, why));
        }
    }

    /// For the oracles.
    pub fn verdict(&self) -> Core {
        match &self.beyond {
            None => Core::Kept,
            Some((from, until, why)) => Core::Beyond { from: *from, until: *until, why: why.clone() },
        }
    }
}
